"""The estimate of a plan's time: counts against TensorFlow's own, sums against arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tlcli.networks.bases import BASES
from tlcli.recipe.load import load_recipe
from tlcli.training import estimate
from tlcli.training.estimate import Speed
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight

#: Everything but multiplications is free, and of those there are a billion in a second.
FREE = Speed(multiply_adds=1e9, bytes=float("inf"), decode=0.0)

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
    assert estimate.work(row, (64, 64), low, top)[0] == BLOCK5
    # Sides that do not halve evenly: 150, 75, 37, 18, 9 pixels.
    assert estimate.work(row, (150, 150), low, top)[0] == pytest.approx(BLOCK5 / 16 * 81)
    assert estimate.work(row, (64, 64), top, top) == (0.0, 0.0)


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
    found = profiler.profile(graph, options=options.with_empty_output().build(), cmd="op")
    for child in [found, *found.children]:
        if child.name in counted:
            counted[child.name] += child.float_ops
    expected = counted["Conv2D"] / 2
    multiply_adds, _ = estimate.work(row, (size, size), None, row.top)
    # Blocks that halve the resolution inside grow a little differently from their end.
    assert multiply_adds == pytest.approx(expected, rel=0.06)


def test_seconds_of_a_plan_by_hand(make):
    made = make()
    trunk = estimate.work(made.row, (64, 64), None, made.row.top)[0]
    found = estimate.estimate(made, FREE)
    # 24 photos to train on, in four views each, 9 to validate and 6 to test.
    assert found.extract == pytest.approx((24 * 4 + 15) * trunk / 1e9)
    head, block5 = (seconds for _, seconds in found.stages)
    assert head == pytest.approx(10 * estimate.STEP)
    trained = BLOCK5 * (1 + 2 * estimate.BACKWARD)
    epoch = 24 * trained + 9 * BLOCK5
    assert block5 == pytest.approx(2 * (estimate.STEP + epoch / 1e9) + 6 * BLOCK5 / 1e9)
    assert found.total == pytest.approx(found.extract + head + block5)


def test_live_views_run_the_trunk_in_every_epoch(make):
    stored, live = (estimate.estimate(make(f"augment.views={v}"), FREE) for v in ("3", "live"))
    trunk = estimate.work(BASES["VGG16"], (64, 64), None, BASES["VGG16"].top)[0] / 1e9
    assert live.extract == pytest.approx(15 * trunk)
    assert live.stages[0][1] - stored.stages[0][1] == pytest.approx(10 * 24 * trunk)


def test_the_plan_says_when_live_views_would_be_as_fast_as_stored_pixels(make):
    whole = [f"stages.{n}.freeze_until=pixels" for n in (0, 1)]
    whole_base = estimate.work(BASES["VGG16"], (64, 64), None, BASES["VGG16"].top)[0] / 1e9
    photo = whole_base * (1 + 2 * estimate.BACKWARD)
    slow = Speed(1e9, float("inf"), decode=photo / 50)
    guess = estimate.estimate(make(*whole), slow)
    # 24 of 39 photos would not be decoded once but in each of 12 epochs; nothing else changes.
    assert guess.live_adds == pytest.approx((12 - 1) * 24 * slow.decode / guess.total)
    assert 0.01 < guess.live_adds < 0.02
    assert guess.text().endswith(
        f"\naugment.views=live would be about as fast (+{100 * guess.live_adds:.0f} %), "
        "would store no training photo, and show a new view in every epoch"
    )
    assert guess.extract == pytest.approx((24 + 15) * photo / 50)
    slower = estimate.estimate(make(*whole), Speed(1e9, float("inf"), decode=photo / 2))
    assert slower.live_adds > estimate.AS_FAST and "\n" not in slower.text()
    above = estimate.estimate(
        make(whole[1]), slow
    )  # the trunk of the head stage would run 10 times
    assert above.live_adds > estimate.AS_FAST
    for others in ((), (*whole, "augment.views=live"), (*whole, "augment.rotation_range=0")):
        assert estimate.estimate(make(*others), slow).live_adds is None


def test_depthwise_convolutions_cost_more_than_they_count():
    row = BASES["MobileNetV2"]
    assert estimate.work(row, (224, 224), None, row.top)[0] > 2 * 300_000_000


def test_calibration_measures_all_three(make):
    speed = estimate.calibrate(make().index.items, (64, 64))
    assert all(np.isfinite(value) and value > 0 for value in asdict(speed).values())


def test_unreadable_photos_do_not_keep_it_from_estimating(make, photos: Path):
    items = make().index.items
    for path in photos.glob("*/*/*.png"):
        path.write_bytes(b"no longer a photo")
    assert estimate.calibrate(items, (64, 64)).decode >= 0


def test_dry_run_tells_it(cli, photos: Path, write_recipe):
    path = write_recipe(RECIPE.format(photos=photos))
    text = cli("finetune", "--dry-run", "--config", path).stdout
    if not Path("/proc/driver/nvidia/version").exists():
        assert text.splitlines()[-1].startswith("estimate: about ")
    value = json.loads(cli("finetune", "--dry-run", "--json", "--config", path).stdout)
    assert "estimate" in value
    if value["estimate"]:
        assert [stage["name"] for stage in value["estimate"]["stages"]] == ["head", "block5"]
        parts = [stage["seconds"] for stage in value["estimate"]["stages"]]
        total = value["estimate"]["extract"] + sum(parts)
        assert value["estimate"]["seconds"] == pytest.approx(total, abs=0.2)
