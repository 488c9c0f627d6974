"""The estimate of a plan's time: counts against TensorFlow's own, sums against arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.networks.precision import Speedup
from tlcli.pretrained.tensors import checksum_boundaries
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Head
from tlcli.training import estimate, machine_speed
from tlcli.training.machine_speed import MachineSpeed, calibrate
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.work import work

#: Everything but multiplications is free, and of those there are a billion in a second.
FREE = MachineSpeed(multiply_adds=1e9, bytes=float("inf"), decode=0.0)

RECIPE = """
data: {{dir: {photos}}}
base: {{name: VGG16, weights: random, image_size: 64}}
augment: {{views: 3, rotation_range: 10}}
stages:
  - {{name: head, epochs: 10}}
  - {{name: block5, freeze_until: block4_pool, epochs: 2, learning_rate: 1.0e-5}}
"""

#: Of three convolutions of 512 channels on 4 x 4 activations.
BLOCK5 = 3 * (4 * 4 * 512) * (3 * 3 * 512)


@pytest.fixture
def make(photos: Path, write_recipe: Callable[..., Path]) -> Callable[..., Plan]:
    def make(*overrides: str) -> Plan:
        path = write_recipe(RECIPE.format(photos=photos))
        return make_plan(preflight(load_recipe(path, overrides)))

    return make


def test_every_boundary_has_its_work():
    table = json.loads((Path(estimate.__file__).parent / "work.json").read_text("utf-8"))
    assert {name: len(rows) for name, rows in table.items()} == {
        name: len(base.boundaries) for name, base in BASES.items()
    }


def test_work_of_vgg16_by_hand():
    row = BASES["VGG16"]
    low, top = row.boundary("block4_pool"), row.top
    assert work(row, (64, 64), low, top)[0] == BLOCK5
    # Sides that do not halve evenly: 150, 75, 37, 18, 9 pixels.
    assert work(row, (150, 150), low, top)[0] == pytest.approx(BLOCK5 / 16 * 81)
    assert work(row, (64, 64), top, top) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "size"), [("ResNet50", 96), pytest.param("InceptionV3", 107, marks=pytest.mark.slow)]
)
def test_work_is_what_tensorflow_counts(name: str, size: int):
    from tensorflow.compat.v1 import profiler

    from tlcli.networks.framework import keras, tf

    row = BASES[name]
    model = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, size, size, 3))).graph
    counted = {"Conv2D": 0}
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    profile = profiler.profile(graph, options=options.with_empty_output().build(), cmd="op")
    for child in [profile, *profile.children]:
        if child.name in counted:
            counted[child.name] += child.float_ops
    expected = counted["Conv2D"] / 2
    multiply_adds, _ = work(row, (size, size), None, row.top)
    # Blocks that halve the resolution inside grow a little differently from their end.
    assert multiply_adds == pytest.approx(expected, rel=0.06)


def test_seconds_of_a_plan_by_hand(make):
    made = make()
    trunk = work(made.row, (64, 64), None, made.row.top)[0]
    result = estimate.estimate(made, FREE)
    # 24 photos to train on, in four views each, 9 to validate and 6 to test; 18 layers and some
    # of preprocessing to compile. Each epoch ends with 12 bytes of each trained parameter.
    compiling = estimate.COMPILE * len(made.row.layers)
    assert result.extract == pytest.approx((24 * 4 + 15) * trunk / 1e9 + compiling)
    assert (result.rows, result.stored) == (2 * (24 * 4 + 15), None)
    assert ", less what the store has; head " in result.text()
    head, block5 = (seconds for _, seconds in result.stages)
    layers = estimate.COMPILE + estimate.COMPILE_STEP
    in_head, in_block5 = (12 * planned.trainable / estimate.WRITTEN for planned in made.stages)
    once = estimate.COMPILE_STAGE
    assert head == pytest.approx(once + layers * 4 + 10 * (estimate.STEP + in_head))
    trained = BLOCK5 * (1 + 2 * estimate.BACKWARD)
    epoch = (24 * trained + 9 * BLOCK5) / 1e9 + in_block5
    # Three convolutions and a pooling in the block, four layers in the head.
    expected = once + layers * (4 + 4) + 2 * (estimate.STEP + epoch) + 6 * BLOCK5 / 1e9
    assert block5 == pytest.approx(expected)
    assert result.total == pytest.approx(result.extract + head + block5)


def test_what_is_not_arithmetic_takes_as_long_as_python_does(make):
    made = make()
    usual, slow = (
        estimate.estimate(made, replace(FREE, overhead=overhead)) for overhead in (1.0, 3.0)
    )
    compiling = estimate.COMPILE * len(made.row.layers)
    assert slow.extract - usual.extract == pytest.approx(2 * compiling)
    layers = (estimate.COMPILE + estimate.COMPILE_STEP) * 4
    head = estimate.COMPILE_STAGE + layers + 10 * estimate.STEP
    assert slow.stages[0][1] - usual.stages[0][1] == pytest.approx(2 * head)


def test_bfloat16_divides_the_arithmetic(make):
    made = make()
    twice = replace(FREE, bfloat16=Speedup(forward=2.0, step=4.0))
    assert estimate.forward(made, None, made.row.top, twice) == pytest.approx(
        estimate.forward(made, None, made.row.top, FREE) / 2
    )
    trained, scored = estimate.stage_photo(made, made.stages[1], twice)
    assert scored == pytest.approx(BLOCK5 / 2e9)
    assert trained - scored == pytest.approx(2 * estimate.BACKWARD * BLOCK5 / 4e9)
    assert "(in bfloat16 2 times that)" in twice.text() and "bfloat16" not in FREE.text()
    assumed = replace(twice, bfloat16_assumed=True)
    assert "2 times that, as on other processors of this kind)" in assumed.text()
    assert replace(assumed, bytes=1e9).as_json()["bfloat16"] == {
        "forward": 2,
        "step": 4,
        "assumed": True,
    }


def test_a_precision_that_is_still_to_be_measured_is_that_of_such_processors(make, monkeypatch):
    settled = make("precision=float32")
    automatic = settled.recipe.model_copy(update={"precision": "auto"})
    made = replace(settled, recipe=automatic)
    plain = estimate.estimate(make("precision=float32"), FREE)
    assert (plain.precision, plain.assumed) == ("float32", False)
    for speedup, precision in ((Speedup(1.9, 1.6), "mixed_bfloat16"), (Speedup(1, 1), "float32")):
        monkeypatch.setattr(estimate, "known_speedup", lambda _: None)
        monkeypatch.setattr(estimate, "usual_speedup", lambda value=speedup: value)
        guess = estimate.estimate(made, FREE)
        assert (guess.precision, guess.assumed) == (precision, True)
    # A row takes 2 bytes in bfloat16.
    slow = replace(FREE, bytes=1e6)
    halves = [
        estimate.stage_photo(made, made.stages[0], slow)[1]
        for made in (make("precision=float32"), make("precision=mixed_bfloat16"))
    ]
    assert halves[0] == pytest.approx(2 * halves[1])


def test_the_speed_in_bfloat16_is_assumed_until_it_is_measured(make, monkeypatch):
    monkeypatch.setattr(machine_speed, "gpu_names", lambda: ())
    monkeypatch.setattr(machine_speed, "usual_speedup", lambda: Speedup(2.9, 1.8))
    monkeypatch.setattr(machine_speed, "known_speedup", lambda _: None)
    made = make("precision=mixed_bfloat16")
    speed = machine_speed.machine_speed(made)
    assert (speed.bfloat16, speed.bfloat16_assumed) == (Speedup(2.9, 1.8), True)
    monkeypatch.setattr(machine_speed, "known_speedup", lambda _: Speedup(2.1, 1.5))
    speed = machine_speed.machine_speed(made)
    assert (speed.bfloat16, speed.bfloat16_assumed) == (Speedup(2.1, 1.5), False)
    monkeypatch.setattr(machine_speed, "gpu_names", lambda: ("NVIDIA A100",))
    assert machine_speed.machine_speed(made) is None


@pytest.mark.usefixtures("thin_vgg16")
def test_what_the_store_has_is_not_counted_again(make, tmp_path: Path, photos: Path, cli):
    weights = tmp_path / "vgg16.weights.h5"
    BASES["VGG16"].build_plain((64, 64)).save_weights(weights)
    here = (f"base.weights={weights}", "augment.views=1")
    empty = estimate.estimate(make(*here), FREE)
    assert (empty.rows, empty.stored) == (2 * (24 * 2 + 15), 0)
    assert not (make(*here).cache / "features").exists()  # nothing is made by looking
    extract = make(*here).recipe.path
    settings = [word for value in here for word in ("--set", value)]
    cli("extract", "--config", extract, *settings, "--set", "stages=[{name: head}]")
    # The top is there, and the rows of block4_pool are still to be computed, from the photos.
    half = estimate.estimate(make(*here), FREE)
    assert half.stored == half.rows // 2 and 0 < half.extract < empty.extract
    cli("extract", "--config", extract, *settings)
    full = estimate.estimate(make(*here), FREE)
    assert (full.stored, full.extract) == (full.rows, 0)
    assert f"(features 0.0 s, {full.rows} of {full.rows} rows in the store; " in full.text()
    others = estimate.estimate(make(*here, "base.resize=crop"), FREE)
    assert others.stored == 0


@pytest.mark.parametrize(
    "name", ["VGG16", "MobileNetV3Small", *(pytest.param(n, marks=pytest.mark.slow) for n in BASES)]
)
def test_checksums_of_weights_are_those_of_the_network(name: str):
    row = BASES[name]
    network = build_network(row, (row.smallest_size,) * 2, Head(), 2, seed=0)
    layers = [network.base.get_layer(layer) for layer in row.layers]
    tensors = [variable.numpy() for layer in layers for variable in layer.weights]
    names = [boundary.name for boundary in row.boundaries]
    assert checksum_boundaries(row, tensors) == network.checksums(names)


@pytest.fixture
def arithmetic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling and checkpoints take no time."""
    for name in ("COMPILE", "COMPILE_STEP", "COMPILE_STAGE", "CHECKPOINT"):
        monkeypatch.setattr(estimate, name, 0.0)


