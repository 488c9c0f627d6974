"""An evaluation as people read it."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.evaluation import calibration, metrics
from tlcli.evaluation import text as text_module
from tlcli.evaluation.text import SHOWN

HOSTILE = ("<script>alert(1)</script>", "a\nb", "x\x1b[31m", "n" * 300, "שלום", "'\"", "고양이")


def measured(count: int, *, target: float | None = None):
    random = np.random.default_rng(0)
    labels = np.arange(240) % count
    values = random.random((240, count)) + 0.7 * np.eye(count)[labels]
    values /= values.sum(axis=1, keepdims=True)
    fitted = calibration.fit(values, labels)
    if target is not None:
        fitted = calibration.abstaining(fitted, values, labels, target)
    names = (HOSTILE + tuple(f"class {number}" for number in range(count)))[:count]
    value = metrics.measure(values, labels, names, fitted)
    mistake = {"path": "a\n\x1b.jpg", "label": names[0], "predicted": names[1], "probability": 0.9}
    return {**value, "split": "test", "mistakes": [mistake] * 30, "unsure_correct": []}


def test_every_number_is_there():
    value = measured(7, target=0.9)
    text = text_module.text(value)
    low, high = value["accuracy_interval"]
    right = sum(value["confusion"][k][k] for k in range(7))
    for part in (
        f"accuracy {value['accuracy']:.4f} {right} right; "
        f"95% interval {low:.4f} to {high:.4f} (Wilson)",
        f"majority baseline {35 / 240:.4f} always '{HOSTILE[0]}'",
        f"top-5 accuracy {value['top_k']['accuracy']:.4f}",
        f"balanced accuracy {value['balanced_accuracy']:.4f}",
        f"ROC AUC {value['roc_auc']:.4f}",
        f"average precision {value['average_precision']:.4f}",
        f"log loss {value['log_loss']:.4f}",
        f"{value['calibrated']['log_loss']:.4f}",
        f"temperature {value['calibrated']['temperature']:.3f}",
        f"expected calibration error {value['ece']:.4f}",
        f"unsure below {value['abstaining']['probability']:.4f}: answers ",
        f"{value['abstaining']['precision']:.4f} of the answers are right (",
    ):
        assert part in " ".join(text.split())
    for one in value["per_class"]:
        assert f"{one['precision']:.4f}" in text
        assert f"{one['roc_auc']:.4f}" in text


def test_names_stay_in_their_line():
    text = text_module.text(measured(7))
    assert "\x1b" not in text
    assert "a\\nb" in text
    assert "n" * 30 not in text
    assert text.count("a\\n\\x1b.jpg") == SHOWN


@pytest.mark.parametrize(("count", "shown"), [(12, True), (13, False)])
def test_a_matrix_that_is_too_wide_is_left_out(count: int, shown: bool):
    assert ("true class \\ predicted" in text_module.text(measured(count))) is shown


def test_few_classes_without_calibration():
    value = {**measured(3), "calibrated": None, "abstaining": None, "mistakes": []}
    text = text_module.text(value)
    assert "top-" not in text
    assert "unsure" not in text
    assert "mistakes" not in text
    assert text.splitlines()[-1].split()[-1] == "-"
