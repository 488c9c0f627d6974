"""The training loop: one stage, from activations at its cut.

Everything a stage decides between its epochs, which was the best, when patience ends, what a
plateau does to the rate, follows from the metrics of the epochs so far. So a stage that goes on
after a stop is told its history and the variables as they were, and needs no other state.
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
from tlcli.recipe.settings import Stage
from tlcli.system import console, stateless_random
from tlcli.training.batches import Feed, Pick
from tlcli.training.optimizers import Rate
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Score, Scorer, Trainer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Epoch:
    """One line of the metrics; epochs count from 1."""

    stage: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a stage came to: its epochs, and the best of them, whose weights it hands on."""

    name: str
    history: tuple[Epoch, ...]
    best: Epoch

    @property
    def epochs(self) -> int:
        """How many it trained."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Of its epochs."""
        return sum(epoch.seconds for epoch in self.history)

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `finetune --json`."""
        return {
            "name": self.name,
            "epochs": self.epochs,
            "best_epoch": self.best.epoch,
            "val_loss": self.best.val_loss,
            "val_accuracy": self.best.val_accuracy,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Position:
    """Where in the run a stage stands: its number, and the epochs that were trained before it."""

    number: int
    epochs_before: int


@dataclass(frozen=True)
class Snapshot:
    """A stage after its last epoch so far, as much as it takes to go on.

    Attributes:
        history: its epochs.
        best: how many epochs it had when it was at its best.
        weights: the values of `Network.variables` at the stage's cut.
        optimizer: those of its optimizer's variables.
    """

    history: tuple[Epoch, ...]
    best: int
    weights: list[Array]
    optimizer: list[Array]


class Keeper(Protocol):
    """Where the snapshots of a stage are kept."""

    def last(self) -> Snapshot | None:
        """The stage as it was stopped, or None where it has not begun."""
        ...

    def keep(self, snapshot: Snapshot) -> None:
        """Take what the end of an epoch looks like, durably, and tell of it."""
        ...

    def best(self) -> list[Array]:
        """The weights of the snapshot that was at its best, the last of which `best` told."""
        ...


def run_stage(
    network: Network,
    planned: StagePlan,
    recipe: Recipe,
    train: Feed,
    val: Feed | None,
    at: Position,
    keeper: Keeper,
) -> Outcome:
    """Train one stage and leave the weights of its best epoch in the network.

    The order of an epoch and the views it shows are drawn from (seed, stage, epoch) alone, so that
    any epoch can be repeated by itself. `keeper` is given every epoch's end, and tells from which
    to go on. Raises `RunError` when the loss stops being a number.
    """
    stage = planned.stage
    variables = network.variables_above(planned.cut.name)
    course = _Course(planned)
    snapshot = keeper.last()
    for epoch in snapshot.history if snapshot else ():
        course.add(epoch)
    if snapshot is not None:
        _assign(variables, snapshot.weights, stage.name)
    if not course.ended:
        trainer = Trainer(network, planned, recipe)
        scorer = Scorer(network, planned.cut.name)
        if snapshot is not None:
            _assign(trainer.optimizer_variables, snapshot.optimizer, stage.name)
        left = (stage.epochs - len(course.history)) * len(train.labels)
        with console.progress(left, stage.name) as bar:
            while not course.ended:
                began, number = time.monotonic(), len(course.history)
                picks = list(_picks(train, recipe.seed, at, number, planned.batch_size))
                trained = trainer.train_epoch(train, picks, course.rate, number, bar)
                scored = scorer.score(val) if val is not None else None
                _check_finite(trained, scored, variables, stage.name, number)
                epoch = Epoch(
                    stage.name, number + 1, trained.loss, trained.accuracy,
                    scored.loss if scored else None, scored.accuracy if scored else None,
                    course.rate.at(number, planned.steps - 1),
                    round(time.monotonic() - began, 3),
                )  # fmt: skip
                course.add(epoch)
                keeper.keep(
                    Snapshot(
                        tuple(course.history),
                        course.best.epoch,
                        [variable.numpy() for variable in variables],
                        [variable.numpy() for variable in trainer.optimizer_variables],
                    )
                )
    # Of the best epoch come the weights; the state of dropout goes on.
    state, best = network.weights_above(planned.cut.name), keeper.best()
    _assign(state, best[: len(state)], stage.name)
    return Outcome(stage.name, tuple(course.history), course.best)


class _Course:
    """What the epochs of a stage come to so far."""

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
        """One more epoch."""
        self.history.append(epoch)
        self.rate.end_epoch(epoch.val_loss)
        if self._best is None or _better(epoch, self._best, self._stage.monitor):
            self._best = epoch
        impatient = self._patience.ends_after(epoch)
        self.ended = impatient or len(self.history) >= self._stage.epochs


def _assign(variables: list[Variable], values: list[Array], stage: str) -> None:
    """Put kept values back; a `RunError` where they are of another network."""
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        message = "the checkpoint does not fit this network"
        hint = "another version of Keras may have written it; start a new run with --fresh"
        raise RunError(Problem(f"stage '{stage}'", message, hint))
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _picks(feed: Feed, seed: int, at: Position, number: int, batch_size: int) -> Iterator[Pick]:
    """The batches of an epoch: positions in random order, and the view of each."""
    views = feed.views(seed, at.epochs_before + number)
    order = epoch_order(seed, at.number, number, len(feed.labels))
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
    trained: Score, scored: Score | None, state: list[Variable], stage: str, number: int
) -> None:
    """The losses, or where nothing is validated after the last step the weights themselves."""
    sound = math.isfinite(trained.loss)
    if scored is not None:
        sound = sound and math.isfinite(scored.loss)
    else:
        sound = sound and all(np.isfinite(variable.numpy()).all() for variable in state)
    if not sound:
        message = f"the loss of epoch {number + 1} is not a number"
        raise RunError(Problem(f"stage '{stage}'", message, "lower its learning_rate"))
