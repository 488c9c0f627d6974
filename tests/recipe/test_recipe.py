"""Recipes: what loads, what is refused in which words, and what a loaded one means."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from tlcli.errors import RecipeError
from tlcli.networks import bases
from tlcli.recipe.advice import advise
from tlcli.recipe.load import find_recipe, load_recipe
from tlcli.recipe.problems import check_fine_tuning
from tlcli.recipe.recipe import Recipe, plain_name, recipe_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "examples/configs").rglob("*.yaml"))

#: Four lines; what a test adds begins on line 5.
SHORT = "data:\n  dir: photos\nbase:\n  name: VGG16\n"

BASES = ", ".join(bases.names())
TOP = (
    "name, seed, data, base, start_from, head, augment, stages, gradual, batch_size, precision, "
    "devices, features, unknown_rate, deterministic, search"
)
IN_HEAD = "pooling, hidden, dropout, l2, normalize, multi_layer"
STAGE = (
    "name, freeze_until, unfreeze_from, epochs, learning_rate, optimizer, schedule, monitor, "
    "early_stopping, class_weights, label_smoothing, batch_size, layer_decay, rates, "
    "clip_norm, l2_sp, ema, average, loss, sampler, solver"
)


@pytest.fixture
def load(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(text: str | bytes, *overrides: str) -> Recipe:
        return load_recipe(write_recipe(text, "r.yaml"), overrides)

    return load


@pytest.fixture
def refused(load: Callable[..., Recipe]) -> Callable[..., list[str]]:
    """The lines of the error that a recipe raises."""

    def refused(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            load(text, *overrides)
        return str(caught.value).split("\n")

    return refused


# What is refused

BAD = [
    # numbers
    ("seed: x", "seed: found 'x'; must be a whole number"),
    ("seed: true", "seed: found true; must not be true or false"),
    ("seed: -1", "seed: found -1; must be 0 or more"),
    ("seed: 2147483648", "seed: found 2147483648; must be less than 2147483648"),
    ("batch_size: 0", "batch_size: found 0; must be 1 or more"),
    ("batch_size: 3.5", "batch_size: found 3.5; must be a whole number"),
    ("batch_size: 70000", "batch_size: found 70000; must be 65536 or less"),
    ("head: {dropout: 1}", "head.dropout: found 1; must be less than 1"),
    ("head: {dropout: half}", "head.dropout: found 'half'; must be a number"),
    ("head: {l2: nan}", "head.l2: found 'nan'; must be a finite number"),
    ("head: {l2: 1e999}", "head.l2: found Infinity; must be a finite number"),
    ("head: {hidden: [64, 0]}", "head.hidden[1]: found 0; must be more than 0"),
    ("head: {hidden: many}", "head.hidden: found 'many'; must be a whole number"),
    ("head: {hidden: [true]}", "head.hidden: found [true]; must not be true or false"),
    (
        f"head: {{hidden: {[1] * 17}}}",
        f"head.hidden: found {[1] * 17}; must have at most 16 entries",
    ),
    # words
    ("name: -x", "name: found '-x'; use letters, digits, _ - and . (64 at most)"),
    ("name: a/b", "name: found 'a/b'; use letters, digits, _ - and . (64 at most)"),
    ("name: 2024", "name: found 2024; must be text; put numbers in quotes"),
    (
        "precision: float16",
        "precision: found 'float16'; did you mean 'float32'? (allowed: 'auto', 'float32', "
        "'mixed_float16' or 'mixed_bfloat16')",
    ),
    (
        "head: {pooling: average}",
        "head.pooling: found 'average'; did you mean 'avg'? (allowed: 'avg', 'max' or 'flatten')",
    ),
    (
        "features: {dtype: int8}",
        "features.dtype: found 'int8'; allowed: 'float32' or 'float16'",
    ),
    (
        "augment: {horizontal_flip: maybe}",
        "augment.horizontal_flip: found 'maybe'; must be true or false",
    ),
    # blocks
    ("head: 3", f"head: found 3; must be a block of {IN_HEAD}"),
    ("head: [1]", f"head: found [1]; must be a block of {IN_HEAD}"),
    (
        "head: {droput: 0.1}",
        "head.droput: unknown key 'droput'; did you mean 'dropout'? "
        f"(allowed: {IN_HEAD})",
    ),
    (
        "staged: 1",
        f"staged: unknown key 'staged'; did you mean 'stages'? (allowed: {TOP})",
    ),
    ("zzz: {a: 1}", f"zzz: unknown key 'zzz'; allowed: {TOP}"),
    ("<<: {a: 1}", f"<<: unknown key '<<'; allowed: {TOP}"),
    # augment
    (
        "augment: {views: lively}",
        "augment.views: found 'lively'; must be a whole number from 0 to 1,000, or 'live'",
    ),
    (
        "augment: {views: 1001}",
        "augment.views: found 1001; must be a whole number from 0 to 1,000, or 'live'",
    ),
    (
        "augment: {zoom_range: 2}",
        "augment.zoom_range: found 2; must be [low, high] with 0.05 <= low <= high <= 20, "
        "is [-1.0, 3.0]",
    ),
    (
        "augment: {zoom_range: [1.2, 0.8]}",
        "augment.zoom_range: found [1.2, 0.8]; must be [low, high] with "
        "0.05 <= low <= high <= 20, is [1.2, 0.8]",
    ),
    (
        "augment: {zoom_range: [1]}",
        "augment.zoom_range: found [1]; must be a number z for [1 - z, 1 + z], or [low, high]",
    ),
    ("augment: {shear_range: 81}", "augment.shear_range: found 81; must be 80 or less"),
    # stages
    ("stages: []", "stages: found []; must have at least 1 entry"),
    ("stages: 3", "stages: found 3; must be a list"),
    ("stages: [3]", f"stages[0]: found 3; must be a block of {STAGE}"),
    ("stages: [{epochs: 3}]", "stages[0].name: missing; the recipe needs stages[0].name"),
    (
        "stages: [{name: a}, {name: a}]",
        "stages[1].name: two stages are called 'a'; give each its own name",
    ),
    (
        "stages: [{name: a, epoch: 3}]",
        "stages[0].epoch: unknown key 'epoch'; did you mean 'epochs'? "
        f"(allowed: {STAGE})",
    ),
    (
        "stages: [{name: a, learning_rate: 0}]",
        "stages[0].learning_rate: found 0; must be more than 0",
    ),
    (
        "stages: [{name: a, optimizer: adamm}]",
        "stages[0].optimizer: found 'adamm'; did you mean 'adam'? "
        "(allowed: 'adam', 'rmsprop', 'sgd' or 'adamw')",
    ),
    (
        "stages: [{name: a, optimizer: {name: adam, momentum: 0.9}}]",
        "stages[0].optimizer: momentum is a setting of sgd and rmsprop, not of adam",
    ),
    (
        "stages: [{name: a, optimizer: {name: rmsprop, nesterov: true}}]",
        "stages[0].optimizer: nesterov is a setting of sgd, not of rmsprop",
    ),
    (
        "stages: [{name: a, schedule: {name: cosine, warmup: 1}}]",
        "stages[0].schedule.warmup: unknown key 'warmup'; did you mean 'warmup_epochs'? "
        "(allowed: name, warmup_epochs, decay, factor, patience)",
    ),
    (
        "stages: [{name: a, early_stopping: {min_delta: 1}}]",
        "stages[0].early_stopping.patience: missing; "
        "the recipe needs stages[0].early_stopping.patience",
    ),
    (
        "stages: [{name: a, early_stopping: false}]",
        "stages[0].early_stopping: found false; must not be true or false",
    ),
    (
        "stages: [{name: a, class_weights: balance}]",
        "stages[0].class_weights: found 'balance'; "
        "must be 'balanced' or a mapping of class names to positive numbers",
    ),
    (
        "stages: [{name: a, class_weights: {cats: -1}}]",
        'stages[0].class_weights: must be \'balanced\' or a mapping of class names to positive '
        "numbers",
    ),
    (
        "stages: [{name: a, freeze_until: block4_pol}]",
        "stages[0].freeze_until: VGG16 has no boundary 'block4_pol'; "
        "did you mean 'block4_pool' or 'block5_pool' or 'block3_pool'?",
    ),
    (
        "stages: [{name: a, freeze_until: block5_pool}]",
        "stages[0].freeze_until: 'block5_pool' is the top of VGG16: no layer of the base is left "
        "to train; name a lower boundary ('block5_conv2', 'block5_conv1', 'block4_pool'); "
        "a stage without freeze_until trains the head alone",
    ),
    *(
        (
            f"stages: [{{name: a, freeze_until: {count}}}]",
            f"stages[0].freeze_until: found {count.strip('[]')}, but boundaries have names: Keras' "
            f"layers[:{count.strip('[]')}] of VGG16{whose} ends with 'block4_pool'; "
            "write `freeze_until: block4_pool`",
        )
        for count in ("15", "-4", "[-4]")
        for whose in (" without classifier" if "-" in count else "",)
    ),
    (
        "stages: [{name: a, freeze_until: {b: 1}}]",
        'stages[0].freeze_until: found {"b": 1}; must be the name of a layer',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line[:60] for line, _ in BAD])
def test_bad_settings(refused, line: str, message: str):
    assert refused(f"{SHORT}{line}\n") == [f"r.yaml:5: {message}"]


BAD_BASES = [
    (
        "name: vgg61",
        f"4: base.name: 'vgg61' is not a base tlcli knows; did you mean 'VGG19'? "
        f"(allowed: {BASES})",
    ),
    ("name: 3", "4: base.name: found 3; must be text; put numbers in quotes"),
    (
        "name: VGG16\n  image_size: 20",
        "5: base.image_size: 20 is below the smallest image VGG16 takes; "
        "use 32 or more; its native size is 224",
    ),
    (
        "name: inceptionv3\n  image_size: [300, 74]",
        "5: base.image_size: 74 is below the smallest image InceptionV3 takes; "
        "use 75 or more; its native size is 299",
    ),
    ("name: VGG16\n  image_size: 5000", "5: base.image_size: found 5000; must be 4096 or less"),
    (
        "name: VGG16\n  image_size: [64, 80, 3]",
        "5: base.image_size: found [64, 80, 3]; "
        "must be a whole number of pixels, or [height, width]",
    ),
    (
        "name: VGG16\n  image_size: 150.5",
        "5: base.image_size: found 150.5; must be a whole number of pixels, or [height, width]",
    ),
    ("name: VGG16\n  image_size: true",
     "5: base.image_size: found true; must not be true or false"),
    ("name: VGG16\n  weights: ''", "5: base.weights: found ''; must be a path"),
    (
        "name: VGG16\n  resize: squish",
        "5: base.resize: found 'squish'; did you mean 'squash'? "
        "(allowed: 'squash', 'crop' or 'pad')",
    ),
    (
        "name: VGG16\n  freeze_until: block4_poool",
        "5: base.freeze_until: VGG16 has no boundary 'block4_poool'; "
        "did you mean 'block4_pool' or 'block5_pool' or 'block3_pool'?",
    ),
    (
        "name: ResNet50\n  freeze_until: conv4_block6_2_conv",
        "5: base.freeze_until: 'conv4_block6_2_conv' is inside a block: paths run around it; "
        "the clean boundaries just before and after it are 'conv4_block5_out' and "
        "'conv4_block6_add'",
    ),
    (
        "name: MobileNetV2\n  freeze_until: '100'",
        "5: base.freeze_until: found 100, but boundaries have names: Keras' layers[:100] of "
        "MobileNetV2 ends inside a block, and the last boundary before that is "
        "'block_10_project_BN'; write `freeze_until: block_10_project_BN`",
    ),
    (
        "name: VGG16\n  freeze_until: fc1",
        "5: base.freeze_until: 'fc1' is above the top of the base; "
        "the last boundary is 'block5_pool'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), BAD_BASES, ids=[line for line, _ in BAD_BASES])
def test_bad_bases(refused, lines: str, message: str):
    assert refused(f"data:\n  dir: photos\nbase:\n  {lines}\n") == [f"r.yaml:{message}"]


COLUMN = "must be the name of a column; put numbers in quotes"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("dir: ''", "2: data.dir: found ''; must be a path"),
        ('dir: "a\\0b"', "2: data.dir: found 'a\\x00b'; must be a path"),
        ("dir: 3", "2: data.dir: found 3; must be a path"),
        ("dir: [a]", '2: data.dir: found ["a"]; must be a path'),
        ("{}", "1: data: needs dir (a folder of photos) or csv (a table of them)"),
        ("dir: p\n  split: 0.2", "3: data.split: found 0.2; must be a block of val, test, file"),
        ("dir: p\n  split: {val: 1}", "3: data.split.val: found 1; must be less than 1"),
        (
            "dir: p\n  split: {val: 0.6, test: 0.5}",
            "3: data.split: val and test together must leave photos to train on (below 1)",
        ),
        ("dir: p\n  csv: x", "1: data: dir and csv are two sources; give one of them"),
        ("dir: p\n  path: x", "3: data.path: 'path' is not a setting of tlcli; "
         "it is called dir for folders of photos, and csv for a table of them"),
        ("dir: p\n  columns: {path: x}",
         "1: data: columns are those of a table; give csv, or leave columns out"),
        ("csv: t\n  columns: {path: }", f"3: data.columns.path: found null; {COLUMN}"),
        ("csv: t\n  columns: {label: 3}", f"3: data.columns.label: found 3; {COLUMN}"),
        ("csv: t\n  columns: {split: ' '}", f"3: data.columns.split: found ' '; {COLUMN}"),
        ("csv: t\n  columns: {group: [a]}", f'3: data.columns.group: found ["a"]; {COLUMN}'),
        ("csv: t\n  columns: {group: true}",
         "3: data.columns.group: found true; must not be true or false"),
        ("csv: t\n  columns: {label: Split}",
         "3: data.columns: 'split' stands for two of them; name each column once"),
        ("csv: t\n  columns: {lable: x}", "3: data.columns.lable: unknown key 'lable'; "
         "did you mean 'label'? (allowed: path, label, split, group)"),
        ("csv: t\n  columns: x",
         "3: data.columns: found 'x'; must be a block of path, label, split, group"),
        ("dir: p\n  duplicates: keep",
         "3: data.duplicates: found 'keep'; allowed: 'error', 'drop' or 'allow'"),
        ("dir: p\n  on_bad_image: ignore",
         "3: data.on_bad_image: found 'ignore'; allowed: 'error' or 'skip'"),
    ],
)  # fmt: skip
def test_bad_data(refused, lines: str, message: str):
    assert refused(f"data:\n  {lines}\nbase: {{name: VGG16}}\n") == [f"r.yaml:{message}"]


MAPPING = "it begins with `data:` and `base:`"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", [f"r.yaml:1: a recipe is a mapping of keys, found nothing; {MAPPING}"]),
        ("- a\n", [f"r.yaml:1: a recipe is a mapping of keys, found list; {MAPPING}"]),
        ("# x\n\n3\n", [f"r.yaml:3: a recipe is a mapping of keys, found int; {MAPPING}"]),
        (
            "seed: 1\n",
            [
                "r.yaml:1: data: missing; the recipe needs data",
                "r.yaml:1: base: missing; the recipe needs base",
            ],
        ),
        ("seed: 1\nseed: 2\n", ["r.yaml:2: the key 'seed' is given twice"]),
        (b"\xff\xd8\xff\xe0", ["r.yaml:1: not UTF-8 text"]),
        ("a: &a [*a]", ["r.yaml:1: more than 10,000 values or 32 levels"]),
    ],
)
def test_what_is_no_recipe(refused, text: str | bytes, messages: list[str]):
    assert refused(text) == messages


def test_all_problems_are_told_at_once(refused):
    text = """\
