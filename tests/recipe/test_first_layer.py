"""`unfreeze_from` and the boundary it stands for, in recipes, overrides and searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tlcli.errors import RecipeError
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import with_settings

RECIPE = """\
data: {{dir: .}}
base: {{name: {base}, image_size: 32}}
stages:
  - {{name: head}}
  - {{name: top, {top}}}
"""


@pytest.fixture
def load(write_recipe: Callable[..., Any]) -> Callable[..., Recipe]:
    def load(base: str, top: str, *overrides: str) -> Recipe:
        return load_recipe(write_recipe(RECIPE.format(base=base, top=top)), overrides)

    return load


def refused(load: Callable[..., Recipe], *arguments: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(*arguments)
    return str(caught.value).partition("recipe.yaml:")[2]


def test_the_layer_after_a_clean_boundary_is_the_boundary(load):
    named = load("VGG16", "unfreeze_from: block5_conv1")
    assert named.stages[1].freeze_until == "block4_pool"
    assert named.stages[1].unfreeze_from is None
    assert named.stages[1].learning_rate == 1e-5, "that of fine-tuning"
    same = load("VGG16", "freeze_until: block4_pool")
    assert named.fingerprint() == same.fingerprint()
    # Layers without weights make no difference, nor does where a base only prepares pixels.
    assert load("VGG16", "unfreeze_from: block4_pool").stages == same.stages
    for first in ("conv1_pad", "conv1_conv"):
        assert load("ResNet50", f"unfreeze_from: {first}").stages[1].freeze_until == "pixels"


def test_a_layer_inside_a_block_keeps_its_name_and_is_cut_below_the_block(load, write_recipe):
    loaded = load("ResNet50", "unfreeze_from: conv5_block2_2_conv")
    stage = loaded.stages[1]
    assert (stage.freeze_until, stage.unfreeze_from) == ("conv5_block1_out", "conv5_block2_2_conv")
    assert loaded.fingerprint() != load("ResNet50", "freeze_until: conv5_block1_out").fingerprint()
    # What a run keeps of it means the same.
    assert yaml.safe_load(loaded.as_yaml())["stages"][1]["unfreeze_from"] == "conv5_block2_2_conv"
    again = load_recipe(write_recipe(loaded.as_yaml(), "again.yaml"))
    assert again.stages == loaded.stages
    assert again.fingerprint() == loaded.fingerprint()


def test_none_and_pixels_are_one(load):
    stages = [load("VGG16", f"freeze_until: {name}").stages for name in ("none", "pixels")]
    assert stages[0] == stages[1] and stages[0][1].freeze_until == "pixels"


@pytest.mark.parametrize(
    ("base", "top", "words"),
    [
        (
            "VGG16",
            "unfreeze_from: block5_conv1, freeze_until: block4_pool",
            "5: stages[1].unfreeze_from: freeze_until stands beside it, and both say where to cut; "
            "leave one of them out",
        ),
        (
            "ResNet50",
            "unfreeze_from: res5c_branch2a",
            "5: stages[1].unfreeze_from: ResNet50 has no layer 'res5c_branch2a'; Keras calls it "
            "'conv5_block3_1_conv' today",
        ),
        (
            "VGG16",
            "unfreeze_from: block5_conv",
            "5: stages[1].unfreeze_from: VGG16 has no layer 'block5_conv'; did you mean "
            "'block5_conv3' or 'block5_conv2' or 'block5_conv1'?",
        ),
        (
            "VGG16",
            "unfreeze_from: block5_pool",
            "5: stages[1].unfreeze_from: no layer from 'block5_pool' on has weights; the last one "
            "that has is 'block5_conv3'",
        ),
        (
            "VGG16",
            "unfreeze_from: fc1",
            "5: stages[1].unfreeze_from: 'fc1' is above the top of the base; the last layer with "
            "weights is 'block5_conv3'; the head trains anyway",
        ),
        (
            "VGG16",
            "unfreeze_from: pixels",
            "5: stages[1].unfreeze_from: found 'pixels', which is no layer; "
            "write `freeze_until: pixels`",
        ),
        (
            "VGG16",
            "unfreeze_from: 15",
            "5: stages[1].unfreeze_from: found 15; must be the name of a layer",
        ),
    ],
)
def test_the_error_says_what_to_write(load, base: str, top: str, words: str):
    assert refused(load, base, top) == words


def test_in_base_it_is_no_setting(load):
    words = refused(load, "VGG16, unfreeze_from: block5_conv1", "epochs: 1")
    assert words == (
        "2: base.unfreeze_from: 'unfreeze_from' is not a setting of tlcli; give it to a stage, as "
        "in {name: top, unfreeze_from: block5_conv1}"
    )


def test_an_override_or_a_trial_may_name_either(load):
    changed = load("ResNet50", "epochs: 1", "stages.1.unfreeze_from=conv5_block2_2_conv")
    assert changed.stages[1].freeze_until == "conv5_block1_out"
    at = ("stages", 1)
    for before in (changed, load("ResNet50", "freeze_until: conv4_block6_out")):
        cut = with_settings(before, {(*at, "freeze_until"): "none"})
        assert (cut.stages[1].freeze_until, cut.stages[1].unfreeze_from) == ("pixels", None)
        inside = with_settings(before, {(*at, "unfreeze_from"): "conv5_block3_2_conv"})
        assert inside.stages[1].freeze_until == "conv5_block2_out"
        assert inside.stages[1].unfreeze_from == "conv5_block3_2_conv"
    with pytest.raises(RecipeError, match="leave one of them out"):
        load("ResNet50", "freeze_until: pixels", "stages.1.unfreeze_from=conv5_block3_1_conv")
