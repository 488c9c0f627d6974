"""Temperature, calibration error and threshold, against SciPy and tables counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special

from tlcli.errors import RunError
from tlcli.evaluation import calibration
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files


def draw_probabilities(n: int, classes: int, temperature: float, seed: int = 0):
    """Probabilities of logits that are `temperature` times too large for their labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, classes))
    chances = special.softmax(logits, axis=1)
    labels = np.array([random.choice(classes, p=row) for row in chances])
    return special.softmax(logits * temperature, axis=1), labels


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_that_of_a_general_minimiser(classes: int, temperature: float):
    values, labels = draw_probabilities(400, classes, temperature)
    values = np.maximum(values, calibration.EPSILON if classes == 2 else 0)

    def loss(log_t: float) -> float:
        tempered = special.softmax(np.log(values) / math.exp(log_t), axis=1)
        return -np.log(tempered[np.arange(len(labels)), labels]).mean()

    truth = optimize.minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-10})
    fitted = calibration.fit(values, labels)
    assert fitted.temperature == pytest.approx(math.exp(truth.x), rel=1e-5)
    assert fitted.val["log_loss_after"] == pytest.approx(truth.fun, abs=1e-8)
    assert fitted.val["log_loss_after"] <= fitted.val["log_loss_before"]
    assert fitted.val["n"] == 400


def test_a_known_temperature_is_found_again():
    values, labels = draw_probabilities(20_000, 4, 3.0)
    assert calibration.fit(values, labels).temperature == pytest.approx(3.0, rel=0.03)


def test_calibrating_changes_no_answer_and_keeps_rows_at_1():
    values, labels = draw_probabilities(300, 5, 2.0)
    after = calibration.fit(values, labels).apply(np.float32(values))
    assert np.allclose(after.sum(axis=1), 1)
    assert (np.argsort(after, axis=1) == np.argsort(values, axis=1)).all()


def test_two_classes_are_a_sigmoid_with_its_logit_divided():
    p = np.array([0.1, 0.5, 0.93])
    after = calibration.apply_temperature(np.stack([1 - p, p], axis=1), 1.7)
    assert after[:, 1] == pytest.approx(special.expit(special.logit(p) / 1.7))


def test_photos_that_are_all_right_determine_no_temperature():
    values, _ = draw_probabilities(50, 3, 1.0)
    fitted = calibration.fit(values, values.argmax(axis=1))
    assert fitted.temperature == 1.0
    assert fitted.val["log_loss_before"] == fitted.val["log_loss_after"]


def test_a_model_worse_than_chance_is_flattened():
    values, _ = draw_probabilities(50, 3, 1.0)
    assert (
        calibration.fit(values, values.argmin(axis=1)).temperature
        == calibration.HIGHEST_TEMPERATURE
    )


def test_saturated_probabilities_stay_finite():
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    labels = np.array([1, 0, 0])
    assert calibration.log_loss(values, labels) == pytest.approx(-math.log(1e-7) / 3)
    fitted = calibration.fit(values, labels)
    assert 1 < fitted.temperature <= calibration.HIGHEST_TEMPERATURE
    assert np.isfinite(fitted.apply(values)).all()


def test_the_calibration_error_counted_by_hand():
    """Four photos in (0.5333, 0.6], of which one is right; one at 0.95, right; one at 1, wrong."""
    confidence = np.array([0.55, 0.55, 0.6, 0.58, 0.95, 1.0])
    values = np.stack([1 - confidence, confidence], axis=1)
    labels = np.array([1, 0, 0, 0, 1, 0])
    rows = calibration.reliability_bins(values, labels)
    assert len(rows) == 15
    assert [row.n for row in rows] == [0] * 8 + [4] + [0] * 5 + [2]
    assert rows[8].low == pytest.approx(8 / 15)
    assert rows[8].confidence == pytest.approx(0.57)
    assert rows[8].accuracy == 0.25
    assert rows[14].confidence == pytest.approx(0.975)
    assert rows[14].accuracy == 0.5
    assert rows[0].accuracy is None
    truth = 4 / 6 * (0.57 - 0.25) + 2 / 6 * (0.975 - 0.5)
    assert calibration.expected_calibration_error(values, labels) == pytest.approx(truth)


@pytest.mark.parametrize("target", [0.6, 0.8, 0.9, 0.97])
def test_the_threshold_is_the_lowest_of_all(target: float):
    values, labels = draw_probabilities(300, 4, 1.5, seed=3)
    values = np.round(values, 2) / np.round(values, 2).sum(axis=1, keepdims=True)  # with ties
    fitted = calibration.fit(values, labels)
    chosen = calibration.add_threshold(fitted, values, labels, target).threshold
    assert chosen is not None
    after = fitted.apply(values)
    confidence, right = after.max(axis=1), after.argmax(axis=1) == labels
    reaching = [t for t in confidence if right[confidence >= t].mean() >= target]
    assert chosen.probability == min(reaching)
    answered = confidence >= chosen.probability
    assert chosen.coverage == pytest.approx(answered.mean())
    assert chosen.precision == pytest.approx(right[answered].mean())


def test_a_precision_that_cannot_be_reached():
    values = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2]])
    fitted = calibration.Calibration(1.0, {"n": 3})
    with pytest.raises(RunError) as caught:
        calibration.add_threshold(fitted, values, np.array([0, 1, 0]), 0.9)
    assert str(caught.value) == (
        "--target-precision 0.9: no threshold reaches it on the val photos; "
        "the best precision is 0.6667; ask for less"
    )


def test_a_run_keeps_its_calibration(tmp_path):
    run = Run(tmp_path)
    assert calibration.read_calibration(run) is None
    values, labels = draw_probabilities(100, 3, 2.0)
    plain = calibration.fit(values, labels)
    for fitted in (plain, calibration.add_threshold(plain, values, labels, 0.8)):
        calibration.write_calibration(run, fitted)
        assert calibration.read_calibration(run) == fitted
    assert sorted(run.read(directory.CALIBRATION)) == ["temperature", "threshold", "val"]


@pytest.mark.parametrize(
    "value",
    [[], {}, {"temperature": 0, "val": {}, "threshold": None},
     {"temperature": "warm", "val": {}, "threshold": None},
     {"temperature": float(1), "val": {}, "threshold": {"probability": 1}}],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, value):
    run = Run(tmp_path)
    files.write_json(run.file(directory.CALIBRATION), value)
    with pytest.raises(RunError) as caught:
        calibration.read_calibration(run)
    assert str(caught.value) == (
        f"{tmp_path}/calibration.json: is not a calibration that tlcli has written; "
        "delete it, and run `tlcli evaluate` again"
    )
