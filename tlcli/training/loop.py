"""The training loop: one stage, from activations at its cut.

Everything that a stage decides between its epochs (which one is the best, when patience ends, what
a plateau does to the rate) follows from the metrics of the epochs so far. So a stage that is
resumed after a stop needs its history and its variables, and no other state.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.network import Network, Variable
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import LBFGS
from tlcli.runs.records import Epoch, StepMethods
from tlcli.system import console
from tlcli.training.batches import Feed, Pick
from tlcli.training.kept_weights import KeptWeights, Snapshot, StageOutcome, assign_values
from tlcli.training.optimizers import Rate
from tlcli.training.order import Position, draw_picks
from tlcli.training.progress import StageProgress, make_epoch
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.shared_score import score
from tlcli.training.solver import Solver
from tlcli.training.stage_plan import StagePlan
from tlcli.training.standardize import standardize
from tlcli.training.step import Means, Scorer, Trainer, set_trainable
from tlcli.training.step_methods import PLAIN

Array = npt.NDArray[Any]


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


def begin_stage(
    network: Network, planned: StagePlan, recipe: Recipe, train: Feed, position: Position
) -> list[Variable]:
    """Have the network train what a stage says; returns the trainable variables.

    At the beginning of a run a head that standardises measures its features.
    """
    trainable = set_trainable(network, planned, recipe)
    if position.number == 0:
        standardize(network, planned.cut.name, train, recipe)
    return trainable


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
    methods: StepMethods = PLAIN,
) -> StageOutcome:
    """Train one stage; the network has the weights of its best epoch and its flags afterwards.

    The order of an epoch and the views it shows are drawn from (seed, stage, epoch) alone, so that
    any epoch can be repeated by itself. `listener` is called at the end of every epoch; `stopped`
    is the last snapshot that it kept before a stop. `replicas` are the copies of the network that
    train together, `methods` how steps are computed. Raises `RunError` when the loss stops being a
    number.
    """
    stage = planned.stage
    # Also where no epoch is left to train: the model that is saved keeps the flags of its layers.
    if stopped is None:
        trainable = begin_stage(network, planned, recipe, train, position)
    else:
        trainable = set_trainable(network, planned, recipe)
    progress = StageProgress(planned)
    scorer = Scorer(network, planned.cut.name)
    kept = KeptWeights(network, planned, progress, stopped)
    if not progress.ended:
        trainer: StageTrainer
        if stage.solver == LBFGS:
            trainer = Solver(network, planned, recipe)
        else:
            trainer = Trainer(network, planned, recipe, trainable, replicas, methods)
        if stopped is not None:
            assign_values(trainer.state, stopped.optimizer, stage.name)
        left = (stage.epochs - len(progress.history)) * len(train.labels)
        with console.progress(left, stage.name) as bar:
            while not progress.ended:
                started, number = time.monotonic(), len(progress.history)
                picks = draw_picks(
                    train, recipe.seed, position, number, planned.batch_size, stage.sampler
                )
                trained = trainer.train_epoch(train, list(picks), progress.rate, number, bar)
                weights = kept.values()
                with trainer.judged():
                    validated = score(scorer, val, replicas) if val is not None else None
                    judged = kept.values() if trainer.averages else weights
                _check_finite(trained, validated, kept.variables, stage.name, number)
                rate = trainer.last_rate(progress.rate, number)
                progress.add(make_epoch(stage.name, number, trained, validated, rate, started))
                kept.add(judged)
                listener.keep(kept.snapshot(weights, [v.numpy() for v in trainer.state]))
                listener.report(progress.history[-1])
    return kept.hand_on(lambda: score(scorer, val, replicas) if val is not None else None)


class StageTrainer(Protocol):
    """What trains a stage, epoch by epoch."""

    @property
    def state(self) -> list[Variable]:
        """What it has to remember from one epoch to the next."""
        ...

    @property
    def averages(self) -> bool:
        """Whether epochs are judged by other weights than those that training goes on with."""
        ...

    def judged(self) -> AbstractContextManager[None]:
        """Have the network the weights that the epoch is judged by meanwhile."""
        ...

    def train_epoch(
        self, feed: Feed, picks: list[Pick], rate: Rate, epoch: int, bar: console.Progress
    ) -> Means:
        """Train an epoch; the means over its photos."""
        ...

    def last_rate(self, rate: Rate, epoch: int) -> float:
        """The learning rate at the end of an epoch; 0 where there is none."""
        ...


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
