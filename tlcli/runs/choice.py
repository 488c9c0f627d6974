"""How the plan of a run was chosen: the probe and the advice on the same photos and base.

Neither is part of a run. They belong to it where they measured its training photos, with the same
classes, at the same size and by the same base, and lie beside it or under `directory.runs_root()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.advice_record import ADVICE, AdviceRecord, read_advice
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto
from tlcli.runs.probe_record import PROBE, PROBES, ProbeRecord, fingerprint_photos, read_probe


@dataclass(frozen=True)
class MeasuredChoice:
    """What was measured before a run, in the folder of the probe."""

    folder: Path
    probe: ProbeRecord
    advice: AdviceRecord | None


def find_choice(run: Run, recipe: Recipe, photos: Sequence[RecordedPhoto]) -> MeasuredChoice | None:
    """What was measured on the training photos of a run, if anything.

    Raises `RunError` where such a record is damaged.
    """
    data = fingerprint_photos(
        (photo.sha256, photo.label) for photo in photos if photo.split == "train"
    )
    for root in dict.fromkeys((run.path.parent / PROBES, directory.runs_root() / PROBES)):
        for path in sorted(root.glob(f"*/{PROBE}")):
            record = read_probe(path.parent)
            if (record.base, record.image_size, record.data) != (
                recipe.base.name, recipe.base.image_size, data
            ):  # fmt: skip
                continue
            has_advice = (path.parent / ADVICE).is_file()
            advice = read_advice(path.parent) if has_advice else None
            matches = advice is not None and advice.probe.data == data
            return MeasuredChoice(path.parent, record, advice if matches else None)
    return None
