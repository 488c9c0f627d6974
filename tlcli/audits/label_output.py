"""An audit of labels as people read it: the table, the sheet, the JSON; and where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcli.audits.label_audit import LabelAudit
from tlcli.audits.suspects_sheet import draw_suspects
from tlcli.audits.verdict import judge_labels
from tlcli.images.bit_depth import Depth
from tlcli.images.contact_sheet import save_sheet
from tlcli.runs.create import result_folder
from tlcli.runs.label_audit_record import (
    LABEL_AUDIT,
    LABEL_AUDITS,
    SUSPECTS_SHEET,
    LabelAuditRecord,
    Suspect,
    write_label_audit,
)
from tlcli.system import console, files

#: Suspects that the table lists, unless all are asked for.
LISTED = 20


def audit_folder(out: Path | None, recipe: str, base: str, *, force: bool) -> Path:
    """The folder that an audit is kept in: `out`, or one of the recipe's beside the runs.

    Raises `RunError` where it cannot be written, or holds other files of these names.
    """
    name, pictures, records = f"{recipe}-{base}", [SUSPECTS_SHEET], [LABEL_AUDIT]
    return result_folder(out, LABEL_AUDITS, name, pictures, records, force=force)


def keep_audit(folder: Path, audit: LabelAudit, depth: Depth | None) -> Path | None:
    """Write the record, and the sheet of the suspects; its path, or None where there are none."""
    files.make_folder(folder)
    write_label_audit(folder, audit.record)
    sheet = draw_suspects(audit, depth)
    path = folder / SUSPECTS_SHEET
    if sheet is None:
        path.unlink(missing_ok=True)
        return None
    save_sheet(sheet, path)
    return path


def audit_json(record: LabelAuditRecord, folder: Path) -> dict[str, Any]:
    """What `tlcli audit labels --json` prints."""
    low, high = record.wrong_interval
    return {
        "photos": record.photos,
        "suspects": [suspect.model_dump(mode="json") for suspect in record.suspects],
        "wrong": {"estimate": record.wrong, "low": low, "high": high},
        "false_alarms": record.false_alarms,
        "decided": record.decided,
        "boundaries": list(record.boundaries),
        "images": record.images,
        "seconds": record.seconds,
        "folder": str(folder),
    }


def audit_result(
    record: LabelAuditRecord, folder: Path, *, every: bool
) -> tuple[str, dict[str, Any]]:
    """What the command prints, as text and for JSON; with `every`, the table has all suspects."""
    return describe_audit(record, folder, every=every), audit_json(record, folder)


def describe_audit(record: LabelAuditRecord, folder: Path, *, every: bool) -> str:
    """The verdict on the labels, the table of suspects, and what to do with them."""
    times = record.seconds
    at = ", ".join(record.boundaries)
    lines = [
        f"{record.photos:,} training and validation photos of {record.classes} classes; "
        f"{record.folds} folds, features at {at}",
        f"time: features {console.duration(times['features'])} ({record.images:,} photos through "
        f"the network), classifiers {console.duration(times['classifiers'])}",
        "",
        *judge_labels(record),
    ]
    if record.suspects:
        lines += ["", _table(record, LISTED if not every else len(record.suspects))]
    kept = LABEL_AUDIT + (f", {SUSPECTS_SHEET}" if record.suspects else "")
    return "\n".join([*lines, "", f"kept in {folder}: {kept}"])


def _table(record: LabelAuditRecord, most: int) -> str:
    rows = [
        [suspect.path, suspect.label, suspect.suggested, f"{suspect.score:.2f}", _nearest(suspect)]
        for suspect in record.suspects[:most]
    ]
    headers = ["photo", "label", "likelier", "by", "most like it"]
    text = console.table(headers, rows)
    more = len(record.suspects) - most
    return f"{text}\nand {more:,} more; --all lists them" if more > 0 else text


def _nearest(suspect: Suspect) -> str:
    nearest = min(suspect.neighbours, key=lambda near: near.distance, default=None)
    return f"{nearest.path} ({nearest.distance:.2f})" if nearest else ""
