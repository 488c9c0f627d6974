"""Calibrated probabilities, calibration error and threshold, against SciPy and tables counted by
hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tlcli.errors import RunError
from tlcli.evaluation import calibration
from tlcli.evaluation.calibration import RAW, Calibration, read_calibration
from tlcli.runs import directory
from tlcli.runs.calibration_record import (
    CalibrationRecord,
    ThresholdRecord,
    write_calibration_record,
)
from tlcli.runs.directory import Run
from tlcli.system import files

THRESHOLD = ThresholdRecord(
    target_precision=0.9, probability=0.7, val_coverage=0.5, val_precision=0.95
)


def test_probabilities_are_those_of_the_divided_logits():
    logits = np.random.default_rng(0).normal(0, 4, (40, 3))
    assert Calibration(1.7).apply(logits) == pytest.approx(special.softmax(logits / 1.7, axis=1))
    assert RAW.apply(np.float32(logits)).dtype == np.float64
    assert RAW.apply(logits) == pytest.approx(special.softmax(logits, axis=1))


def test_calibrating_changes_no_answer():
    logits = np.random.default_rng(0).normal(0, 4, (300, 5))
    after = Calibration(3.0).apply(logits)
    assert np.allclose(after.sum(axis=1), 1)
    assert (np.argsort(after, axis=1) == np.argsort(logits, axis=1)).all()


def test_sure_photos_are_ranked_as_their_logits_are():
    """Cut off at 1 - 1e-7 before the temperature, all from 16.1 on came out as 0.996056."""
    logits = np.stack([np.zeros(40), np.linspace(14, 90, 40)], axis=1)
    values = Calibration(2.9).apply(logits)[:, 1]
    assert (np.diff(values) > 0).all()
    assert values == pytest.approx(special.expit(logits[:, 1] / 2.9), rel=1e-12)


def test_what_is_in_force_for_a_run_is_said(tmp_path, capsys):
    run = Run(tmp_path)

    def lines(**options):
        calibration = read_calibration(run, **options)
        calibration.note()
        return calibration, capsys.readouterr().err

    again = f"`tlcli evaluate --run {tmp_path} --calibrate`"
    none, err = lines()
    assert none.temperature is None
    assert err == f"{tmp_path}: not calibrated, as tlcli 0.1.0 left it; {again} does it\n"
    write_calibration_record(run, CalibrationRecord(temperature=None, fitted_on="logits"))
    none, err = lines()
    assert none.temperature is None
    assert err == f"{tmp_path}: not calibrated: it had no validation photos\n"
    files.write_json(run.file(directory.CALIBRATION), {"temperature": 1.5, "val": {"n": 3}})
    old, err = lines()
    assert old.temperature == 1.5
    assert err == (
        f"{tmp_path}: calibrated by tlcli 0.1.0, from probabilities that were cut off; "
        f"{again} does it from logits\n"
    )
    record = CalibrationRecord(temperature=1.5, fitted_on="logits")
    write_calibration_record(run, record)
    assert lines() == (Calibration(1.5), "")
    write_calibration_record(run, record.model_copy(update={"threshold": THRESHOLD}))
    assert lines() == (
        Calibration(1.5, THRESHOLD),
        "unsure below 0.7000, the threshold of --target-precision 0.9; "
        "`tlcli evaluate --clear-threshold` removes it\n",
    )
    assert lines(raw=True) == (RAW, "")


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
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (300, 4))
    labels = np.array([random.choice(4, p=row) for row in special.softmax(logits, axis=1)])
    values = np.round(special.softmax(1.5 * logits, axis=1), 2)  # with ties
    chosen = calibration.choose_threshold(values, labels, target)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == labels
    reaching = [t for t in confidence if right[confidence >= t].mean() >= target]
    assert (chosen.probability, chosen.target_precision) == (min(reaching), target)
    answered = confidence >= chosen.probability
    assert chosen.val_coverage == pytest.approx(answered.mean())
    assert chosen.val_precision == pytest.approx(right[answered].mean())


def test_a_precision_that_cannot_be_reached():
    values = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2]])
    with pytest.raises(RunError) as caught:
        calibration.choose_threshold(values, np.array([0, 1, 0]), 0.9)
    assert str(caught.value) == (
        "--target-precision 0.9: no threshold reaches it on the val photos; "
        "the best precision is 0.6667; ask for less"
    )
