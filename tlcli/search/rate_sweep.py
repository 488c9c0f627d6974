"""The learning-rate range test on a network: real steps of a stage at rising rates, then undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from tlcli.errors import Problem, RunError
from tlcli.networks.network import Network, Variable
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import Schedule
from tlcli.runs.records import StepMethods
from tlcli.search.rate_curve import STEPS, Divergence, swept_rates
from tlcli.system import console
from tlcli.training.batches import Feed, Pick
from tlcli.training.loop import begin_stage
from tlcli.training.optimizers import Rate
from tlcli.training.order import Position, draw_picks
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Trainer


def sweep_rates(
    network: Network,
    planned: StagePlan,
    recipe: Recipe,
    feed: Feed,
    position: Position,
    seeds: Sequence[int],
    methods: StepMethods,
) -> list[list[float]]:
    """The training loss of each step of a test, for each seed; a test ends where it diverges.

    Steps are those of the stage: its optimizer, batches, class weights, smoothing and mixing;
    `methods` is how they are computed. A seed decides the order of the photos and their views.
    Every test begins with the weights that the network has. Weights, seed generators and optimizer
    are as they were afterwards, bit for bit: a `RunError` says if they are not. The flags of layers
    are those of the stage.
    """
    trainable = begin_stage(network, planned, recipe, feed, position)
    trainer = Trainer(network, planned, recipe, trainable, methods=methods)
    changed = [*network.variables_above(planned.cut.name), *trainer.state]
    watched = [*network.whole.variables, *changed]
    kept, before = [variable.numpy() for variable in changed], digest(watched)
    tests = []
    with console.progress(len(seeds) * STEPS, f"rates of '{planned.stage.name}'", "steps") as bar:
        for seed in seeds:
            try:
                tests.append(_sweep(trainer, planned, feed, position, seed))
            finally:
                for variable, value in zip(changed, kept, strict=True):
                    variable.assign(value)
            bar.update(STEPS)
    if digest(watched) != before:
        message = "the test has changed weights that it did not put back"
        raise RunError(
            Problem(f"stage '{planned.stage.name}'", message, "report this bug of tlcli")
        )
    return tests


def digest(variables: Sequence[Variable]) -> str:
    """Hex SHA-256 of the values of variables, in their order."""
    state = hashlib.sha256()
    for variable in variables:
        state.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return state.hexdigest()


def _sweep(
    trainer: Trainer, planned: StagePlan, feed: Feed, position: Position, seed: int
) -> list[float]:
    losses, watch = [], Divergence()
    picks = _endless_picks(feed, seed, position, planned)
    silent = _NoBar()
    for step, (rate, pick) in enumerate(zip(swept_rates(), picks, strict=False)):
        stage = planned.stage.model_copy(
            update={"learning_rate": float(rate), "schedule": Schedule()}
        )
        # The loss is that before the step, so the first step that a rate has taken shows in the
        # next loss. An epoch of one step: what is drawn for a batch follows from its number.
        loss = trainer.train_epoch(feed, [pick], Rate(stage, 1), step, silent).loss
        if watch.ends_with(loss):
            break
        losses.append(loss)
    return losses


def _endless_picks(feed: Feed, seed: int, position: Position, planned: StagePlan) -> Iterator[Pick]:
    size, sampler = planned.batch_size, planned.stage.sampler
    for epoch in count():
        yield from draw_picks(feed, seed, position, epoch, size, sampler)


class _NoBar:
    """Counts nothing: a step is too short to be shown."""

    def update(self, done: int) -> None:
        """See `console.Progress`."""