@pytest.mark.usefixtures("arithmetic_alone")
def test_live_views_run_the_trunk_in_every_epoch(make):
    stored, live = (estimate.estimate(make(f"augment.views={v}"), FREE) for v in ("3", "live"))
    trunk = work(BASES["VGG16"], (64, 64), None, BASES["VGG16"].top)[0] / 1e9
    assert live.extract == pytest.approx(15 * trunk)
    assert live.stages[0][1] - stored.stages[0][1] == pytest.approx(10 * 24 * trunk)


@pytest.mark.usefixtures("arithmetic_alone")
def test_the_plan_says_when_live_views_would_be_as_fast_as_stored_pixels(make):
    whole = [f"stages.{n}.freeze_until=pixels" for n in (0, 1)]
    whole_base = work(BASES["VGG16"], (64, 64), None, BASES["VGG16"].top)[0] / 1e9
    photo = whole_base * (1 + 2 * estimate.BACKWARD)
    slow = MachineSpeed(1e9, float("inf"), decode=photo / 50)
    guess = estimate.estimate(make(*whole), slow)
    # 24 of 39 photos would not be decoded once but in each of 12 epochs; nothing else changes.
    assert guess.live_adds == pytest.approx((12 - 1) * 24 * slow.decode / guess.total)
    assert 0.01 < guess.live_adds < 0.02
    assert guess.text().endswith(
        f"\naugment.views=live would be about as fast (+{100 * guess.live_adds:.0f} %), "
        "would store no training photo, and show a new view in every epoch"
    )
    assert guess.extract == pytest.approx((24 + 15) * photo / 50)
    slower = estimate.estimate(make(*whole), MachineSpeed(1e9, float("inf"), decode=photo / 2))
    assert slower.live_adds > estimate.AS_FAST and slower.text().count("\n") == 1
    above = estimate.estimate(
        make(whole[1]), slow
    )  # the trunk of the head stage would run 10 times
    assert above.live_adds > estimate.AS_FAST
    for others in ((), (*whole, "augment.views=live"), (*whole, "augment.rotation_range=0")):
        assert estimate.estimate(make(*others), slow).live_adds is None


