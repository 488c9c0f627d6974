"""The files of a run: what is missing is None, what is damaged is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.runs import write_finished_run

from tlcli.errors import RunError
from tlcli.evaluation.metrics import measure
from tlcli.evaluation.predictions import read_table
from tlcli.report.run_data import read_run_data
from tlcli.runs import directory
from tlcli.runs.calibration_record import (
    ThresholdRecord,
    read_calibration_record,
    write_calibration_record,
)
from tlcli.runs.directory import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_finished_run(tmp_path / "run", tmp_path / "photos", each=3)


def test_what_is_there(run: Run, tmp_path: Path):
    data = read_run_data(run)
    assert (data.split, data.record.count("train"), len(data.epochs)) == ("test", 9, 10)
    assert data.evaluation is not None and data.predictions is not None
    assert [guess.path for guess in data.predictions[:1]] == ["test/0/000.png"]
    assert data.digests["test/0/000.png"]
    lines = run.file(directory.predictions("test")).read_text().splitlines()
    assert data.predictions[0].probability == max(map(float, lines[1].split(",")[3:6]))
    assert data.explanations is None and data.audit is None
    for name in ("metrics.jsonl", "evaluation-test.json", "predictions-test.csv",
                 "calibration.json"):  # fmt: skip
        run.file(name).unlink()
    bare = read_run_data(run)
    assert (bare.epochs, bare.evaluation, bare.predictions) == ((), None, None)
    assert bare.calibration.temperature is None


def test_an_evaluation_under_another_calibration_is_worked_out_again(run: Run):
    kept = read_run_data(run)
    assert kept.evaluation is not None and kept.calibration.temperature is not None
    raw = read_run_data(run, raw=True)
    table = read_table(run.file(directory.predictions("test")))
    expected = measure(table.logits, table.labels, table.classes)
    assert raw.evaluation is not None and raw.predictions is not None
    assert {key: getattr(raw.evaluation, key) for key, _ in expected} == dict(expected)
    guesses = {guess.path: guess for guess in raw.predictions}
    assert all(guesses[guess.path] == guess for guess in raw.evaluation.mistakes)
    assert raw.evaluation.split == "test"
    assert raw.evaluation.log_loss == kept.evaluation.uncalibrated.log_loss

    threshold = ThresholdRecord(
        target_precision=0.9, probability=0.7, val_coverage=0.5, val_precision=0.95
    )
    record = read_calibration_record(run).model_copy(update={"threshold": threshold})
    write_calibration_record(run, record)
    later = read_run_data(run).evaluation
    assert later is not None and later.abstaining is not None
    assert later.abstaining.probability == 0.7
    assert later.log_loss == kept.evaluation.log_loss
    run.file(directory.predictions("test")).unlink()
    assert read_run_data(run).evaluation is None


DAMAGES = {
    "metrics.jsonl": [
        ('{"stage": "head", "epoch": 1}', ":1: loss: Field required; make it again, or remove it"),
        ('{"stage"', ": cannot be read: line 1 is not JSON: "),
    ],
    "predictions-test.csv": [
        ("path,label\na,b\n", ":1: has no column 'predicted'; make it again, or remove it"),
        ("path,label,predicted,p:b,p:c\na,b,b,x,0\n", ":2: holds a value that is no number"),
        ("path,label,predicted,p:blue,p:red\na,blue,blue,1,0\n",
         ": does not agree with the evaluation beside it; run `tlcli evaluate` again"),
    ],
    "evaluation-test.json": [
        ("{}", ": n: Field required; make it again, or remove it"),
        ("[1", ": cannot be read: "),
    ],
    "audit.json": [('{"findings": [{"kind": 3}]}', ": findings.0.kind: Input should be a valid")],
    "summary.json": [
        ('{"stages": [{"name": "x", "epochs": 1, "best_epoch": 1, "seconds": 1}],'
         '"test": {"accuracy": 1.5, "loss": 1, "n": 9}}',
         ": test.accuracy: Input should be less than or equal to 1"),
        ('{"stages": []}', ": stages: Tuple should have at least 1 item"),
    ],
    "run.json": [('{"created": "now"}', ": base: Field required; make it again, or remove it")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, *damage) for name, damages in DAMAGES.items() for damage in damages],
)
def test_damages_are_named(run: Run, name: str, content: str, message: str):
    run.file(name).write_text(content)
    with pytest.raises(RunError) as caught:
        read_run_data(run)
    assert f"{run.file(name)}{message}" in str(caught.value)