seed: x
data:
  dir: photos
  spilt: {val: 0.1}
base:
  name: VGG17
stages:
  - {name: a, epochs: 0}
  - name: a
    optimizer: adamm
"""
    lines = refused(text)
    assert [line[: line.index(";")] for line in lines] == [
        "r.yaml:1: seed: found 'x'",
        "r.yaml:4: data.spilt: unknown key 'spilt'",
        "r.yaml:8: stages[0].epochs: found 0",
        "r.yaml:10: stages[1].optimizer: found 'adamm'",
        "r.yaml:6: base.name: 'VGG17' is not a base tlcli knows",
        "r.yaml:9: stages[1].name: two stages are called 'a'",
    ]


def test_a_bad_default_boundary_is_told_once(refused):
    assert len(refused(f"{SHORT}  freeze_until: 15\n")) == 1
    assert len(refused(f"{SHORT}  freeze_until: nowhere\n")) == 1
    assert len(refused(f"{SHORT}  freeze_until: nowhere\nstages:\n  - {{name: a}}\n")) == 1


# Overrides


def test_overrides(load):
    loaded = load(SHORT, "seed=3", "head.hidden=[64, 32]", "head.dropout=1e-1", "name=no")
    assert (loaded.seed, loaded.name) == (3, "no")
    assert (loaded.head.hidden, loaded.head.dropout) == ((64, 32), 0.1)


@pytest.mark.parametrize("key", ["stages.1.epochs", "stages[1].epochs", " stages.1.epochs "])
def test_overrides_of_the_default_plan(load, key: str):
    loaded = load(SHORT, f"{key}=3", "stages.0.epochs=2")
    assert [(stage.name, stage.epochs) for stage in loaded.stages] == [
        ("head", 2),
        ("fine-tune", 3),
    ]
    assert loaded.stages[1].freeze_until == "block4_pool"


def test_overrides_of_a_plan_in_the_file(load):
    text = f"{SHORT}stages:\n  - {{name: a}}\n  - {{name: b, freeze_until: block3_pool}}\n"
    assert [stage.epochs for stage in load(text, "stages.1.epochs=3").stages] == [30, 3]
    assert [stage.name for stage in load(text, "stages=[{name: c}]").stages] == ["c"]


def test_the_default_plan_follows_from_the_overridden_base(load):
    for overrides in (["stages.1.epochs=3", "base.name=inceptionv3"],
                      ["base.name=inceptionv3", "stages.1.epochs=3"]):  # fmt: skip
        loaded = load(SHORT, *overrides)
        assert loaded.base.image_size == (299, 299)
        assert loaded.stages[1].freeze_until == "mixed7"
        assert loaded.stages[1].epochs == 3


def test_overrides_of_blocks_in_short_form(load):
    text = f"{SHORT}stages: [{{name: a, optimizer: sgd, early_stopping: 3}}]\n"
    stage = load(
        text, "stages.0.optimizer.momentum=0.9", "stages.0.early_stopping.min_delta=0.1"
    ).stages[0]
    assert (stage.optimizer.name, stage.optimizer.momentum) == ("sgd", 0.9)
    assert stage.early_stopping is not None
    assert (stage.early_stopping.patience, stage.early_stopping.min_delta) == (3, 0.1)


def test_overridden_paths_start_at_the_working_folder(load, tmp_path: Path):
    loaded = load(f"{SHORT}  weights: w.h5\n")
    assert loaded.data.dir == tmp_path / "photos"
    assert loaded.base.weights == str(tmp_path / "w.h5")
    here = Path.cwd()
    loaded = load(SHORT, "data.dir=x/../other", "base.weights=w.h5")
    assert loaded.data.dir == here / "other"
    assert loaded.base.weights == str(here / "w.h5")
    assert load(SHORT, "base.weights=random").base.weights == "random"
    assert load(SHORT, "data={dir: x, split: {val: 0.3}}").data.dir == here / "x"
    assert load(SHORT, "data.split.val=0.3").data.dir == tmp_path / "photos"


def test_a_home_folder_is_known(load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(SHORT, "data.dir=~/photos").data.dir == Path("/home/someone/photos")
    # Of nobody's home, there is only the name.
    assert load(SHORT, "data.dir=~no-such-user/x").data.dir == Path.cwd() / "~no-such-user/x"


def test_an_empty_override_restores_the_default(load):
    assert load(f"{SHORT}seed: 3\n", "seed=").seed == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "must be key=value, as in seed=3"),
        ("=3", "must be key=value, as in seed=3"),
        ("head..dropout=3", "must be key=value, as in seed=3"),
        ("seed=x", "found 'x'; must be a whole number"),
        ("seed.x=3", 'found {"x": 3}; must be a whole number'),
        (
            "seed=[",
            "not valid YAML: while parsing a flow node expected the node content, but found "
            "'<stream end>'",
        ),
        ("foo=1", f"unknown key 'foo'; allowed: {TOP}"),
        ("0=1", f"unknown key '0'; allowed: {TOP}"),
        (
            "head.droput=0.1",
            "unknown key 'droput'; did you mean 'dropout'? "
            f"(allowed: {IN_HEAD})",
        ),
        ("stages.7.epochs=3", "stages has 2 entries"),
        ("stages[2].epochs=3", "stages has 2 entries"),
        ("stages.x.epochs=3", "there is no stages.x"),
        ("stages.-1.epochs=3", "there is no stages.-1"),
        ("stages.².epochs=3", "there is no stages.²"),
        ("stages={}", "found {}; must be a list"),
        ("data=3", "found 3; must be a block of dir, csv, columns, split, "
         "on_bad_image, duplicates, depth, exclude, labels"),
        (
            "stages.1.optimizer.momentum=0.9",
            "momentum is a setting of sgd and rmsprop, not of adam",
        ),
        (
            "base.name=resnet5",
            "'resnet5' is not a base tlcli knows; did you mean 'ResNet50'? "
            f"(allowed: {BASES})",
        ),
        (
            "base.image_size=20",
            "20 is below the smallest image VGG16 takes; use 32 or more; its native size is 224",
        ),
        (
            "stages.1.freeze_until=block5",
            "VGG16 has no boundary 'block5'; did you mean 'block5_pool' or 'block5_conv3' or "
            "'block5_conv2'?",
        ),
    ],
)  # fmt: skip
def test_bad_overrides(refused, override: str, message: str):
    assert refused(SHORT, override) == [f"--set {override}: {message}"]


# What a loaded recipe means


def test_defaults(load):
    loaded = load(SHORT.replace("VGG16", "vgg16"))
    assert loaded.name == "r"
    assert loaded.base.name == "VGG16"
    assert loaded.base.image_size == (224, 224)
    assert loaded.base.freeze_until == "block4_pool"
    assert loaded.augment.kept_views == 0
    assert [
        (stage.name, stage.freeze_until, stage.epochs, stage.learning_rate)
        for stage in loaded.stages
    ] == [("head", None, 30, 1e-3), ("fine-tune", "block4_pool", 30, 1e-5)]
    assert loaded.path.name == "r.yaml"
    assert loaded.where("base", "name") == "r.yaml:4: base.name"


def test_a_boundary_of_the_base_is_that_of_the_default_plan(load):
    loaded = load(f"{SHORT}  freeze_until: block3_pool\n")
    assert loaded.stages[1].freeze_until == "block3_pool"


def test_a_base_without_a_default_boundary_trains_the_head(load):
    assert [stage.name for stage in load(SHORT.replace("VGG16", "NASNetMobile")).stages] == ["head"]


@pytest.mark.parametrize("name", bases.names())
def test_every_base_has_a_default_plan(load, name: str):
    loaded = load(SHORT.replace("VGG16", name.upper()))
    assert loaded.base.name == name
    assert loaded.base.image_size == (bases.BASES[name].native_size,) * 2


def test_blocks_without_content_are_as_good_as_left_out(load):
    empty = "head:\naugment:\n  # views: 3\nstages:\nseed:\n"
    assert load(SHORT + empty).resolved() == load(SHORT).resolved()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("cats_dogs.yaml", "cats_dogs"), ("my photos (2).yaml", "my_photos__2_"),
        (".hidden.yaml", "hidden"), ("--.yaml", "recipe"), ("1e5.yaml", "1e5"),
        ("Ünï 猫.yaml", "Ünï_猫"), ("a²b.yaml", "a_b"), (f"{'x' * 100}.yaml", "x" * 64),
    ],
)  # fmt: skip
def test_the_name_of_the_file_is_the_default_name(write_recipe, file: str, name: str):
    loaded = load_recipe(write_recipe(SHORT, file))
    assert loaded.name == name
    assert load_recipe(write_recipe(loaded.as_yaml())).resolved() == loaded.resolved()


def test_short_forms(load):
    stage = "{name: a, optimizer: sgd, schedule: cosine, early_stopping: 4}"
    loaded = load(f"{SHORT}  image_size: 64\nhead: {{hidden: 32}}\naugment: {{zoom_range: 0.25}}\n"
                  f"stages: [{stage}]\n")  # fmt: skip
    assert loaded.base.image_size == (64, 64)
    assert loaded.head.hidden == (32,)
    assert loaded.augment.zoom_range == (0.75, 1.25)
    assert loaded.stages[0].optimizer.name == "sgd"
    assert loaded.stages[0].schedule.name == "cosine"
    assert loaded.stages[0].early_stopping.patience == 4


def test_rectangles(load):
    assert load(f"{SHORT}  image_size: [64, 96]\n").base.image_size == (64, 96)


def test_words_and_numbers(load):
    stage = "{name: off, learning_rate: 1e-5}"
    loaded = load(f"{SHORT}name: no\naugment: {{horizontal_flip: yes}}\nstages: [{stage}]\n")
    assert (loaded.name, loaded.stages[0].name) == ("no", "off")
    assert loaded.stages[0].learning_rate == 1e-5
    assert loaded.augment.horizontal_flip is True


def test_class_weights_are_by_name(load):
    stage = "{name: a, class_weights: {0: 2, no: 0.5}}"
    assert load(f"{SHORT}stages: [{stage}]\n").stages[0].class_weights == {"0": 2.0, "no": 0.5}


def test_kept_views(load):
    def kept(text: str) -> int:
        return load(f"{SHORT}augment: {{{text}}}\n").augment.kept_views

    assert kept("views: 3, rotation_range: 5") == 3
    assert kept("rotation_range: 5") == 4
    assert kept("zoom_range: 0.1") == 4
    assert kept("vertical_flip: true") == 4
    assert kept("views: 3") == 0
    assert kept("views: live, rotation_range: 5") == 0


def test_a_recipe_does_not_change(load):
    loaded = load(SHORT)
    with pytest.raises(pydantic.ValidationError):
        loaded.seed = 3
    with pytest.raises(pydantic.ValidationError):
        loaded.stages[0].epochs = 3
    assert isinstance(loaded.stages, tuple)


CHANGES = [
    "seed=1", "base.name=VGG19", "base.weights=random", "base.image_size=64", "base.resize=pad",
    "base.batch_norm=train", "base.freeze_until=block3_pool", "head.pooling=max", "head.hidden=[]",
    "head.dropout=0.1", "head.l2=0.1", "augment.views=2", "augment.rotation_range=1",
    "augment.width_shift_range=1", "augment.height_shift_range=1", "augment.shear_range=1",
    "augment.zoom_range=0.1", "augment.horizontal_flip=true", "augment.vertical_flip=true",
    "augment.fill_mode=wrap", "augment.cval=1", "augment.seed=1", "stages.0.name=x",
    "augment.random_resized_crop.scale=[0.5,1]", "augment.brightness_range=0.1",
    "augment.channel_shift_range=1", "augment.contrast=0.1", "augment.saturation=0.1",
    "augment.hue=0.1", "augment.grayscale=0.1", "augment.blur=0.1",
    "augment.randaugment.number=1", "augment.random_erasing.probability=0.1",
    "augment.mixup=0.1", "augment.probability=0.5",
    "stages.0.epochs=1", "stages.0.learning_rate=1", "stages.0.optimizer=sgd",
    "stages.0.optimizer.weight_decay=0.1", "stages.0.schedule=cosine", "stages.0.batch_size=1",
    "stages.0.schedule.warmup_epochs=1", "stages.0.monitor=val_accuracy",
    "stages.0.early_stopping=3", "stages.0.class_weights=balanced", "stages.0.label_smoothing=0.1",
    "batch_size=1", "precision=mixed_float16", "features.dtype=float16", "deterministic=false",
    "data.split.val=0.1", "data.split.test=0.1", "data.on_bad_image=skip",
]  # fmt: skip


def test_the_fingerprint_is_of_everything_that_matters(load):
    prints = [load(SHORT, change).fingerprint() for change in CHANGES]
    prints.append(load(SHORT).fingerprint())
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in prints)
    assert load(SHORT, "name=x", "data.dir=elsewhere").fingerprint() == prints[-1]
    # The labels and splits that a table has under these names count, as those of folders do.
    table = "data: {csv: t.csv, columns: {label: breed, split: null}}\nbase: {name: VGG16}\n"
    assert load(table).fingerprint() == prints[-1]


@pytest.mark.parametrize("change", ["seed=0", *CHANGES])
def test_a_resolved_recipe_loads_to_the_same(load, write_recipe, change: str):
    loaded = load(SHORT, change)
    again = load_recipe(write_recipe(loaded.as_yaml(), "other.yaml"))
    assert again.resolved() == loaded.resolved()
    assert again.fingerprint() == loaded.fingerprint()


# Advice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stages: [{name: a}, {name: b, freeze_until: block4_pool, learning_rate: 1e-3}]",
            "r.yaml:5: stages[1].learning_rate: 0.001 is not lower than the 0.001 of stage 'a': "
            "large steps destroy pretrained weights; 1e-5 is a good starting point",
        ),
        (
            "stages: [{name: b, freeze_until: block4_pool}]",
            "r.yaml:5: stages[0].freeze_until: the first stage trains layers of the base under a "
            "head with random weights, whose gradients destroy what they have learned; "
            "begin with a stage without freeze_until",
        ),
        (
            "  freeze_until: block3_pool\nstages: [{name: a}]",
            "r.yaml:5: base.freeze_until: no stage uses 'block3_pool'; "
            "give freeze_until to a stage, or leave `stages` out for the default plan",
        ),
        (
            "  batch_norm: train\nbatch_size: 8",
            "r.yaml:5: base.batch_norm: the statistics of batches of 8 photos are noisy; "
            "use a batch size of 16 or more, or `frozen`",
        ),
        (
            "augment: {views: 3}",
            "r.yaml:5: augment.views: no setting of `augment` changes a photo, so no views are "
            "kept; set rotation_range, horizontal_flip, ...",
        ),
    ],
)
def test_advice(load, text: str, message: str):
    problems = advise(load(f"{SHORT}{text}\n"))
    assert [str(problem) for problem in problems] == [message]
    assert problems[0].severity == "warning"


def test_a_wise_recipe_needs_no_advice(load):
    assert advise(load(SHORT)) == []


# Fine-tuning of nothing


@pytest.mark.parametrize(
    ("base", "lines", "message"),
    [
        (
            "VGG16",
            "stages: [{name: a}, {name: b, freeze_until: block5_conv3}]",
            "r.yaml:5: stages[1].freeze_until: no layer with weights is above 'block5_conv3', so "
            "the stage would train the head alone; name a lower boundary ('block5_conv2', "
            "'block5_conv1', 'block4_pool'); a stage without freeze_until trains the head alone",
        ),
        (
            "MobileNetV2",
            "  freeze_until: Conv_1_bn",
            "r.yaml:5: base.freeze_until: no layer with weights is above 'Conv_1_bn', so the stage "
            "would train the head alone; name a lower boundary ('block_16_project_BN', "
            "'block_16_depthwise_relu', 'block_12_add'); "
            "a stage without freeze_until trains the head alone",
        ),
        (
            "MobileNetV2",
            "  freeze_until: Conv_1",
            "r.yaml:5: base.freeze_until: only batch norm is above 'Conv_1', so the stage would "
            "train the head alone; name a lower boundary ('block_16_project_BN', "
            "'block_16_depthwise_relu', 'block_12_add'); a stage without freeze_until trains the "
            "head alone, and base.batch_norm=train trains batch norm",
        ),
        ("MobileNetV2", "  freeze_until: Conv_1\n  batch_norm: train", None),
        ("VGG16", "  freeze_until: block5_conv2", None),
        ("VGG16", "stages: [{name: a}]", None),
        ("NASNetMobile", "", None),
    ],
)
def test_a_stage_that_would_fine_tune_nothing(load, base: str, lines: str, message: str | None):
    text = f"{SHORT.replace('VGG16', base)}{lines}\n"
    problems = list(check_fine_tuning(load(text)))  # it loads, as the record of an older run must
    assert [str(problem) for problem in problems] == ([message] if message else [])
    severity = "warning" if message and "only batch norm" in message else "error"
    assert all(problem.severity == severity for problem in problems)


# Finding


def test_finding_the_recipe_that_is_meant(tmp_path: Path):
    def told() -> str:
        with pytest.raises(RecipeError) as caught:
            find_recipe(tmp_path)
        return str(caught.value)

    assert told() == (
        "--config: no recipe in this folder; "
        "name one, or write one for your photos with `tlcli init DIR`"
    )
    (tmp_path / "mkdocs.yml").write_text("a: !!python/name:x y\n")
    (tmp_path / "list.yaml").write_text("- base\n")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "large.yaml").write_text("#" * 1_000_001)
    assert told().startswith("--config: no recipe in this folder; ")
    (tmp_path / "b.yml").write_text(SHORT)
    assert find_recipe(tmp_path) == tmp_path / "b.yml"
    # One with a slip in it is meant to be a recipe, too.
    (tmp_path / "a.yaml").write_text(f"{SHORT}  - x: [\n")
    assert told() == "--config: 2 recipes here: a.yaml, b.yml; name one of them"
    (tmp_path / "recipe.yaml").write_text("")
    assert find_recipe(tmp_path) == tmp_path / "recipe.yaml"


# The examples and the schema


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Just enough of JSON Schema to judge a recipe."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    kinds = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
        "integer": int, "number": (int, float),
    }  # fmt: skip
    kind = schema.get("type")
    if kind and not isinstance(value, kinds[kind]):
        return False
    if kind in ("integer", "number") and isinstance(value, bool):
        return False
    checks = [
        "anyOf" not in schema or any(accepts(option, value, root) for option in schema["anyOf"]),
        # What pydantic before 2.9 writes around a reference that has a default beside it.
        all(accepts(part, value, root) for part in schema.get("allOf", ())),
        "enum" not in schema or value in schema["enum"],
        "const" not in schema or value == schema["const"],
        "pattern" not in schema or re.search(schema["pattern"], value),
        "minimum" not in schema or value >= schema["minimum"],
        "maximum" not in schema or value <= schema["maximum"],
        "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"],
        "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"],
    ]
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        checks += [set(schema.get("required", ())) <= value.keys()]
        for key, entry in value.items():
            inner = known.get(key, more)
            checks.append(accepts(inner, entry, root) if isinstance(inner, dict) else inner)
    if isinstance(value, list):
        checks += [
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)),
            *(accepts(schema.get("items", {}), entry, root) for entry in value),
        ]
    return all(checks)


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {"cats_dogs", "resnet50", "inception_v3"}


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_load_and_fit_the_schema(path: Path):
    loaded = load_recipe(path)
    assert loaded.name == path.stem
    assert advise(loaded) == []
    schema = recipe_schema()
    assert accepts(schema, yaml.safe_load(path.read_text("utf-8")), schema)
    assert accepts(schema, yaml.safe_load(loaded.as_yaml()), schema)


@pytest.mark.parametrize(
    "text", ["", "seed: x", "head: {droput: 1}", "stages: []", "stages: [{name: a, epochs: 0}]"]
)
def test_the_schema_refuses_what_loading_refuses(text: str):
    schema = recipe_schema()
    value = yaml.safe_load(SHORT + text if text else "seed: 1")
    assert not accepts(schema, value, schema)
    assert accepts(schema, yaml.safe_load(SHORT), schema)


def test_the_schema_describes_every_setting():
    schema = recipe_schema()
    for block in schema["$defs"].values():
        for option in block["anyOf"][1:] if "anyOf" in block else [block]:
            assert all("description" in entry for entry in option["properties"].values())


# Fuzzing


def test_wild_recipes_raise_recipe_errors_only(write_recipe):
    chance = random.Random(0)
    words = [*TOP.split(", "), *STAGE.split(", "), "dir", "split", "val", "weights", "image_size",
             "hidden", "dropout", "views", "zoom_range", "dtype", "patience", "momentum", "x",
             "resize", "batch_norm", "pooling", "l2"]  # fmt: skip
    scalars = [0, -1, 1, 3, 10**30, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"), True,
               False, None, "", "VGG16", "resnet50", "imagenet", "random", "live", "balanced",
               "adam", "block4_pool", "a\0b", "~", "~x/y", "nan", "\ud7ff", "x" * 200]  # fmt: skip

    def tree(depth: int) -> Any:
        kind = chance.random()
        if depth and kind < 0.45:
            return {chance.choice(words): tree(depth - 1) for _ in range(chance.randrange(5))}
        if depth and kind < 0.6:
            return [tree(depth - 1) for _ in range(chance.randrange(4))]
        return chance.choice(scalars)

    loaded = 0
    for _ in range(300):
        wild = {chance.choice(words): tree(3) for _ in range(chance.randrange(6))}
        if chance.random() < 0.8:
            wild = {"data": {"dir": "p"}, "base": {"name": "VGG16"}, **wild}
        path = write_recipe(yaml.dump(wild, allow_unicode=True))
        override = f"{'.'.join(chance.choices([*words, '0', '1'], k=3))}={chance.choice(scalars)}"
        for overrides in ((), (override,)):
            try:
                advise(load_recipe(path, overrides))
                loaded += 1
            except RecipeError as error:
                assert all("\n" not in str(problem) for problem in error.problems)
    assert loaded


@pytest.mark.parametrize(("letter", "fits"), [("a", True), ("é", True), ("\U00020000", False)])
def test_a_name_fits_a_folder(tmp_path: Path, letter: str, fits: bool):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: {letter * 64}\ndata: {{dir: x}}\nbase: {{name: VGG16}}\n", "utf-8")
    if fits:
        assert load_recipe(path).name == letter * 64
    else:
        with pytest.raises(RecipeError, match=r"must have 200 bytes at most"):
            load_recipe(path)
    assert len(plain_name(letter * 70)) == (64 if fits else 50)


def test_a_pipe_among_the_recipes_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("data: {dir: x}\nbase: {name: VGG16}\n")
    assert find_recipe(tmp_path).name == "b.yaml"
    with pytest.raises(RecipeError, match=r"a\.yaml: cannot be read: not a regular file"):
        load_recipe(tmp_path / "a.yaml")