def test_depthwise_convolutions_cost_more_than_they_count():
    row = BASES["MobileNetV2"]
    assert work(row, (224, 224), None, row.top)[0] > 2 * 300_000_000


def test_calibration_measures_all_three(make):
    speed = calibrate(make().index.items, (64, 64))
    measured = (speed.multiply_adds, speed.bytes, speed.decode)
    assert all(np.isfinite(value) and value > 0 for value in measured)


def test_unreadable_photos_do_not_keep_it_from_estimating(make, photos: Path):
    items = make().index.items
    for path in photos.glob("*/*/*.png"):
        path.write_bytes(b"no longer a photo")
    assert calibrate(items, (64, 64)).decode >= 0


def test_dry_run_tells_it(cli, photos: Path, write_recipe):
    path = write_recipe(RECIPE.format(photos=photos))
    text = cli("finetune", "--dry-run", "--config", path).stdout
    if not Path("/proc/driver/nvidia/version").exists():
        first, second = text.splitlines()[-2:]
        assert first.startswith("estimate: about ")
        assert second.startswith("measured here: a matrix product at ")
    value = json.loads(cli("finetune", "--dry-run", "--json", "--config", path).stdout)
    assert "estimate" in value
    if value["estimate"]:
        assert [stage["name"] for stage in value["estimate"]["stages"]] == ["head", "block5"]
        parts = [stage["seconds"] for stage in value["estimate"]["stages"]]
        total = value["estimate"]["extract"] + sum(parts)
        assert value["estimate"]["seconds"] == pytest.approx(total, abs=0.2)
