"""An advice as people read it, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlcli.runs.advice_record import AdviceRecord, BaseScore
from tlcli.search.advise import Advice
from tlcli.system import console


def advice_json(advice: Advice) -> dict[str, Any]:
    """What `tlcli advise --json` prints."""
    record = advice.record
    return {
        "strategy": record.strategy,
        "base": record.base,
        "freeze_until": record.freeze_until,
        "expected": record.expected.model_dump(),
        "evidence": {
            "reasons": list(record.reasons),
            "boundaries": [row.model_dump() for row in record.probe.boundaries],
            "learning_curve": [point.model_dump() for point in record.probe.learning_curve],
            "slope": record.probe.slope.model_dump(),
            "foreignness": record.probe.foreignness.model_dump(),
            "tuning": record.trial.model_dump() if record.trial else None,
            "bases": [score.model_dump() for score in record.bases],
        },
        "seconds": record.seconds,
        "spent": record.spent,
        "recipe": {"path": str(advice.recipe), "text": advice.text},
        "folder": str(advice.folder),
    }


def describe_advice(advice: Advice) -> str:
    """The strategy with its reasons, what to expect, what it costs, and where the recipe is."""
    record, expected = advice.record, advice.record.expected
    where = f", frozen until {record.freeze_until}" if record.freeze_until else ""
    lines = [
        *([*_bases(record.bases), ""] if record.bases else []),
        f"strategy: {record.strategy} ({record.base}{where})",
        *(f"- {reason}" for reason in record.reasons),
        f"expected accuracy on new photos: {expected.accuracy:.3f} ({expected.low:.3f} to "
        f"{expected.high:.3f}, from {console.counted(expected.photos, 'photo')})"
        + (", or more: it is that of the frozen base" if record.untried else ""),
        _cost(record),
        f"recipe: {advice.recipe}",
    ]
    return "\n".join(map(console.printable, lines))


def _cost(record: AdviceRecord) -> str:
    total = sum(record.spent.values())
    spent = f"measured in {console.duration(total)}" if total >= 0.05 else "measured before"
    if record.seconds is None:
        return f"{spent}; no estimate of the training on this machine"
    return f"training: about {console.duration(record.seconds)}; {spent}"


def _bases(scores: Sequence[BaseScore]) -> list[str]:
    headers = ["base", "best boundary", "accuracy", "interval", "photos/s", "right/processor s"]
    measured = [score for score in scores if score.accuracy is not None]
    rows = [
        [
            score.name,
            score.best,
            f"{score.accuracy:.4f}",
            f"{score.low:.3f} to {score.high:.3f}",
            f"{score.photos_per_second:.1f}",
            f"{score.answers_per_second:.1f}",
        ]
        for score in measured
    ]
    lines = [console.table(headers, rows)]
    tied = [score.name for score in measured if score.tied]
    if len(tied) > 1:
        lines.append(f"their intervals overlap, so they cannot be told apart: {', '.join(tied)}")
    lines += [f"not measured: {score.name}: {score.missing}" for score in scores if score.missing]
    return lines
