"""Techniques of stages in a recipe: what they may be, and with what they do not go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.errors import RecipeError
from tlcli.networks.bases import BASES
from tlcli.networks.blocks import trained_blocks
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe

RECIPE = """\
data: {{dir: .}}
base: {{name: VGG16, image_size: 32{base}}}
head: {{hidden: {hidden}, dropout: 0{head}}}
stages:
  - {{name: head, {first}}}
  - {{name: top, freeze_until: block3_pool, {second}}}
"""


@pytest.fixture
def load(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(
        first: str = "", second: str = "", base: str = "", head: str = "", hidden: str = "[]"
    ) -> Recipe:
        text = RECIPE.format(first=first, second=second, base=base, head=head, hidden=hidden)
        return load_recipe(write_recipe(text))

    return load


def refused(load: Callable[..., Recipe], **settings: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(**settings)
    return "\n".join(str(problem).partition("recipe.yaml:")[2] for problem in caught.value.problems)


MULTI = """\
data: {{dir: .}}
base: {{name: {base}}}
head: {{hidden: [], dropout: 0, multi_layer: true{head}}}
stages: [{{name: head, solver: lbfgs}}{more}]
"""


@pytest.fixture
def load_multi(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(base: str = "VGG16", head: str = "", more: str = "") -> Recipe:
        return load_recipe(write_recipe(MULTI.format(base=base, head=head, more=more)))

    return load


def test_a_multi_layer_head_takes_all_boundaries_from_that_of_fine_tuning_up(
    load_multi, write_recipe
):
    plain = load_multi(head=", normalize: false")
    assert [boundary.name for boundary in plain.tapped] == [
        "block4_pool", "block5_conv1", "block5_conv2", "block5_pool"
    ]  # fmt: skip
    higher = load_multi(base="VGG16, freeze_until: block5_conv2")
    assert [boundary.name for boundary in higher.tapped] == ["block5_conv2", "block5_pool"]
    again = load_recipe(write_recipe(plain.as_yaml(), "again.yaml"))
    assert again.fingerprint() == plain.fingerprint() != higher.fingerprint()
    off = plain.model_copy(update={"head": plain.head.model_copy(update={"multi_layer": False})})
    assert off.tapped == () and "multi_layer" not in off.resolved()["head"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"more": ", {name: top, freeze_until: block4_pool}"},
            "needs stages with `solver: lbfgs` alone, which it chooses by; write `stages: [{name: "
            "head, solver: lbfgs}]`",
        ),
        (
            {"head": ", pooling: flatten"},
            "takes means over space, and head.pooling is flatten; set head.pooling=avg",
        ),
        ({"base": "LeNet5"}, "chooses among pretrained features, and LeNet5 has none"),
        ({"base": "NASNetMobile"}, "NASNetMobile has no boundary below its top; leave it out"),
    ],
)
def test_what_does_not_go_with_a_multi_layer_head(load_multi, settings, expected):
    assert refused(load_multi, **settings).splitlines()[-1] == f"3: head.multi_layer: {expected}"


def test_what_is_off_is_not_written_down_and_changes_no_fingerprint(load, write_recipe):
    plain = load()
    off = "layer_decay: null, ema: null, loss: cross_entropy, sampler: shuffle, solver: descent"
    assert load(second=off).fingerprint() == plain.fingerprint()
    assert "layer_decay" not in plain.as_yaml() and "sampler" not in plain.as_yaml()
    on = "layer_decay: 0.5, l2_sp: 0.01, average: best 3, loss: {name: focal, gamma: 1}"
    used = load(second=on)
    assert used.fingerprint() != plain.fingerprint()
    again = load_recipe(write_recipe(used.as_yaml(), "again.yaml"))
    assert again.fingerprint() == used.fingerprint()
    assert again.stages[1].averaged_epochs == 3
    assert load(second="loss: focal").stages[1].loss.power == 2


def test_a_solved_stage_has_one_epoch_and_reads_back(load, write_recipe):
    solved = load(first="solver: lbfgs")
    assert solved.stages[0].epochs == 1
    again = load_recipe(write_recipe(solved.as_yaml(), "again.yaml"))
    assert again.stages == solved.stages


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"first": "layer_decay: 0.5"},
            "5: stages[0].layer_decay: is about layers of the base, and this stage trains the head "
            "alone; leave it out, or give the stage freeze_until",
        ),
        (
            {"first": "l2_sp: 0.01"},
            "5: stages[0].l2_sp: is about layers of the base, and this stage trains the head "
            "alone; leave it out, or give the stage freeze_until",
        ),
        (
            {"second": "rates: {blok5: 1e-5}"},
            "6: stages[1].rates: VGG16 has no block 'blok5'; did you mean 'block5'? "
            "(allowed: head, block5, block4)",
        ),
        (
            {"second": "rates: {block3: 1e-5}"},
            "6: stages[1].rates: 'block3' is frozen in this stage; this stage trains head, block5, "
            "block4; lower its freeze_until, or leave it out",
        ),
        (
            {"second": "rates: {block5: 0}"},
            "6: stages[1].rates: must map blocks to learning rates above 0 and up to 10, as in "
            "{block5: 1.0e-5, block4: 3.0e-6}",
        ),
        (
            {"second": "average: 3"},
            "6: stages[1].average: found 3; must be `best` and a number from 2 to 20, as in: "
            "average: best 3",
        ),
        (
            {"second": "loss: {gamma: 2}"},
            "6: stages[1].loss: gamma is a setting of focal, not of cross_entropy",
        ),
        (
            {"second": "loss: focal, label_smoothing: 0.1"},
            "6: stages[1].label_smoothing: goes with cross-entropy alone, and the loss of this "
            "stage is focal; leave one of them out",
        ),
        (
            {"second": "ema: 1"},
            "6: stages[1].ema: found 1; must be less than 1",
        ),
        (
            {"second": "solver: lbfgs"},
            "6: stages[1].solver: lbfgs solves for the head alone, and this stage trains layers of "
            "the base; give it to a stage before, without freeze_until",
        ),
        (
            {"first": "solver: lbfgs", "hidden": "[8]"},
            "5: stages[0].solver: lbfgs solves for a head without hidden layers and dropout, which "
            "has one optimum; set head.hidden=[] and head.dropout=0",
        ),
        (
            {"first": "solver: lbfgs, epochs: 5, ema: 0.9"},
            "5: stages[0].epochs: has no effect with solver lbfgs, which takes no steps; leave it "
            "out\n5: stages[0].ema: has no effect with solver lbfgs, which takes no steps; leave "
            "it out",
        ),
        (
            {"second": "l2_sp: 0.1", "base": ", weights: random"},
            "6: stages[1].l2_sp: pulls to the pretrained weights, and base.weights is random; "
            "leave it out",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_with_what_would(load, settings, message):
    assert refused(load, **settings) == message


def test_every_base_has_blocks_from_the_default_boundary_up():
    for name, row in BASES.items():
        layers = [layer for block in row.blocks for layer in block.layers]
        assert layers == [layer for layer in row.layers if layer in layers], name
        assert len({block.name for block in row.blocks}) == len(row.blocks), name
        trained = trained_blocks(row, "pixels", None)
        assert trained == row.blocks, name
        if row.default_boundary not in (None, "pixels"):
            upper = trained_blocks(row, str(row.default_boundary), None)
            assert 0 < len(upper) < len(row.blocks), name
            # The default boundary cuts no block in two.
            below = {b.name for b in row.blocks} - {b.name for b in upper}
            order = [boundary.name for boundary in row.boundaries]
            assert order.index(upper[0].below.name) >= order.index(str(row.default_boundary)), name
            assert below


@pytest.mark.parametrize(
    ("base", "names"),
    [
        ("VGG16", "block1 block2 block3 block4 block5"),
        ("ResNet50", "conv1 conv2 conv3 conv4 conv5"),
        ("EfficientNetB0", "stem block1 block2 block3 block4 block5 block6 block7"),
        ("ConvNeXtTiny", "stem stage_0 stage_1 stage_2 stage_3"),
        ("SmallResNet", "stem block1 block2 block3"),
    ],
)
def test_blocks_are_called_what_their_layers_are(base: str, names: str):
    assert [block.name for block in BASES[base].blocks] == names.split()


GRADUAL = "data: {{dir: .}}\nbase: {{name: {base}, image_size: 32}}\ngradual: {count}\n"


@pytest.fixture
def gradually(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(base: str, count: object, *overrides: str, more: str = "") -> Recipe:
        text = GRADUAL.format(base=base, count=count) + more
        return load_recipe(write_recipe(text), overrides)

    return load


def test_gradual_unfreezes_one_block_more_in_each_stage(gradually, write_recipe):
    loaded = gradually("VGG16", 4, "stages.1.epochs=3")
    assert [(s.name, s.freeze_until, s.learning_rate) for s in loaded.stages] == [
        ("head", None, 1e-3),
        ("fine-tune", "block4_pool", 1e-5),
        ("fine-tune-2", "block3_pool", 3e-6),
        ("fine-tune-3", "block2_pool", 1e-6),
    ]
    assert loaded.stages[1].epochs == 3
    # What a run keeps are the stages.
    again = load_recipe(write_recipe(loaded.as_yaml(), "again.yaml"))
    assert again.stages == loaded.stages and again.fingerprint() == loaded.fingerprint()
    assert gradually("VGG16", 2).fingerprint() == gradually("VGG16", "null").fingerprint()
    deep = gradually("ResNet50", 3, "base.freeze_until=conv5_block1_out")
    assert [s.freeze_until for s in deep.stages] == [None, "conv5_block1_out", "conv4_block6_out"]


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (
            ("VGG16", 9),
            "",
            "found 9; from its boundary down VGG16 has blocks for 6 at most; use 6 or less",
        ),
        (
            ("NASNetMobile", 2),
            "",
            "found 2; from its boundary down NASNetMobile has blocks for 1 at most; leave it out",
        ),
        (
            ("SmallConvNet", 3, "base.image_size=48"),
            "",
            "unfreezes pretrained blocks one by one, and base.weights is random; leave it out",
        ),
        (
            ("VGG16", 3),
            "stages: [{name: head}]\n",
            "writes the stages, and the recipe lists its own; leave one of them out",
        ),
        (("VGG16", 1), "", "found 1; must be 2 or more"),
    ],
)
def test_gradual_needs_blocks_and_no_other_stages(gradually, arguments, more, message):
    with pytest.raises(RecipeError) as caught:
        gradually(*arguments, more=more)
    assert [str(p).partition(": gradual: ")[2] for p in caught.value.problems] == [message]
