"""The metrics of a run: a line for each epoch, with one writer and one reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs.directory import METRICS, Run
from tlcli.runs.metrics import append_metrics, read_metrics, write_metrics
from tlcli.runs.records import Epoch


def epoch(number: int, **values: float | None) -> Epoch:
    return Epoch(
        stage="head", epoch=number, loss=0.5, accuracy=0.75, learning_rate=0.001, seconds=1.5
    ).model_copy(update=values)


def test_metrics_are_lines(tmp_path: Path):
    run = Run(tmp_path)
    append_metrics(run, {"epoch": 1})
    append_metrics(run, {"epoch": 2})
    lines = run.file(METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 1}, {"epoch": 2}]
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_metrics(run, {"loss": float("nan")})


def test_a_line_has_the_keys_of_version_0_1_in_their_order(tmp_path: Path):
    write_metrics(Run(tmp_path), [epoch(1)])
    assert (tmp_path / METRICS).read_text() == (
        '{"stage": "head", "epoch": 1, "loss": 0.5, "accuracy": 0.75, "val_loss": null, '
        '"val_accuracy": null, "learning_rate": 0.001, "seconds": 1.5}\n'
    )


def test_what_is_written_is_read(tmp_path: Path):
    run = Run(tmp_path)
    epochs = (epoch(1), epoch(2, val_loss=0.1, val_accuracy=1.0))
    write_metrics(run, epochs[:1])
    append_metrics(run, epochs[1].model_dump())
    assert read_metrics(run) == epochs


def test_missing_and_damaged_metrics(tmp_path: Path):
    run = Run(tmp_path)
    with pytest.raises(RunError) as missing:
        read_metrics(run)
    assert str(missing.value) == f"{tmp_path}: has no metrics.jsonl"
    write_metrics(run, [epoch(1)])
    append_metrics(run, {"stage": "head", "epoch": 0})
    with pytest.raises(RunError) as damaged:
        read_metrics(run)
    assert str(damaged.value).startswith(f"{tmp_path}/metrics.jsonl:2: epoch: ")
