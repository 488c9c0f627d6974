"""The training loop: one stage, from activations at its cut."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli import console
from tlcli.errors import Problem, RunError
from tlcli.feeds import Feed, LiveFeed, Pick, StoredFeed
from tlcli.optimize import Rate
from tlcli.plan import StagePlan
from tlcli.recipe import Recipe
from tlcli.settings import Stage
from tlcli.split import Network, Variable
from tlcli.steps import Score, Scorer, Trainer

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
    """What a stage came to: its best epoch is what it hands on."""

    name: str
    epochs: int
    best: Epoch
    seconds: float

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


def run_stage(
    network: Network,
    planned: StagePlan,
    recipe: Recipe,
    train: StoredFeed | LiveFeed,
    val: Feed | None,
    at: Position,
    tell: Callable[[Epoch], None],
) -> Outcome:
    """Train one stage and leave the weights of its best epoch in the network.

    The order of an epoch and the views it shows are drawn from (seed, stage, epoch) alone, so that
    any epoch can be repeated by itself. `tell` hears of every epoch as it ends. Raises `RunError`
    when the loss stops being a number.
    """
    stage = planned.stage
    trainer = Trainer(network, planned, recipe)
    scorer = Scorer(network, planned.cut.name)
    state = network.state(planned.cut.name)
    rate = Rate(stage, planned.steps)
    started = time.monotonic()
    best: Epoch | None = None
    kept: list[Array] = []
    patience = _Patience(stage)
    photos = stage.epochs * len(train.labels)
    with console.progress(photos, stage.name) as bar:
        for number in range(stage.epochs):
            began = time.monotonic()
            picks = list(_picks(train, recipe.seed, at, number, planned.batch_size))
            trained = trainer.train_epoch(train, picks, rate, number, bar)
            scored = scorer.score(val) if val is not None else None
            _check_finite(trained, scored, state, stage.name, number)
            epoch = Epoch(
                stage.name, number + 1, trained.loss, trained.accuracy,
                scored.loss if scored else None, scored.accuracy if scored else None,
                rate.at(number, planned.steps - 1), round(time.monotonic() - began, 3),
            )  # fmt: skip
            rate.end_epoch(epoch.val_loss)
            if best is None or _better(epoch, best, stage.monitor):
                best, kept = epoch, [variable.numpy() for variable in state]
            tell(epoch)
            if patience.ends_after(epoch):
                break
    for variable, values in zip(state, kept, strict=True):
        variable.assign(values)
    assert best is not None  # settings.Stage wants at least one epoch
    return Outcome(stage.name, epoch.epoch, best, time.monotonic() - started)


def _picks(
    feed: StoredFeed | LiveFeed, seed: int, at: Position, number: int, batch_size: int
) -> Iterator[Pick]:
    """The batches of an epoch: positions in random order, and the view of each."""
    epoch = at.epochs_before + number
    views = feed.views(_generator(seed, at.number, feed.round(epoch), "views"), epoch)
    order = epoch_order(seed, at.number, number, len(feed.labels))
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        yield positions, views[positions]


def epoch_order(seed: int, stage: int, epoch: int, count: int) -> Array:
    """The order in which an epoch shows its photos; stages and epochs count from 0."""
    return np.asarray(_generator(seed, stage, epoch, "order").permutation(count))


def _generator(seed: int, stage: int, number: int, purpose: str) -> np.random.Generator:
    key = [seed, stage, number, int.from_bytes(purpose.encode(), "little")]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


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
