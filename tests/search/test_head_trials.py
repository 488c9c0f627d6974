"""Heads that train side by side, against runs of the same recipes through `training`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from tlcli.features.open_store import open_store
from tlcli.networks.bases import BASES
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import with_settings
from tlcli.runs.records import Epoch
from tlcli.search.head_trials import HeadTrial, stack_key, train_side_by_side
from tlcli.search.pooled_rows import PooledRows
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import run_stage
from tlcli.training.order import Position
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network

STAGES = "stages: [{name: head, epochs: 4}, {name: more, epochs: 3, learning_rate: 3e-4}]\n"
VIEWS = "augment: {views: 2, rotation_range: 20, horizontal_flip: true}\nbatch_size: 10\n"

#: Metrics of a trial and of its run may differ by so much: sums are added in another order.
ROUNDING = 2e-4


@pytest.fixture
def side_by_side(load: Callable[..., Recipe]) -> Callable[..., list[HeadTrial]]:
    """Train variants of the recipe `load` as one stack."""

    def run(
        more: str, variants: Sequence[dict[tuple[Any, ...], Any]], prune: Any = None
    ) -> list[HeadTrial]:
        recipe = with_settings(load(more), variants[0])
        plan = make_plan(preflight(recipe, run=False))
        trials = []
        for values in variants:
            changed = make_plan(preflight(with_settings(recipe, values), run=False))
            trial = HeadTrial(changed.recipe, changed.stages)
            trial.prune = partial(prune, trial) if prune else trial.prune
            trials.append(trial)
        assert len(set(map(stack_key, trials))) == 1
        train_side_by_side(PooledRows(plan), trials)
        return trials

    return run


class _Silent:
    """Listens to a stage, and keeps nothing."""

    def keep(self, snapshot: Any) -> None:
        pass

    def report(self, epoch: Epoch) -> None:
        pass


def plain_epochs(recipe: Recipe) -> list[dict[str, float]]:
    """The epochs that `training` gives for this recipe, whose rows are stored."""
    plan = make_plan(preflight(recipe, run=False))
    network = load_network(recipe, plan.source, len(plan.index.classes))
    cut, history = plan.row.top.name, []
    with open_store(network, recipe, plan.cache, [cut]) as opened:
        train, val = (
            StoredFeed(network, recipe, opened.rows, cut, plan.index.of(split), views)
            for split, views in (("train", recipe.augment.kept_views), ("val", 0))
        )
        for number, planned in enumerate(plan.stages):
            position = Position(number, len(history))
            outcome = run_stage(network, planned, recipe, train, val, position, _Silent())
            history += outcome.history
    return [_numbers(epoch) for epoch in history]


def _numbers(epoch: Epoch) -> dict[str, float]:
    return epoch.model_dump(exclude={"stage", "seconds"})


def check_equal(trials: list[HeadTrial]) -> None:
    for number, trial in enumerate(trials):
        expected = plain_epochs(trial.recipe)
        actual = [_numbers(epoch) for epoch in trial.epochs]
        assert len(actual) == len(expected)
        for epoch, right in zip(actual, expected, strict=True):
            assert epoch == pytest.approx(right, abs=ROUNDING), number


HEADS = [
    {},
    {("head", "l2"): 0.01, ("stages", 0, "learning_rate"): 0.01},
    {("head", "dropout"): 0.1, ("seed",): 5},
    {("stages", 0, "label_smoothing"): 0.1, ("stages", 0, "class_weights"): "balanced"},
    {("stages", 0, "schedule"): "cosine", ("stages", 0, "epochs"): 2},
    {("stages", 0, "early_stopping"): 1, ("stages", 0, "learning_rate"): 0.1},
]


@pytest.mark.usefixtures("thin_vgg16")
def test_each_head_trains_as_in_a_run_of_its_own(side_by_side, tmp_path):
    """Two stages, views, another seed, a trial that ends early, and a stack that shrinks."""
    weights = tmp_path / "base.weights.h5"  # of a file, since random ones come from the seed, too
    BASES["VGG16"].build((64, 64), seed=0).save_weights(weights)
    at = {("base", "weights"): str(weights), ("base", "image_size"): 32}
    trials = side_by_side(STAGES + VIEWS, [{**at, **values} for values in HEADS])
    assert len({trial.epochs[-1].val_loss for trial in trials}) == len(trials)
    check_equal(trials)


@pytest.mark.parametrize(
    "optimizer",
    [
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                "adamw",
                "sgd",
                "{name: rmsprop, weight_decay: 0.01}",
                "{name: sgd, momentum: 0.9}",
            )
        ),
    ],
)
def test_each_optimizer_takes_its_own_steps(side_by_side, optimizer):
    more = f"stages: [{{name: head, epochs: 3, optimizer: {optimizer}}}]\nbatch_size: 10\n"
    rates = [{("stages", 0, "learning_rate"): rate} for rate in (0.003, 0.03)]
    check_equal(side_by_side(more, rates))


@pytest.mark.slow
def test_two_classes_and_no_hidden_layer(side_by_side, photos):
    for split in ("train", "val", "test"):
        for path in (photos / split / "red").iterdir():
            path.unlink()
        (photos / split / "red").rmdir()
    more = "stages: [{name: head, epochs: 3, learning_rate: 0.01}]\n"
    flat = {("head", "hidden"): [], ("head", "pooling"): "flatten"}
    check_equal(side_by_side(more, [{**flat, ("head", "l2"): 0.1}, flat]))


@pytest.mark.slow
def test_features_are_standardised_as_in_a_run(side_by_side):
    normalized = {("head", "normalize"): True, ("base", "batch_norm"): "frozen"}
    trials = [normalized, {**normalized, ("stages", 0, "learning_rate"): 0.01}]
    check_equal(side_by_side(STAGES + VIEWS, trials))


@pytest.mark.slow
def test_a_trial_that_is_given_up_trains_no_further(side_by_side):
    def prune(trial: HeadTrial, epochs: Sequence[Any]) -> bool:
        return trial.recipe.seed == 1 and len(epochs) == 2

    trials = side_by_side(STAGES, [{}, {("seed",): 1}], prune)
    assert [(len(trial.epochs), trial.pruned) for trial in trials] == [(7, False), (2, True)]


def test_a_loss_that_is_no_number_ends_one_trial_alone(side_by_side):
    huge = {("head", "l2"): 10.0, ("stages", 0, "learning_rate"): 10.0}
    more = "stages: [{name: head, epochs: 4, optimizer: sgd}]\nbatch_size: 2\n"
    good, bad = side_by_side(more, [{}, huge])
    assert np.isfinite(good.epochs[-1].val_loss)
    assert len(good.epochs) == 4
    assert bad.failure.startswith("the loss of epoch ")
    assert bad.failure.endswith(" is not a number")
