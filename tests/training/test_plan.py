"""Plans against numbers worked out by hand, and every problem before any work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlcli.errors import TlcliError
from tlcli.networks.bases import BASES
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import Head
from tlcli.runs import directory
from tlcli.system import files
from tlcli.training.check import check_recipe
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.stage_plan import head_parameters

#: The default plan of a pretrained base, for one with random weights.
TRANSFER = (
    "stages: [{name: head}, {name: fine-tune, freeze_until: block4_pool, learning_rate: 1e-5}]\n"
)

VGG16 = 14_714_688
HEAD = 512 * 256 + 256 + 256 * 3 + 3  # 512 channels, 256 units, three classes
BLOCK5 = 3 * (3 * 3 * 512 * 512 + 512)
TOP, POOL4 = 2 * 2 * 512 * 4, 4 * 4 * 512 * 4  # bytes of a row at 64 px


@pytest.fixture
def make(load: Callable[..., Recipe]) -> Callable[..., Plan]:
    def make(more: str = "", *overrides: str, **settings: Any) -> Plan:
        return make_plan(preflight(load(more, *overrides), **settings))

    return make


@pytest.fixture
def refused(load: Callable[..., Recipe], photos: Path) -> Callable[..., list[str]]:
    def refused(more: str = "", *overrides: str, **settings: Any) -> list[str]:
        with pytest.raises(TlcliError) as caught:
            make_plan(preflight(load(more, *overrides), **settings))
        return str(caught.value).replace(str(photos), "PHOTOS").split("\n")

    return refused


def told(made: Plan) -> list[str]:
    return [f"{problem.severity}: {problem}" for problem in made.problems]


# Numbers


def test_a_plan_in_numbers(make):
    made = make(TRANSFER)
    head, tune = made.stages
    assert (head.cut.name, head.trainable, head.frozen) == ("block5_pool", HEAD, VGG16)
    assert BLOCK5 == 7_079_424
    assert (tune.cut.name, tune.trainable) == ("block4_pool", BLOCK5 + HEAD)
    assert tune.frozen == VGG16 - BLOCK5
    assert (head.batch_size, head.steps, head.class_weights) == (32, 1, (1.0, 1.0, 1.0))
    assert [boundary.name for boundary in made.cuts] == ["block4_pool", "block5_pool"]
    assert made.row is BASES["VGG16"]
    assert made.store_bytes == 39 * (TOP + POOL4)
    assert told(made) == []


def test_random_weights_are_trained_from_scratch(make):
    (stage,) = make().stages
    assert (stage.stage.name, stage.cut.name, stage.frozen) == ("scratch", "pixels", 0)
    assert (stage.trainable, stage.stage.learning_rate) == (VGG16 + HEAD, 1e-3)
    made = make("", "base.name=ResNet50")
    row, head = BASES["ResNet50"], 2048 * 256 + 256 + 256 * 3 + 3
    assert made.recipe.base.batch_norm == "train"
    statistics = 53_120  # means and variances follow the batches
    assert made.stages[0].trainable == row.parameters + head - statistics
    (note,) = told(made)  # 30 epochs of one step; .99 to the power of 30 is .74
    assert "batch norm of ResNet50 keeps 0.99" in note
    assert "after 30 steps 74% are still those of the beginning" in note


def test_the_plan_says_where_a_stage_is_cut_whose_first_layer_is_inside_a_block(make):
    stages = "stages: [{name: head}, {name: top, unfreeze_from: conv5_block3_2_conv}]"
    made = make(stages, "base.name=ResNet50", "base.batch_norm=frozen")
    top = made.stages[1]
    assert top.cut.name == "conv5_block2_out"
    # Two convolutions with their biases; batch norm is frozen.
    head = 2048 * 256 + 256 + 256 * 3 + 3
    assert top.trainable == head + (3 * 3 * 512 * 512 + 512) + (512 * 2048 + 2048)
    assert made.text().endswith(
        "\ntop: no clean cut lies right below conv5_block3_2_conv, so it trains from "
        "conv5_block2_out; 2 layers between stay frozen: conv5_block3_1_conv, conv5_block3_1_bn"
    )
    assert "below conv5_block3_2_conv" in made.text()
    assert made.as_json()["stages"][1]["unfreeze_from"] == "conv5_block3_2_conv"


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ("augment: {views: 3, rotation_range: 5}", (24 * 4 + 15) * (TOP + POOL4)),
        ("augment: {views: 3}", 39 * (TOP + POOL4)),
        ("augment: {views: live, rotation_range: 5}", 15 * (TOP + POOL4)),
        ("features: {dtype: float16}", 39 * (TOP + POOL4) // 2),
        ("stages: [{name: a}]", 39 * TOP),
        ("stages: [{name: a}, {name: b, freeze_until: block3_pool}]", 39 * (TOP + 8 * 8 * 256 * 4)),
        # A byte for each channel of a pixel, whatever the type of features.
        (
            "stages: [{name: a, freeze_until: none}]\nfeatures: {dtype: float16}\n"
            "augment: {views: 3, hue: 0.1}",
            (24 * 4 + 15) * 64 * 64 * 3,
        ),
    ],
)
def test_the_size_of_the_store(make, more: str, size: int):
    assert make(more if "stages" in more else TRANSFER + more).store_bytes == size


def test_identical_photos_take_one_row(make, photos: Path):
    shutil.copy(photos / "train/red/00.png", photos / "train/red/copy.png")
    assert make(TRANSFER).store_bytes == 39 * (TOP + POOL4)


def test_steps_and_batches(make):
    made = make("stages: [{name: a, batch_size: 5}, {name: b, freeze_until: block4_pool}]",
                "batch_size=7")  # fmt: skip
    assert [(stage.batch_size, stage.steps) for stage in made.stages] == [(5, 5), (7, 4)]


def test_a_stage_after_a_deeper_one_starts_where_that_did(make):
    made = make(
        "stages: [{name: a}, {name: b, freeze_until: block3_pool}, "
        "{name: c, freeze_until: block4_pool, learning_rate: 1e-6}, {name: d}]"
    )
    # What an earlier stage has changed, no stored activation of a later one may skip.
    cuts = [stage.cut.name for stage in made.stages]
    assert cuts == ["block5_pool", "block3_pool", "block3_pool", "block3_pool"]
    assert made.stages[2].trainable == BLOCK5 + HEAD
    assert made.stages[3].trainable == HEAD


def test_batch_norm_counts_when_it_trains(make):
    change = ["base.name=ResNet50", "stages.1.freeze_until=conv4_block6_out"]
    frozen = make(TRANSFER, *change, "base.batch_norm=frozen").stages[1]
    trained = make(TRANSFER, *change, "base.batch_norm=train").stages[1]
    # The last stage of ResNet50: nine normalisations of its three blocks and one of the shortcut.
    scales_and_shifts = 2 * (3 * (512 + 512 + 2048) + 2048)
    assert trained.trainable - frozen.trainable == scales_and_shifts
    assert trained.trainable + trained.frozen == frozen.trainable + frozen.frozen


@pytest.mark.parametrize(
    ("settings", "classes", "parameters"),
    [
        ({}, 3, HEAD),
        ({"hidden": []}, 3, 512 * 3 + 3),
        ({"hidden": []}, 2, 512 + 1),
        ({"hidden": [8, 4]}, 2, 512 * 8 + 8 + 8 * 4 + 4 + 4 + 1),
        ({"hidden": [8], "pooling": "flatten"}, 3, 2 * 3 * 512 * 8 + 8 + 8 * 3 + 3),
        ({"hidden": [8], "pooling": "max"}, 3, 512 * 8 + 8 + 8 * 3 + 3),
    ],
)
def test_parameters_of_heads(settings: dict[str, Any], classes: int, parameters: int):
    head = Head(**settings)
    assert head_parameters(head, BASES["VGG16"], (64, 96), classes) == parameters


def test_class_weights(make, photos: Path):
    for number in range(4):
        (photos / f"train/red/{number:02d}.png").unlink()
    (stage,) = make("stages: [{name: a, class_weights: balanced}]").stages
    assert stage.class_weights == pytest.approx((20 / 24, 20 / 24, 20 / 12))
    named = "stages: [{name: a, class_weights: {red: 4, green: 1, blue: 2}}]"
    assert make(named).stages[0].class_weights == (2.0, 1.0, 4.0)


def test_the_plan_as_text(make, tmp_path: Path):
    changes = ("augment.rotation_range=5", "augment.views=1")
    assert make(TRANSFER, *changes, cache=tmp_path).text() == (
        "r: 3 classes (blue, green, red)\n"
        "photos: 24 train, 9 val, 6 test\n"
        "base: VGG16 at 64 x 64 px, random weights\n"
        "views: every training photo and 1 augmented view; 48 passes through the trunk, once\n"
        "precision: float32 (TLCLI_PRECISION is set)\n"
        f"feature store: up to 2.6 MB in {tmp_path}\n"
        "\n"
        "stage      frozen until              trainable      frozen  epochs  steps  rate\n"
        "---------  ------------------------  ---------  ----------  ------  -----  -----\n"
        "head       block5_pool (whole base)    132,099  14,714,688      30      1  0.001\n"
        "fine-tune  block4_pool               7,211,523   7,635,264      30      1  1e-05"
    )


def test_names_of_classes_stay_on_their_line(make):
    made = make()
    odd = replace(made.index, classes=("a\nb", "c\rd", "e\x1b[31m"))
    assert replace(made, index=odd).text().splitlines()[0] == (
        "r: 3 classes (a\\nb, c\\rd, e\\x1b[31m)"
    )


def test_views_in_the_text(make):
    views = "augment: {views: live, rotation_range: 5}"
    assert "views: live: a new view of every training photo in every epoch" in make(views).text()
    assert "views: the photos themselves, not augmented\n" in make().text()


# Problems


def test_problems_are_collected(refused, photos: Path, tmp_path: Path):
    (photos / "train/red/00.png").write_bytes(b"hello")
    for name in (directory.RECORD, directory.SUMMARY, directory.MODEL):
        files.write_json(tmp_path / name, {})
    more = "stages: [{name: a, class_weights: {rad: 1, green: 1, blue: 1}}]"
    lines = refused(more, "base.weights=missing.h5", out=tmp_path)
    assert lines == [
        f"--out {tmp_path}: there is already a run; "
        "name another folder, or replace the run with --force",
        f"--set base.weights=missing.h5: no such weights file: {Path.cwd() / 'missing.h5'}; "
        "check the path; relative paths start at the recipe's folder",
        "r.yaml:6: stages[0].class_weights: 'rad' is not a class; did you mean 'red'? "
        "(allowed: blue, green, red)",
        "r.yaml:6: stages[0].class_weights: no weight for 'red'; name every class",
        lines[4],
        "data: 1 photo cannot be used; repair them, list them for data.exclude with "
        "`tlcli check --fix-list bad.txt`, or train without them with data.on_bad_image=skip",
    ]
    assert lines[4].startswith("PHOTOS/train/red/00.png: ")
    assert refused("", "base.weights=x.h5", out=tmp_path, force=True)[0].startswith("--set base.")


def test_a_missing_folder(refused, photos: Path):
    folder = photos.parent / "photo"
    assert refused("", f"data.dir={folder}") == [
        f"{folder}: no such folder; did you mean 'PHOTOS'?"
    ]


def test_bad_photos_can_be_left_out(make, photos: Path):
    (photos / "train/red/00.png").write_bytes(b"hello")
    made = make("", "data.on_bad_image=skip")
    assert len(made.index.of("train")) == 23
    (line,) = told(made)
    assert line.startswith(f"warning: {photos}/train/red/00.png: ")
    assert line.endswith("; left out of the run")


def test_a_class_that_loses_all_its_photos(refused, photos: Path):
    for path in (photos / "train/red").iterdir():
        path.write_bytes(b"hello")
    more = "stages: [{name: a, class_weights: balanced}]"
    assert refused(more, "data.on_bad_image=skip") == [
        "PHOTOS: class 'red': no readable training photo; repair some"
    ]


def test_validation_that_is_not_there(refused, photos: Path):
    shutil.rmtree(photos / "val")
    more = "stages:\n  - name: a\n    early_stopping: 3\n    schedule: plateau\n"
    assert refused(more, "data.split.val=0") == [
        "r.yaml:8: stages[0].early_stopping: there are no validation photos to watch; "
        "set data.split.val",
        "r.yaml:9: stages[0].schedule: there are no validation photos to watch; set data.split.val",
    ]


def test_validation_photos_that_cannot_be_read(refused, photos: Path):
    for path in photos.glob("val/*/*.png"):
        path.write_bytes(b"hello")
    more = "stages: [{name: a, early_stopping: 3}]"
    assert refused(more, "data.on_bad_image=skip") == [
        "r.yaml:6: stages[0].early_stopping: there are no validation photos to watch; "
        "set data.split.val"
    ]


def test_a_cache_that_is_a_file(refused, tmp_path: Path):
    (tmp_path / "file").touch()
    assert refused("", cache=tmp_path / "file" / "cache") == [
        f"{tmp_path}/file: the feature store cannot be written here; "
        "name another folder with --cache-dir or TLCLI_CACHE"
    ]


def test_advice_is_part_of_the_plan(make):
    assert told(make("augment: {views: 3}")) == [
        "warning: r.yaml:6: augment.views: no setting of `augment` changes a photo, so no views "
        "are kept; set rotation_range, horizontal_flip, ..."
    ]


# check


def test_check_decodes_every_photo(load, photos: Path):
    path = load().path
    text = (photos / "val/red/01.png").read_bytes()
    (photos / "val/red/01.png").write_bytes(text[:-60])
    # The header is whole, so that a plan alone would not notice.
    assert preflight(load()).errors == []
    checked = check_recipe(path)
    assert not checked.passed
    (problem,) = checked.all_problems()
    assert problem.where == f"{photos}/val/red/01.png"
    assert checked.plan is None
    assert checked.as_dict()["images"]["counts"]["train"] == {"blue": 8, "green": 8, "red": 8}


def test_check_of_what_is_right_and_of_what_is_no_recipe(load, write_recipe):
    checked = check_recipe(load(TRANSFER).path, ["stages.1.epochs=2"])
    assert checked.passed
    assert checked.plan.stages[1].stage.epochs == 2
    broken = check_recipe(write_recipe("seed: x\n", "broken.yaml"))
    assert not broken.passed
    assert broken.as_dict()["images"] == {}
    assert broken.as_dict()["problems"][0] == {
        "severity": "error",
        "where": "broken.yaml:1: seed",
        "message": "found 'x'",
        "hint": "must be a whole number",
    }


@pytest.mark.parametrize(
    ("base", "settings", "message"),
    [
        (
            "MobileNetV2",
            "batch_size=8",
            "keeps 0.999 of its running mean and variance in each step, so that after 90 steps 91% "
            "are still those of the beginning: validation can stay at chance while training does "
            "well; train 2,995 steps or more",
        ),
        (
            "SmallResNet",
            "stages=[{name: all, freeze_until: pixels, epochs: 400, early_stopping: 5}]",
            "keeps 0.99 of its running mean and variance in each step, so that after 6 steps "
            "(early stopping may end then) 94% are still those of the beginning: validation can "
            "stay at chance while training does well; let early_stopping wait longer: 299 steps "
            "are enough",
        ),
        ("MobileNetV2", "base.batch_norm=frozen", ""),
        ("EfficientNetV2B0", "batch_size=8", ""),
        ("SmallConvNet", "batch_size=8", ""),
        ("VGG16", "batch_size=8", ""),
    ],
)
def test_batch_norm_that_cannot_settle_is_a_warning(load, base, settings, message):
    made = make_plan(preflight(load("", f"base.name={base}", settings)))
    lines = [str(problem) for problem in made.problems if "running mean" in problem.message]
    assert len(lines) == bool(message)
    assert message in "".join(lines)
