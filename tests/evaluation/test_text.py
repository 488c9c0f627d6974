"""An evaluation as people read it."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.evaluation import calibration, metrics
from tlcli.evaluation.text import MOST_MISTAKES, format_evaluation
from tlcli.runs.evaluation_records import Evaluation, Guess

HOSTILE = ("<script>alert(1)</script>", "a\nb", "x\x1b[31m", "n" * 300, "שלום", "'\"", "고양이")


def make_evaluation(count: int, *, target: float | None = None) -> Evaluation:
    random = np.random.default_rng(0)
    labels = np.arange(240) % count
    values = random.random((240, count)) + 0.7 * np.eye(count)[labels]
    logits, fitted = np.log(values), calibration.Calibration(1.3)
    if target is not None:
        threshold = calibration.choose_threshold(fitted.apply(logits), labels, target)
        fitted = calibration.Calibration(1.3, threshold)
    names = (HOSTILE + tuple(f"class {number}" for number in range(count)))[:count]
    mistake = Guess(path="a\n\x1b.jpg", label=names[0], predicted=names[1], probability=0.9)
    return Evaluation(
        split="test",
        **dict(metrics.measure(logits, labels, names, fitted)),
        mistakes=(mistake,) * 30,
    )


def test_every_number_is_there():
    evaluation = make_evaluation(7, target=0.9)
    text = format_evaluation(evaluation)
    low, high = evaluation.accuracy_interval
    right = sum(evaluation.confusion[k][k] for k in range(7))
    for part in (
        f"accuracy {evaluation.accuracy:.4f} {right} right; "
        f"95% interval {low:.4f} to {high:.4f} (Wilson)",
        f"majority baseline {35 / 240:.4f} always '{HOSTILE[0]}'",
        f"top-5 accuracy {evaluation.top_k.accuracy:.4f}",
        f"balanced accuracy {evaluation.balanced_accuracy:.4f}",
        f"ROC AUC {evaluation.roc_auc:.4f}",
        f"average precision {evaluation.average_precision:.4f}",
        f"log loss {evaluation.log_loss:.4f}",
        f"{evaluation.uncalibrated.log_loss:.4f}",
        "probabilities calibrated, temperature 1.300 uncalibrated",
        f"expected calibration error {evaluation.ece:.4f}",
        f"unsure below {evaluation.abstaining.probability:.4f} "
        "(chosen on the val photos for a precision of 0.9): answers ",
        f"{evaluation.abstaining.precision:.4f} of the answers are right (",
    ):
        assert part in " ".join(text.split())
    for scores in evaluation.per_class:
        assert f"{scores.precision:.4f}" in text
        assert f"{scores.roc_auc:.4f}" in text


def test_names_stay_in_their_line():
    text = format_evaluation(make_evaluation(7))
    assert "\x1b" not in text
    assert "a\\nb" in text
    assert "n" * 30 not in text
    assert text.count("a\\n\\x1b.jpg") == MOST_MISTAKES


@pytest.mark.parametrize(("count", "shown"), [(12, True), (13, False)])
def test_a_matrix_that_is_too_wide_is_left_out(count: int, shown: bool):
    assert ("true class \\ predicted" in format_evaluation(make_evaluation(count))) is shown


def test_few_classes_without_calibration():
    without = {"temperature": None, "uncalibrated": None, "abstaining": None, "mistakes": ()}
    evaluation = make_evaluation(3).model_copy(update=without)
    text = format_evaluation(evaluation)
    assert "top-" not in text
    assert "unsure" not in text
    assert "mistakes" not in text
    assert "\nprobabilities               uncalibrated\n" in text
    assert text.splitlines()[-1].split()[-1] == f"{evaluation.ece:.4f}"
