"""What earlier versions left on disk is read by this one; see `scripts/state_archive.py`."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from tlcli.data.audit_cache import inspection_method
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import read_evaluation, write_evaluation

Cli = Callable[..., Result]

ARCHIVES = sorted((Path(__file__).parent / "state").glob("*.tar.xz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked archive of one version, which is the working folder of the test."""
    folder = tmp_path / "state"
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TLCLI_RUNS", "runs")
    monkeypatch.setenv("TLCLI_CACHE", "cache")
    return folder


def test_there_is_an_archive():
    assert ARCHIVES


def test_runs_are_listed(state: Path, cli: Cli):
    runs = json.loads(cli("runs", "--json").stdout)
    assert {run["name"] for run in runs} == {"finished-1", "stopped-1"}


def test_a_finished_run_predicts_what_it_predicted(state: Path, cli: Cli):
    """And its calibration stays in force, which is said."""
    text = (state / "runs/finished-1/predictions-test.csv").read_text(encoding="utf-8")
    expected = {row["path"]: row for row in csv.DictReader(io.StringIO(text))}
    paths = [str(state / "photos" / path) for path in expected]
    done = cli("predict", *paths, "--raw", "--top", 3, "--format", "jsonl")
    predicted = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(predicted) == len(expected) == 6
    for row, photo in zip(expected.values(), predicted, strict=True):
        probabilities = {entry["label"]: entry["probability"] for entry in photo["top"]}
        recorded = {label: float(row[f"p:{label}"]) for label in ("blue", "green", "red")}
        assert probabilities == pytest.approx(recorded, abs=1e-4)

    calibration = json.loads((state / "runs/finished-1/calibration.json").read_text())
    done = cli("predict", *paths, "--run", "finished-1", "--top", 3, "--format", "jsonl")
    assert "calibrated by tlcli 0.1.0, from probabilities that were cut off; " in done.stderr
    for own, line in zip(predicted, done.stdout.splitlines(), strict=True):
        probabilities = np.array([top["probability"] for top in own["top"]])
        values = probabilities ** (1 / calibration["temperature"])
        calibrated = [top["probability"] for top in json.loads(line)["top"]]
        assert calibrated == pytest.approx(values / values.sum(), abs=1e-9)


def test_an_evaluation_is_read_and_written_in_the_form_of_today(state: Path):
    run = Run(state / "runs/finished-1")
    before = run.read(directory.evaluation("test"))
    evaluation = read_evaluation(run, "test")
    assert evaluation is not None
    calibrated, own = before.pop("calibrated"), evaluation.uncalibrated
    assert own is not None
    for key in ("log_loss", "brier", "ece"):
        assert (getattr(own, key), getattr(evaluation, key)) == (before.pop(key), calibrated[key])
    assert evaluation.temperature == calibrated["temperature"]
    for key in ("mistakes", "unsure_correct"):
        guesses = [guess["calibrated"] for guess in before.pop(key)]
        assert [guess.probability for guess in getattr(evaluation, key)] == guesses
    bins = before.pop("reliability")
    assert evaluation.reliability.model_dump(mode="json") == {
        "bins": bins["calibrated_bins"], "uncalibrated_bins": bins["bins"]
    }  # fmt: skip
    write_evaluation(run, evaluation)
    after = run.read(directory.evaluation("test"))
    assert {key: after[key] for key in before} == before
    assert read_evaluation(run, "test") == evaluation


def test_an_evaluation_is_in_the_report(state: Path, cli: Cli):
    assert cli("report", "--run", "finished-1").exit_code == 0
    page = (state / "runs/finished-1/report.html").read_text(encoding="utf-8")
    evaluation = json.loads((state / "runs/finished-1/evaluation-test.json").read_text())
    assert f"{evaluation['log_loss']:.4f}" in page


def test_a_stopped_run_is_resumed_from_its_checkpoint(state: Path, cli: Cli):
    """The weights were moved since, with the recipe beside them.

    0.1.0 did not fold batch norm into convolutions. So its rows have another address than those of
    today, and are not mixed with them.
    """
    (before,) = [
        path.name for path in (state / "cache/features").iterdir() if "conv_1" in path.name
    ]
    done = cli("finetune", "--config", "stopped.yaml", "--set", "stages.1.epochs=40")
    assert done.exit_code == 0, done.stderr
    assert "run: runs/stopped-1, which was stopped" in done.stderr
    assert re.search(r"features: [1-9][0-9]* rows computed in", done.stderr)
    after = {path.name for path in (state / "cache/features").iterdir() if "conv_1" in path.name}
    assert before in after and len(after) == 2
    assert "resuming after epoch 2 of stage 'top'" in done.stderr
    metrics = (state / "runs/stopped-1/metrics.jsonl").read_text().splitlines()
    epochs = [(line["stage"], line["epoch"]) for line in map(json.loads, metrics)]
    assert epochs == [
        *(("head", epoch) for epoch in range(1, 21)),
        *(("top", epoch) for epoch in range(1, 41)),
    ]


def test_the_audit_cache_is_read(state: Path, cli: Cli):
    """Results of this way of looking are used, those of an earlier one are not."""
    with closing(sqlite3.connect("cache/audit.sqlite")) as base, base:
        ways = [way for (way,) in base.execute("SELECT DISTINCT way FROM looks2")]
        base.execute("UPDATE looks2 SET message = 'as remembered'")
    assert inspection_method() not in ways  # 0.1.0 did not look for photos in the dark
    assert cli("check", "--config", "finished.yaml").exit_code == 0
    with closing(sqlite3.connect("cache/audit.sqlite")) as base, base:
        base.execute("UPDATE OR REPLACE looks2 SET way = ? WHERE message <> ''",
                     [inspection_method()])  # fmt: skip
    done = cli("check", "--config", "finished.yaml")
    assert done.exit_code == 1
    assert "as remembered" in done.stderr + done.stdout


def test_the_store_is_sound(state: Path, cli: Cli):
    done = cli("cache", "verify")
    assert done.exit_code == 0, done.stderr
