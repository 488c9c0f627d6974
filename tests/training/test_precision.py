"""Runs whose recipe leaves the precision to the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlcli.networks import precision
from tlcli.networks.framework import keras
from tlcli.networks.precision import Speedup
from tlcli.recipe.load import load_recipe
from tlcli.recipe.search import with_settings
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.fingerprints import differences
from tlcli.runs.overview import entry_as_json, read_entries
from tlcli.system import measured_speeds
from tlcli.training import saving
from tlcli.training.extract import ExportRequest, extract
from tlcli.training.plan import Plan, choose_precision, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8]}
stages: [{name: head, epochs: 1}]
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let bfloat16 be so many times as fast as float32 on this machine, which is to be measured."""
    monkeypatch.delenv("TLCLI_PRECISION")

    def be(speed: float) -> None:
        for module in (precision, measured_speeds):
            monkeypatch.setattr(module, "bfloat16_units", lambda: (f"bf16-{speed}",))
            monkeypatch.setattr(module, "gpu_names", lambda: ())
        monkeypatch.setattr(precision, "measure_speedup", lambda: Speedup(speed, speed))

    return be


@pytest.fixture
def plan(photos: Path, write_recipe) -> Callable[..., Plan]:
    def make(*overrides: str) -> Plan:
        path = write_recipe(RECIPE.replace("PHOTOS", str(photos)))
        return make_plan(preflight(load_recipe(path, overrides)))

    return make


def record(run: Run) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(run.file(directory.RECORD).read_text())
    return value


def test_a_run_computes_in_what_is_fast_and_says_so(machine, plan, cli, capsys):
    machine(2.5)
    before = plan()
    assert before.recipe.precision == "auto"
    waiting = "bf16-2.5 alone does not settle it; measured as soon as TensorFlow is loaded"
    assert f"precision: auto ({waiting})" in before.text()
    assert before.as_json()["precision"] == {"used": "auto", "why": waiting}
    run = train(before).run
    why = "measured here: in bfloat16 a convolution is 2.5 times as fast as in float32, "
    why += "with its gradients 2.5 times"
    assert f"precision: mixed_bfloat16 ({why})" in capsys.readouterr().err
    assert f"precision: mixed_bfloat16 ({why})" in plan().text()
    assert (record(run)["precision"], record(run)["precision_why"]) == ("mixed_bfloat16", why)
    assert load_recipe(run.file(directory.RECIPE)).precision == "mixed_bfloat16"
    assert entry_as_json(read_entries()[0])["precision"] == "mixed_bfloat16"
    model = keras.saving.load_model(run.file(directory.MODEL))
    assert {layer.compute_dtype for layer in model.layers[2:]} == {"float32"}
    # The rows are those that the recipe has with the word itself.
    assert extract(plan("precision=mixed_bfloat16"), ExportRequest())["computed"] == {
        "block5_pool": 0
    }
    # What the user names is another recipe.
    other = plan("precision=float32")
    assert differences(run, other.recipe, other.index) == [
        "precision was mixed_bfloat16, is now float32"
    ]
    machine(0.5)
    assert choose_precision(plan()).recipe.precision == "float32"
    done = cli("reproduce", run.name)
    assert "identical: the metrics of 1 epoch, " in done.stdout
    assert "precision: mixed_bfloat16 is no faster than float32 here (measured here: in " in (
        done.stderr
    )


def test_what_resolves_to_float32_is_what_float32_is(machine, plan):
    machine(0.5)
    run, spelled = train(plan()).run, plan("precision=float32")
    assert record(run)["precision"] == "float32"
    assert record(run)["recipe_fingerprint"] == spelled.recipe.fingerprint()
    assert extract(spelled, ExportRequest())["computed"] == {"block5_pool": 0}
    assert differences(run, spelled.recipe, spelled.index) == []


@pytest.mark.parametrize(
    ("begun", "resumed"), [(2.0, 0.5), pytest.param(0.5, 2.0, marks=pytest.mark.slow)]
)
def test_a_resumed_run_keeps_the_precision_it_began_with(
    machine, plan, monkeypatch, capsys, begun: float, resumed: float
):
    class _Stopped(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise _Stopped

    machine(begun)
    with monkeypatch.context() as patched, pytest.raises(_Stopped):
        patched.setattr(saving, "save_model", stop)
        train(plan())
    (stopped,) = directory.list_runs(directory.runs_root())
    then = record(stopped)["precision"]
    machine(resumed)
    capsys.readouterr()
    run = train(plan()).run
    assert run.path == stopped.path
    assert f"precision: {then}, in which the run began\n" in capsys.readouterr().err
    assert record(run)["precision"] == then
    assert load_recipe(run.file(directory.RECIPE)).precision == then


def test_settings_of_a_search_keep_the_precision_of_its_recipe(machine, plan):
    machine(2.0)
    settled = plan().recipe.with_precision("mixed_bfloat16")
    assert settled.chooses_precision
    changed = with_settings(settled, {("head", "dropout"): 0.25})
    assert (changed.precision, changed.head.dropout) == ("mixed_bfloat16", 0.25)
