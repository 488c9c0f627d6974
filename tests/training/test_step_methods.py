"""A run keeps the way to compute its steps that it began with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods
from tlcli.system import files
from tlcli.training import saving, step
from tlcli.training.optimizers import make_optimizer
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.step_methods import PLAIN, decide_methods, recorded_methods
from tlcli.training.train import train

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8]}
precision: float32
stages: [{name: head, epochs: 1}, {name: more, epochs: 1}]
"""


@pytest.fixture
def plan(photos: Path, write_recipe) -> Plan:
    return make_plan(preflight(load_recipe(write_recipe(RECIPE.replace("PHOTOS", str(photos))))))


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each optimizer of a stage is made with."""
    made: list[bool] = []

    def make(*arguments: Any, **options: Any) -> Any:
        made.append(options["fused"])
        return make_optimizer(*arguments, **options)

    monkeypatch.setattr(step, "make_optimizer", make)
    return made


@pytest.fixture
def stopped(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """A run that has been stopped in its second stage."""

    class _Stopped(Exception):
        pass

    def make() -> Run:
        def stop(*_: Any, **__: Any) -> None:
            raise _Stopped

        with monkeypatch.context() as patched, pytest.raises(_Stopped):
            patched.setattr(saving, "save_model", stop)
            train(plan)
        (run,) = directory.list_runs(directory.runs_root())
        newest = max(run.file(directory.CHECKPOINTS).iterdir())
        newest.unlink()
        return run

    return make


def test_a_run_records_its_methods_and_a_repetition_has_the_same(plan, fused, cli):
    run = train(plan).run
    assert fused == [True, True]
    record = json.loads(run.file(directory.RECORD).read_text())
    assert record["step_methods"] == StepMethods(fused_adam=True).model_dump()
    assert "identical: the metrics of 2 epochs, " in cli("reproduce", run.name).stdout
    # As a version without these methods would have left it.
    del record["step_methods"]
    files.write_json(run.file(directory.RECORD), record)
    assert recorded_methods(run) == decide_methods(run, ALONE, None) == PLAIN
    del fused[:]
    cli("reproduce", run.name, "--out", "again")
    assert fused == [False, False]


def test_a_stopped_run_goes_on_as_it_began(plan, fused, stopped):
    run = stopped()
    record = json.loads(run.file(directory.RECORD).read_text())
    files.write_json(run.file(directory.RECORD), {**record, "step_methods": {}})
    del fused[:]
    assert train(plan).run.path == run.path
    assert fused == [False]


def test_several_copies_compute_as_keras_does(tmp_path: Path):
    run = Run(tmp_path)
    files.write_json(run.file(directory.RECORD), {})
    assert decide_methods(run, Replicas(), None) == PLAIN
    assert decide_methods(run, ALONE, None) == StepMethods(fused_adam=True)
