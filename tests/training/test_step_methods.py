"""A run keeps the way to compute its steps that it began with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.networks import thin_vgg16

from tlcli.networks.bases import BASES
from tlcli.networks.network import Network, build_network
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods
from tlcli.system import files
from tlcli.training import loop, saving, step, step_methods
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
stages:
  - {name: head, epochs: 1}
  - {name: top, epochs: 1, freeze_until: block5_conv1, learning_rate: 1.0e-4}
"""


@pytest.fixture(autouse=True)
def _thin() -> Iterator[None]:
    with thin_vgg16():
        yield


def build(plan: Plan) -> Network:
    return build_network(BASES["VGG16"], (32, 32), plan.recipe.head, 3, seed=0)


@pytest.fixture
def plan(photos: Path, write_recipe) -> Plan:
    return make_plan(preflight(load_recipe(write_recipe(RECIPE.replace("PHOTOS", str(photos))))))


#: What this machine measures, and what a run of it begins with.
PRODUCTS = ("block5_conv2", "block5_conv3")
CHOSEN = StepMethods(fused_adam=True, kernel_products=PRODUCTS, wide_depthwise=True, pointwise=True)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """The layers, and the photos of a batch, that this machine is asked about."""
    calls: list[tuple[list[str], int]] = []

    def choose(layers: list[Any], batch_size: int, cache: Path) -> tuple[str, ...]:
        calls.append(([layer.name for layer in layers], batch_size))
        return PRODUCTS

    monkeypatch.setattr(step_methods, "choose_products", choose)
    return calls


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[StepMethods]:
    """The methods of each stage that trains."""
    methods: list[StepMethods] = []

    class _Trainer(step.Trainer):
        def __init__(self, *arguments: Any) -> None:
            methods.append(arguments[-1])
            super().__init__(*arguments)

    monkeypatch.setattr(loop, "Trainer", _Trainer)
    return methods


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


def losses(run: Run) -> list[float]:
    lines = run.file(directory.METRICS).read_text().splitlines()
    return [json.loads(line)[key] for line in lines for key in ("loss", "val_loss")]


def test_a_run_records_its_methods_and_a_repetition_has_the_same(plan, used, asked, cli):
    run = train(plan).run
    assert asked == [(["block5_conv2", "block5_conv3", "block5_pool"], 32)]
    record = json.loads(run.file(directory.RECORD).read_text())
    assert StepMethods(**record["step_methods"]) == recorded_methods(run) == CHOSEN
    assert "identical: the metrics of 2 epochs, " in cli("reproduce", run.name).stdout
    assert used == [CHOSEN] * 4
    assert len(asked) == 1
    # As a version without these methods would have left it.
    del record["step_methods"]
    files.write_json(run.file(directory.RECORD), record)
    assert recorded_methods(run) == PLAIN
    cli("reproduce", run.name, "--out", "again")
    assert used[4:] == [PLAIN] * 2
    np.testing.assert_allclose(losses(Run(Path("again"))), losses(run), rtol=1e-5)


def test_a_stopped_run_goes_on_as_it_began(plan, used, stopped):
    run = stopped()
    record = json.loads(run.file(directory.RECORD).read_text())
    begun = StepMethods(kernel_products=("block5_conv3",))
    files.write_json(run.file(directory.RECORD), {**record, "step_methods": begun.model_dump()})
    del used[:]
    assert train(plan).run.path == run.path
    assert used == [begun]


def test_for_several_copies_nothing_is_measured(plan, tmp_path: Path):
    run = Run(tmp_path)
    files.write_json(run.file(directory.RECORD), {})
    shared = StepMethods(wide_depthwise=True)
    assert decide_methods(build(plan), plan, run, Replicas(), None) == shared
    assert decide_methods(build(plan), plan, run, ALONE, None) == CHOSEN
    # A run that has begun goes on as it began, but for what several copies cannot do.
    begun = {"weights": {}, "step_methods": CHOSEN.model_dump()}
    files.write_json(run.file(directory.RECORD), begun)
    of_copies = CHOSEN.model_copy(update={"fused_adam": False})
    assert decide_methods(build(plan), plan, run, Replicas(), None) == of_copies
    other = Run(tmp_path / "other")
    files.make_folder(other.path)
    files.write_json(other.file(directory.RECORD), {})
    assert decide_methods(build(plan), plan, other, Replicas(), repeats=run) == of_copies
