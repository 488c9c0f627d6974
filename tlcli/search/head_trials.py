"""Trials of heads that train side by side, epoch by epoch, from pooled rows of the store.

The rules of a stage (batches, rate, best epoch, patience) are those of `training.loop`, applied to
each trial by itself. So a trial ends with the numbers of a run of the same recipe, but for the
rounding of sums whose terms are added in another order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.recipe.recipe import Recipe
from tlcli.runs.records import Epoch
from tlcli.search.pooled_rows import PooledPhotos, PooledRows
from tlcli.search.stacked_heads import HeadOptions, HeadStack, HeadState, with_weights
from tlcli.system import signals
from tlcli.training.kept_weights import StageOutcome
from tlcli.training.order import Position, draw_picks
from tlcli.training.progress import StageProgress, make_epoch
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Means

Array = npt.NDArray[Any]


@dataclass
class HeadTrial:
    """A trial on its way through its stages.

    Attributes:
        recipe: its own; every stage trains the head alone.
        plans: its stages in numbers.
        prune: whether it is to be given up after these epochs.
        stages: those that are done, or were ended by `pruned`.
        failure: why its loss is no number any more.
    """

    recipe: Recipe
    plans: tuple[StagePlan, ...]
    prune: Callable[[Sequence[Epoch]], bool] = lambda epochs: False
    stages: list[StageOutcome] = field(default_factory=list)
    pruned: bool = False
    failure: str = ""

    @property
    def epochs(self) -> list[Epoch]:
        """All epochs so far of the stages that are done."""
        return [epoch for stage in self.stages for epoch in stage.history]

    @property
    def ended(self) -> bool:
        """Whether it trains no other stage."""
        return self.pruned or bool(self.failure)


def stack_key(trial: HeadTrial) -> tuple[Any, ...]:
    """What trials must have in common to train side by side."""
    recipe = trial.recipe
    stages = tuple(
        (plan.batch_size, plan.stage.optimizer.model_dump_json()) for plan in trial.plans
    )
    head = recipe.head
    features = head.pooling, head.normalize, recipe.augment.kept_views
    return features, head.hidden, bool(head.dropout), stages


def train_side_by_side(rows: PooledRows, trials: Sequence[HeadTrial]) -> None:
    """Train trials of one `stack_key` to their ends; what they come to is kept in them."""
    hidden = len(trials[0].recipe.head.hidden)
    states = [HeadState.of(rows.new_head(trial.recipe), hidden) for trial in trials]
    for number in range(len(trials[0].plans)):
        training = [position for position, trial in enumerate(trials) if not trial.ended]
        if not training:
            return
        lanes = [_Lane(trials[position], number) for position in training]
        after = _StackedStage(rows, lanes, [states[position] for position in training]).run()
        for position, state in zip(training, after, strict=True):
            states[position] = state


class _Lane:
    """A trial in one stage: what follows from its epochs, and the weights of the best of them."""

    def __init__(self, trial: HeadTrial, number: int) -> None:
        self.trial, self.plan = trial, trial.plans[number]
        self.progress = StageProgress(self.plan)
        self.before = trial.epochs
        self.position = Position(number, len(self.before))
        self.best: HeadState | None = None
        self.done = False

    @property
    def options(self) -> HeadOptions:
        """What its head has for itself in the stack."""
        smoothing = self.plan.stage.label_smoothing
        return HeadOptions.of(self.trial.recipe.head, smoothing, self.plan.class_weights)

    def picks(self, photos: PooledPhotos, epoch: int) -> Iterator[Array]:
        """The rows of each batch of an epoch."""
        seed, size = self.trial.recipe.seed, self.plan.batch_size
        for positions, views in draw_picks(photos.feed, seed, self.position, epoch, size):
            yield views * photos.n + positions

    def add(self, trained: Means, validated: Means, started: float) -> bool:
        """Take in an epoch; whether it is the best so far."""
        stage, number = self.plan.stage, len(self.progress.history)
        if not (math.isfinite(trained.loss) and math.isfinite(validated.loss)):
            self.trial.failure = f"the loss of epoch {number + 1} is not a number"
            self.done = True
            return False
        rate = self.progress.rate.at(number, self.plan.steps - 1)
        epoch = make_epoch(stage.name, number, trained, validated, rate, started)
        self.progress.add(epoch)
        self.done = self.progress.ended
        if self.trial.prune([*self.before, *self.progress.history]):
            self.trial.pruned = self.done = True
        return self.progress.best is epoch

    def finish(self, last: HeadState, initial: HeadState) -> HeadState:
        """End the stage; the head that it hands on."""
        if not self.progress.history:
            return initial
        progress = self.progress
        outcome = StageOutcome(self.plan.stage.name, tuple(progress.history), progress.best)
        self.trial.stages.append(outcome)
        # As in a run: the weights are those of the best epoch, dropout goes on from the last.
        return with_weights(last, self.best or initial)


class _StackedStage:
    """One stage of some trials."""

    def __init__(self, rows: PooledRows, lanes: list[_Lane], states: list[HeadState]) -> None:
        recipe = lanes[0].trial.recipe
        self._train, self._val = rows.photos(recipe, "train"), rows.photos(recipe, "val")
        self._lanes, self._initial = lanes, states
        self._after = list(states)
        self._active = list(range(len(lanes)))  # the lanes of the stack, in its order
        optimizer = lanes[0].plan.stage.optimizer
        self._stack = HeadStack(
            states, [lane.options for lane in lanes], optimizer,
            self._train.rows, self._train.labels,
        )  # fmt: skip

    def run(self) -> list[HeadState]:
        """Train until every trial has ended the stage; the head of each afterwards."""
        number = 0
        while any(not self._lanes[lane].done for lane in self._active):
            self._train_epoch(number)
            number += 1
            going_on = [k for k, lane in enumerate(self._active) if not self._lanes[lane].done]
            # A head that has ended is computed in vain; leaving it out costs another compilation.
            if going_on and 2 * len(going_on) <= len(self._active):
                self._stack = self._stack.reduced_to(going_on)
                self._active = [self._active[k] for k in going_on]
        return self._after

    def _train_epoch(self, number: int) -> None:
        started = time.monotonic()
        lanes = [self._lanes[lane] for lane in self._active]
        batches = zip(*(lane.picks(self._train, number) for lane in lanes), strict=True)
        for step, batch in enumerate(batches):
            rates = [lane.progress.rate.at(number, step) for lane in lanes]
            self._stack.train_step(np.stack(batch), np.array(rates, np.float32))
            signals.raise_if_interrupted()
        trained, validated = (
            self._stack.take_means(), self._stack.score(self._val.rows, self._val.labels)
        )  # fmt: skip
        for k, lane in enumerate(lanes):
            if lane.done:
                continue
            if lane.add(trained[k], validated[k], started):
                lane.best = self._stack.state(k)
            if lane.done:
                place = self._active[k]
                self._after[place] = lane.finish(self._stack.state(k), self._initial[place])
