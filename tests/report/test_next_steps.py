"""What is said at the end of a command: the verdict, and what a user would do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.runs import write_finished_run

from tlcli.report.next_steps import conclude_training, describe_readiness, name_run
from tlcli.runs import directory
from tlcli.runs.directory import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run that is not the latest."""
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos", each=3)


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        ([], "ready"),
        (["note"], "ready"),
        (["warning", "note", "warning"], "ready: 2 warnings"),
        (["warning", "error"], "not ready: 1 error and 1 warning"),
    ],
)
def test_readiness(severities: list[str], verdict: str):
    assert describe_readiness(severities) == verdict


def test_a_run_is_named_where_it_is_not_the_latest(run: Run):
    assert name_run(run)[0] == "--run"
    assert Path(name_run(run)[1]).resolve() == run.path.resolve()
    directory.mark_latest(run)
    assert name_run(run) == []


def test_a_training_ends_with_its_verdict(run: Run, capsys: pytest.CaptureFixture[str]):
    directory.mark_latest(run)
    conclude_training(run)
    _, first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("It classifies ")
    assert any(line.startswith("Fine-tuning ") for line in others)
    assert not any("was its last one" in line for line in others)
    assert others[-1] == "next: tlcli evaluate"


def test_a_stage_that_was_still_getting_better(run: Run, capsys: pytest.CaptureFixture[str]):
    outcome = run.read(directory.SUMMARY)
    outcome["stages"][0]["best_epoch"] = 6
    run.file(directory.SUMMARY).write_text(json.dumps(outcome))
    conclude_training(run)
    assert (
        "The best epoch of stage 'head' was its last one: with more epochs it may do better "
        "(--set stages.0.epochs=12).\n"
    ) in capsys.readouterr().err


def test_a_run_that_was_damaged_meanwhile_ends_quietly(run: Run):
    run.file(directory.RECIPE).unlink()
    conclude_training(run)
