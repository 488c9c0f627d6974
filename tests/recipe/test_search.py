"""The `search` block: what it may name, what is refused in which words, what depends on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.errors import RecipeError
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import (
    Between,
    Choices,
    default_space,
    list_keys,
    read_space,
    setting,
    with_settings,
)

#: Five lines; the space begins on line 7.
SHORT = "data:\n  dir: photos\nbase:\n  name: VGG16\nhead: {hidden: [32]}\nsearch:\n"
STAGES = "stages: [{name: head}, {name: top, freeze_until: block4_pool}]\n"


@pytest.fixture
def load(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(text: str, *overrides: str) -> Recipe:
        return load_recipe(write_recipe(text, "r.yaml"), overrides)

    return load


def test_a_space_is_read_with_all_of_its_forms(load):
    space = read_space(
        load(
            SHORT + "  head.hidden: [[], [128], [256, 64]]\n  head.dropout: {uniform: [0, 0.6]}\n"
            "  stages.0.learning_rate: {log: [1e-4, 1e-2]}\n  stages[0].epochs: {int: [3, 9]}\n"
        )
    )
    assert {dimension.name: dimension.domain for dimension in space} == {
        "head.hidden": Choices(([], [128], [256, 64])),
        "head.dropout": Between("uniform", 0, 0.6),
        "stages.0.learning_rate": Between("log", 1e-4, 1e-2),
        "stages.0.epochs": Between("int", 3, 9),
    }
    assert [str(dimension.domain) for dimension in space] == [
        "[], [128], [256, 64]", "0 to 0.6", "0.0001 to 0.01 (logarithmic)",
        "3 to 9 (whole numbers)",
    ]  # fmt: skip


def test_a_space_may_be_nested_and_set_on_the_command_line(load):
    nested = load(SHORT + "  head:\n    dropout: [0.1, 0.2]\n    l2: {log: [1e-5, 1e-3]}\n")
    assert [d.name for d in read_space(nested)] == ["head.dropout", "head.l2"]
    from_words = load(SHORT + "  head.l2: [0, 0.1]\n", "search.head.dropout=[0.1, 0.2]")
    assert [d.name for d in read_space(from_words)] == ["head.l2", "head.dropout"]


BAD = [
    ("head.hiden: [[], [8]]", "7: search.head.hiden: 'head.hiden' is not a setting that can be "
     "searched; did you mean 'head.hidden'?"),
    ("head.dropout: [0.5]", "7: search.head.dropout: found [0.5]: one value is no choice; "
     "name two or more"),
    ("head.dropout: [0.5, 0.5]", "found [0.5, 0.5]: one value is no choice"),
    ("head.dropout: {uniform: [0.5, 0.5]}", 'found {"uniform": [0.5, 0.5]}: one value is no '
     "choice; widen it"),
    ("head.dropout: 0.5", "found 0.5; give a list of values, or {log: [a, b]}, "
     "{uniform: [a, b]} or {int: [a, b]}"),
    ("head.dropout: {uniform: [0, 1]}", "7: search.head.dropout: found 1; must be less than 1"),
    ("head.dropout: [0.5, half]", "found 'half'; must be a number"),
    ("head.dropout: {uniform: [0.5, 0.1]}", "must be [a, b] with a < b"),
    ("head.l2: {log: [0, 0.1]}", "must be [a, b] with 0 < a < b"),
    ("head.l2: {log: [0.1]}", "must be {log: [a, b]} with two numbers"),
    ("stages.0.epochs: {uniform: [3, 9]}", "stages.0.epochs is a whole number; use {int: [a, b]}"),
    ("stages.0.epochs: {int: [3, 9.5]}", "both must be whole numbers"),
    ("stages.0.optimizer: [adam, adamm]", "found 'adamm'; did you mean 'adam'?"),
    ("stages.7.epochs: [3, 9]", "'stages.7.epochs' is not a setting that can be searched; did "
     "you mean 'stages.1.epochs'?"),
    ("stages.0.monitor: [val_loss, val_accuracy]", "is not a setting that can be searched"),
    ("seed: [1, 2]", "a seed is not searched: it would be a search for luck"),
    ("augment.rotation_range: [0, 20]", "cannot be searched: other pixels or activations"),
    ("base.name: [VGG16, ResNet50]", "compare runs with --set, or bases with `tlcli advise`"),
    ("base.freeze_until: [block4_pool, block5_conv9]", "found 'block5_conv9'; "),
    ("head: {dropout: [0.1, 0.2]}\n  head.dropout: [0.3, 0.4]", "8: search.head.dropout: "
     "head.dropout is given twice"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), BAD, ids=[line for line, _ in BAD])
def test_a_wrong_space_is_refused_with_its_line(load, line, words):
    with pytest.raises(RecipeError) as caught:
        load(SHORT + f"  {line}\n")
    (problem,) = str(caught.value).split("\n")
    assert problem.startswith("r.yaml:")
    assert words in problem


def test_all_mistakes_are_reported_at_once(load):
    with pytest.raises(RecipeError) as caught:
        load(SHORT + "  head.dropout: [2, 3]\n  head.units: [1, 2]\n")
    assert [line[:8] for line in str(caught.value).split("\n")] == ["r.yaml:7", "r.yaml:8"]


@pytest.mark.parametrize("value", ["3", "[a]", "{}"])
def test_a_space_is_a_mapping(load, value):
    with pytest.raises(RecipeError, match="must map settings to their values"):
        load(SHORT.replace("search:\n", f"search: {value}\n"))


def test_the_boundary_of_the_base_is_searched_where_stages_are_the_default_ones(load):
    recipe = load(SHORT + "  base.freeze_until: [block4_pool, block3_pool]\n")
    changed = with_settings(recipe, {("base", "freeze_until"): "block3_pool"})
    assert [stage.freeze_until for stage in changed.stages] == [None, "block3_pool"]
    with pytest.raises(RecipeError, match=r"has no effect, since the recipe lists its stages"):
        load(STAGES + SHORT + "  base.freeze_until: [block4_pool, block3_pool]\n")


def test_a_run_does_not_depend_on_the_space(load):
    plain = load(SHORT.replace("search:\n", ""))
    searched = load(SHORT + "  head.dropout: [0.1, 0.2]\n")
    assert searched.fingerprint() == plain.fingerprint()
    assert "search" not in plain.resolved()
    assert searched.resolved() == {**plain.resolved(), "search": {"head.dropout": [0.1, 0.2]}}
    assert with_settings(searched, {}).resolved() == plain.resolved()


def test_every_key_that_is_offered_can_be_read_and_set(load):
    recipe = load(STAGES + SHORT.replace("search:\n", ""))
    keys = list_keys(recipe)
    assert {"head.l2", "stages.1.freeze_until", "stages.0.optimizer.momentum"} <= set(keys)
    for dimension in read_space(load(SHORT + "  batch_size: [8, 16]\n  augment.mixup: [0, 0.2]\n")):
        for value in dimension.domain.examples:
            assert setting(with_settings(recipe, {dimension.key: value}), dimension.key) == value
    changed = with_settings(recipe, {("stages", 0, "early_stopping", "patience"): 4})
    assert changed.stages[0].early_stopping.patience == 4


def test_the_default_space_is_about_the_head_and_its_rate(load):
    recipe = load(SHORT.replace("search:\n", ""))
    names = [dimension.name for dimension in default_space(recipe)]
    assert names == ["head.hidden", "head.dropout", "head.l2", "stages.0.learning_rate"]
    for dimension in default_space(recipe):
        for value in dimension.domain.examples:
            with_settings(recipe, {dimension.key: value})
