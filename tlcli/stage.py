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
from tlcli.split import Network
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
    waited = 0
    photos = stage.epochs * len(train.labels)
    with console.progress(photos, stage.name) as bar:
        for number in range(stage.epochs):
            began = time.monotonic()
            picks = list(_picks(train, recipe.seed, at, number, planned.batch_size))
            trained = trainer.train_epoch(train, picks, rate, number, bar)
            _check_finite(trained, stage.name, number)
            scored = scorer.score(val) if val is not None else None
            epoch = Epoch(
                stage.name, number + 1, trained.loss, trained.accuracy,
                scored.loss if scored else None, scored.accuracy if scored else None,
                rate.at(number, planned.steps - 1), round(time.monotonic() - began, 3),
            )  # fmt: skip
            rate.end_epoch(epoch.val_loss)
            if best is None or _better(epoch, best, planned):
                best, waited = epoch, 0
                kept = [variable.numpy() for variable in state]
            else:
                waited += 1
            tell(epoch)
            if stage.early_stopping and waited >= stage.early_stopping.patience:
                break
    for variable, values in zip(state, kept, strict=True):
        variable.assign(values)
    assert best is not None  # a stage has at least one epoch
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


def _better(epoch: Epoch, best: Epoch, planned: StagePlan) -> bool:
    """Whether an epoch is worth keeping; without validation photos the last one is."""
    if epoch.val_loss is None or best.val_loss is None:
        return True
    gain = planned.stage.early_stopping.min_delta if planned.stage.early_stopping else 0.0
    if planned.stage.monitor == "val_loss":
        return epoch.val_loss < best.val_loss - gain
    higher = float(epoch.val_accuracy or 0) - float(best.val_accuracy or 0)
    return higher > gain or (higher == 0 and gain == 0 and epoch.val_loss < best.val_loss)


def _check_finite(score: Score, stage: str, number: int) -> None:
    if not math.isfinite(score.loss):
        message = f"the training loss of epoch {number + 1} is not a number"
        raise RunError(Problem(f"stage '{stage}'", message, "lower its learning_rate"))
