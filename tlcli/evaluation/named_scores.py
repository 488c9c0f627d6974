"""The numbers of an evaluation that a script may ask for, by name, with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tlcli.networks.probabilities import TOP_K
from tlcli.runs.evaluation_records import Evaluation
from tlcli.system import console


@dataclass(frozen=True)
class NamedScore:
    """A number that can be asked for: its value, and the successes and trials of a share.

    Attributes:
        is_share: whether it lies between 0 and 1.
        value: of an evaluation; None where it has none.
        counts: what its interval follows from; None for a number without one.
        missing: why there may be no value.
        aliases: other names of it, in lower case and without punctuation.
    """

    value: Callable[[Evaluation], float | None]
    is_share: bool = True
    counts: Callable[[Evaluation], tuple[int, int]] | None = None
    missing: str = ""
    aliases: tuple[str, ...] = ()


def _answers(evaluation: Evaluation) -> tuple[int, int]:
    assert evaluation.abstaining is not None  # asked for only where there is a value
    answered = evaluation.abstaining.answered
    return round((evaluation.abstaining.precision or 0) * answered), answered


_ONE_CLASS = "all photos are of one class"
_NO_THRESHOLD = "no threshold for 'unsure' is in force; --target-precision chooses one"

#: The numbers of all classes together, by the names that `evaluate` prints.
OVERALL = {
    "accuracy": NamedScore(lambda e: e.accuracy, counts=lambda e: (e.right, e.n)),
    "balanced accuracy": NamedScore(lambda e: e.balanced_accuracy),
    "precision": NamedScore(lambda e: e.macro.precision, aliases=("macro precision",)),
    "recall": NamedScore(lambda e: e.macro.recall, aliases=("macro recall",)),
    "F1": NamedScore(lambda e: e.macro.f1, aliases=("macro f1",)),
    f"top-{TOP_K} accuracy": NamedScore(
        lambda e: e.top_k.accuracy if e.top_k else None,
        counts=lambda e: (round(e.top_k.accuracy * e.n) if e.top_k else 0, e.n),
        missing=f"there are {TOP_K} classes or fewer",
        aliases=("top k accuracy",),
    ),
    "ROC AUC": NamedScore(lambda e: e.roc_auc, missing=_ONE_CLASS),
    "average precision": NamedScore(lambda e: e.average_precision, missing=_ONE_CLASS),
    "log loss": NamedScore(lambda e: e.log_loss, is_share=False),
    "Brier score": NamedScore(lambda e: e.brier, is_share=False, aliases=("brier",)),
    "expected calibration error": NamedScore(lambda e: e.ece, aliases=("ece", "calibration error")),
    "coverage": NamedScore(
        lambda e: e.abstaining.coverage if e.abstaining else None,
        counts=lambda e: (e.abstaining.answered if e.abstaining else 0, e.n),
        missing=_NO_THRESHOLD,
    ),
    "precision of answers": NamedScore(
        lambda e: e.abstaining.precision if e.abstaining else None,
        counts=_answers,
        missing=_NO_THRESHOLD,
    ),
    "photos": NamedScore(lambda e: e.n, is_share=False, aliases=("n",)),
}

#: The numbers of one class, by the attribute of `ClassScores`; counts by the line and the column
#: of the confusion matrix.
OF_ONE_CLASS = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "ROC AUC": "roc_auc",
    "average precision": "average_precision",
    "photos": "support",
}


def class_score(attribute: str, label: str) -> NamedScore:
    """A number of the class `label`."""

    def value(evaluation: Evaluation) -> float | None:
        scores = evaluation.per_class[evaluation.classes.index(label)]
        number: float | None = getattr(scores, attribute)
        return number

    def counts(evaluation: Evaluation) -> tuple[int, int]:
        at, cells = evaluation.classes.index(label), evaluation.confusion
        of_class = cells[at] if attribute == "recall" else [row[at] for row in cells]
        return cells[at][at], sum(of_class)

    shown = console.one_line(label)
    missing = f"there are no photos of '{shown}'"
    if attribute in ("roc_auc", "average_precision"):
        missing += ", or no others"
    return NamedScore(
        value,
        is_share=attribute != "support",
        counts=counts if attribute in ("precision", "recall") else None,
        missing=missing,
    )
