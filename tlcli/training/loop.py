"""The training loop: one stage, from activations at its cut.

Everything that a stage decides between its epochs (which one is the best, when patience ends, what
a plateau does to the rate) follows from the metrics of the epochs so far. So a stage that is
resumed after a stop needs its history and its variables, and no other state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.network import Network, Variable
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import Stage
from tlcli.runs.records import Epoch, Score, StageResult
from tlcli.system import console, stateless_random
from tlcli.training.batches import Feed, Pick
from tlcli.training.optimizers import Rate
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.shared_score import score
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Means, Scorer, Trainer, set_trainable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StageOutcome:
    """A stage that was trained: its epochs, and the best of them, whose weights it hands on."""

    name: str
    history: tuple[Epoch, ...]
    best: Epoch

    @property
    def seconds(self) -> float:
        """Of all its epochs."""
        return sum(epoch.seconds for epoch in self.history)

    def result(self, test: Score | None) -> StageResult:
        """The record of the stage, with its score on the test photos if there are any."""
        return StageResult(
            name=self.name,
            epochs=len(self.history),
            best_epoch=self.best.epoch,
            val_loss=self.best.val_loss,
            val_accuracy=self.best.val_accuracy,
            seconds=round(self.seconds, 3),
            test=test,
        )


@dataclass(frozen=True)
class Position:
    """Where in the run a stage stands: its number, and the epochs that were trained before it."""

    number: int
    epochs_before: int


@dataclass(frozen=True)
class Snapshot:
    """A stage at the end of an epoch: all that it takes to train on from there.

    Attributes:
        history: its epochs so far.
        best: the number of the best of them, from 1.
        weights: the values of `Network.variables` at the stage's cut.
        optimizer: those of its optimizer's variables.
        best_weights: `weights` as they were at the end of the best epoch.
    """

    history: tuple[Epoch, ...]
    best: int
    weights: list[Array]
    optimizer: list[Array]
    best_weights: list[Array]

    @property
    def is_best(self) -> bool:
        """Whether its last epoch is the best so far."""
        return self.best == len(self.history)


class Listener(Protocol):
    """What is called at the end of every epoch."""

    def keep(self, snapshot: Snapshot) -> None:
        """Keep the snapshot, so that the stage can be resumed from it after a stop."""
        ...

    def report(self, epoch: Epoch) -> None:
        """Record the epoch that was just kept, and show it."""
        ...


class Unwatched:
    """The listener of a stage of which nothing is kept."""

    def keep(self, snapshot: Snapshot) -> None:
        """See `Listener`."""

    def report(self, epoch: Epoch) -> None:
        """See `Listener`."""


def run_stage(
    network: Network,
    planned: StagePlan,
    recipe: Recipe,
    train: Feed,
    val: Feed | None,
    position: Position,
    listener: Listener,
    stopped: Snapshot | None = None,
    replicas: Replicas = ALONE,
) -> StageOutcome:
    """Train one stage; the network has the weights of its best epoch and its flags afterwards.

    The order of an epoch and the views it shows are drawn from (seed, stage, epoch) alone, so that
    any epoch can be repeated by itself. `listener` is called at the end of every epoch; `stopped`
    is the last snapshot that it kept before a stop. `replicas` are the copies of the network that
    train together. Raises `RunError` when the loss stops being a
    number.
    """
    stage = planned.stage
    # Also where no epoch is left to train: the model that is saved keeps the flags of its layers.
    trainable = set_trainable(network, planned, recipe)
    variables = network.variables_above(planned.cut.name)
    course = StageProgress(planned)
    best_weights: list[Array] = []
    if stopped is not None:
        for epoch in stopped.history:
            course.add(epoch)
        _assign(variables, stopped.weights, stage.name)
        best_weights = stopped.best_weights
    if not course.ended:
        trainer = Trainer(network, planned, recipe, trainable, replicas)
        scorer = Scorer(network, planned.cut.name)
        if stopped is not None:
            _assign(trainer.optimizer_variables, stopped.optimizer, stage.name)
        left = (stage.epochs - len(course.history)) * len(train.labels)
        with console.progress(left, stage.name) as bar:
            while not course.ended:
                started, number = time.monotonic(), len(course.history)
                picks = list(draw_picks(train, recipe.seed, position, number, planned.batch_size))
                trained = trainer.train_epoch(train, picks, course.rate, number, bar)
                validated = score(scorer, val, replicas) if val is not None else None
                _check_finite(trained, validated, variables, stage.name, number)
                rate = course.rate.at(number, planned.steps - 1)
                epoch = make_epoch(stage.name, number, trained, validated, rate, started)
                course.add(epoch)
                weights = [variable.numpy() for variable in variables]
                if course.best is epoch:
                    best_weights = weights
                optimizer = [variable.numpy() for variable in trainer.optimizer_variables]
                history = tuple(course.history)
                listener.keep(
                    Snapshot(history, course.best.epoch, weights, optimizer, best_weights)
                )
                listener.report(epoch)
    # The weights are those of the best epoch; the state of dropout stays that of the last one.
    state = network.weights_above(planned.cut.name)
    _assign(state, best_weights[: len(state)], stage.name)
    return StageOutcome(stage.name, tuple(course.history), course.best)


def make_epoch(
    stage: str, number: int, trained: Means, validated: Means | None, rate: float, started: float
) -> Epoch:
    """The record of an epoch, which is numbered from 0 here and from 1 in records."""
    return Epoch(
        stage=stage,
        epoch=number + 1,
        loss=trained.loss,
        accuracy=trained.accuracy,
        val_loss=validated.loss if validated else None,
        val_accuracy=validated.accuracy if validated else None,
        top_5=trained.top_5,
        val_top_5=validated.top_5 if validated else None,
        learning_rate=rate,
        seconds=round(time.monotonic() - started, 3),
    )


class StageProgress:
    """What follows from the epochs of a stage so far: its best one, its rate, whether it ends."""

    def __init__(self, planned: StagePlan) -> None:
        self._stage = planned.stage
        self._patience = _Patience(planned.stage)
        self._best: Epoch | None = None
        self.rate = Rate(planned.stage, planned.steps)
        self.history: list[Epoch] = []
        self.ended = False

    @property
    def best(self) -> Epoch:
        """The epoch whose weights the stage hands on."""
        assert self._best is not None  # settings.Stage wants at least one epoch
        return self._best

    def add(self, epoch: Epoch) -> None:
        """Take in one more epoch."""
        self.history.append(epoch)
        self.rate.end_epoch(epoch.val_loss)
        if self._best is None or _better(epoch, self._best, self._stage.monitor):
            self._best = epoch
        impatient = self._patience.ends_after(epoch)
        self.ended = impatient or len(self.history) >= self._stage.epochs


def _assign(variables: list[Variable], values: list[Array], stage: str) -> None:
    """Put the values of a snapshot back; a `RunError` where they are of another network."""
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        message = "the checkpoint does not fit this network"
        hint = "another version of Keras may have written it; start a new run with --fresh"
        raise RunError(Problem(f"stage '{stage}'", message, hint))
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def draw_picks(
    feed: Feed, seed: int, position: Position, number: int, batch_size: int
) -> Iterator[Pick]:
    """The batches of an epoch: positions in random order, and the view of each."""
    views = feed.views(seed, position.epochs_before + number)
    order = epoch_order(seed, position.number, number, len(feed.labels))
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        yield positions, views[positions]


def epoch_order(seed: int, stage: int, epoch: int, count: int) -> Array:
    """The order in which an epoch shows its photos; stages and epochs count from 0."""
    return np.asarray(
        stateless_random.make_generator("order", seed, stage, epoch).permutation(count)
    )


def _better(epoch: Epoch, best: Epoch, monitor: str) -> bool:
    """Whether an epoch is worth keeping; without validation photos the last one is.

    Of two epochs with the same accuracy, the one with the lower loss is surer of it.
    """
    if epoch.val_loss is None or best.val_loss is None:
        return True
    if monitor == "val_loss" or epoch.val_accuracy == best.val_accuracy:
        return epoch.val_loss < best.val_loss
    return float(epoch.val_accuracy or 0) > float(best.val_accuracy or 0)


class _Patience:
    """Early stopping: counts epochs without a gain of more than `min_delta` in the monitor."""

    def __init__(self, stage: Stage) -> None:
        self._settings, self._monitor = stage.early_stopping, stage.monitor
        self._best, self._waited = -math.inf, 0

    def ends_after(self, epoch: Epoch) -> bool:
        """Whether the stage ends with this epoch."""
        if self._settings is None:
            return False
        loss, accuracy = epoch.val_loss, epoch.val_accuracy
        value = -float(loss or 0) if self._monitor == "val_loss" else float(accuracy or 0)
        self._waited += 1
        if value > self._best + self._settings.min_delta:
            self._best, self._waited = value, 0
        return self._waited >= self._settings.patience


def _check_finite(
    trained: Means, validated: Means | None, state: list[Variable], stage: str, number: int
) -> None:
    """Raise `RunError` for a loss that is not a number.

    The last step of an epoch shows in the loss of the validation photos; where there are none, the
    weights themselves are looked at.
    """
    finite = math.isfinite(trained.loss)
    if validated is not None:
        finite = finite and math.isfinite(validated.loss)
    else:
        finite = finite and all(np.isfinite(variable.numpy()).all() for variable in state)
    if not finite:
        message = f"the loss of epoch {number + 1} is not a number"
        raise RunError(Problem(f"stage '{stage}'", message, "lower its learning_rate"))
