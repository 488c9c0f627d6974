"""The measurement of unknown photos as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from tlcli.evaluation.figures import shortened
from tlcli.runs.unknown_record import MarkedPhotos, UnknownRecord
from tlcli.system.console import table


def format_unknown(record: UnknownRecord) -> str:
    """False alarms in a line, and a table of foreign photos and of classes left out."""
    return "\n".join(_lines(record))


def describe_false_alarms(record: UnknownRecord) -> str:
    """How many known photos are called unknown, beside what was chosen."""
    if record.limit is None or record.rate is None or record.false_alarms is None:
        return "no limit is in force: no photo is called unknown"
    low, high = record.false_alarms_interval or (0.0, 1.0)
    share = record.false_alarms / max(record.n, 1)
    return (
        f"false alarms: {record.false_alarms:,} of {record.n:,} {record.split} photos are called "
        f"unknown, {share:.1%} ({record.level:.0%} interval {low:.1%} to {high:.1%}); "
        f"{record.rate:.1%} was chosen on validation photos"
    )


def _lines(record: UnknownRecord) -> Iterator[str]:
    yield describe_false_alarms(record)
    rows = [_row("foreign", marked, record.level) for marked in record.foreign]
    rows += [_row("left out", marked, record.level) for marked in record.left_out]
    if rows:
        interval = f"{record.level:.0%} interval"
        heads = ("photos", "", "number", "unknown", interval, "ROC AUC", "of probability")
        yield ""
        yield table(heads, rows)
    if record.mean_left_out is not None:
        yield ""
        yield (
            f"left out: each class was compared with the training photos of the others, mean ROC "
            f"AUC {record.mean_left_out:.4f}; the network has learned it, so that a class it has "
            "never seen may be told otherwise"
        )


def _row(kind: str, marked: MarkedPhotos, level: float) -> tuple[str, ...]:
    number = "-" if marked.marked is None else f"{marked.marked:,}"
    interval = "-"
    if marked.interval is not None:
        interval = f"{marked.interval[0]:.4f} to {marked.interval[1]:.4f}"
    return (
        kind,
        shortened(marked.name),
        f"{marked.n:,}",
        number,
        interval,
        f"{marked.auroc:.4f}",
        f"{marked.auroc_probability:.4f}",
    )
