"""The proof of an export in words, the same for the command, the README and errors."""

from __future__ import annotations

from tlcli.export.records import ExportParity
from tlcli.system import console


def describe_parity(parity: ExportParity) -> str:
    """How the exported model compares with the run's own, in a line each."""
    times = ", ".join(
        f"{value:.1f} ms a photo at batch {batch}" for batch, value in parity.ms_per_photo.items()
    )
    lines = [
        f"compared with the run's own model on {parity.photos:,} validation and test photos: "
        f"probabilities differ by {parity.largest:.2g} at most, {parity.mean:.2g} on average; "
        f"{console.counted(parity.labels_changed, 'changed label')}",
        f"accuracy {parity.accuracy:.4f} ({parity.low:.3f} to {parity.high:.3f}), before "
        f"{parity.accuracy_before:.4f}; calibration error {parity.calibration_error:.4f}, before "
        f"{parity.calibration_error_before:.4f}",
        f"speed: {times}",
    ]
    if parity.distance is not None:
        changed = console.counted(parity.unknown_changed or 0, "photo")
        lines.append(
            f"distances to the training photos differ by {parity.distance:.2g} at most; {changed} "
            "unknown by one of the models alone"
        )
    if not parity.accepted:
        lines.append("BEYOND THE LIMITS: it was kept with --allow-difference")
    return "\n".join(lines)
