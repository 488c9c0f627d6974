"""The weights of the best epochs of a stage, and what it hands on of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.network import Network, Variable
from tlcli.runs.records import Epoch, Score, StageResult
from tlcli.training.averages import greedy_soup
from tlcli.training.progress import StageProgress
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Means

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StageOutcome:
    """A stage that was trained.

    Attributes:
        best: the best of its epochs, whose weights it hands on.
        averaged: the epochs whose average it hands on instead, by their numbers, if they are more.
        score: loss and accuracy of that average on the validation photos.
    """

    name: str
    history: tuple[Epoch, ...]
    best: Epoch
    averaged: tuple[int, ...] = ()
    score: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Of all its epochs."""
        return sum(epoch.seconds for epoch in self.history)

    @property
    def validation(self) -> tuple[float | None, float | None]:
        """Loss and accuracy, on the validation photos, of the weights that it hands on."""
        return self.score or (self.best.val_loss, self.best.val_accuracy)

    def result(self, test: Score | None) -> StageResult:
        """The record of the stage, with its score on the test photos if there are any."""
        loss, accuracy = self.validation
        return StageResult(
            name=self.name,
            epochs=len(self.history),
            best_epoch=self.best.epoch,
            averaged=self.averaged,
            val_loss=loss,
            val_accuracy=accuracy,
            seconds=round(self.seconds, 3),
            test=test,
        )


@dataclass(frozen=True)
class Snapshot:
    """A stage at the end of an epoch: all that it takes to train on from there.

    Attributes:
        history: its epochs so far.
        best: the number of the best of them, from 1.
        weights: the values of `Network.variables` at the stage's cut.
        optimizer: those of `Trainer.state`.
        best_weights: those that the best epoch is judged by; `weights` itself, if this one is it
            and they are not averages.
        others: the same of the next best epochs, where the best are averaged in the end.
    """

    history: tuple[Epoch, ...]
    best: int
    weights: list[Array]
    optimizer: list[Array]
    best_weights: list[Array]
    others: Mapping[int, list[Array]] = field(default_factory=dict)


class KeptWeights:
    """The weights of the best epochs of a stage: all that it may hand on."""

    def __init__(
        self,
        network: Network,
        planned: StagePlan,
        progress: StageProgress,
        stopped: Snapshot | None,
    ) -> None:
        self._stage, self._progress = planned.stage, progress
        self._state = network.weights_above(planned.cut.name)
        self.variables = network.variables_above(planned.cut.name)
        self._weights: dict[int, list[Array]] = {}
        if stopped is not None:
            for epoch in stopped.history:
                progress.add(epoch)
            assign_values(self.variables, stopped.weights, planned.stage.name)
            self._weights = {stopped.best: stopped.best_weights, **stopped.others}

    def values(self) -> list[Array]:
        """The values of the variables as they are now."""
        return [variable.numpy() for variable in self.variables]

    def add(self, judged: list[Array]) -> None:
        """Take in the weights that the last epoch is judged by."""
        self._weights[len(self._progress.history)] = judged
        ranked = self._progress.ranked()[: self._stage.averaged_epochs]
        self._weights = {epoch.epoch: self._weights[epoch.epoch] for epoch in ranked}

    def snapshot(self, weights: list[Array], state: list[Array]) -> Snapshot:
        """The stage as it is; `state` is that of what trains it."""
        best = self._progress.best.epoch
        others = {epoch: w for epoch, w in self._weights.items() if epoch != best}
        history = tuple(self._progress.history)
        return Snapshot(history, best, weights, state, self._weights[best], others)

    def hand_on(self, score: Callable[[], Means | None]) -> StageOutcome:
        """Give the network the weights of the best epoch, or the average of the best.

        The state of dropout stays that of the last epoch.
        """
        progress, name = self._progress, self._stage.name
        ranked = [epoch.epoch for epoch in progress.ranked() if epoch.epoch in self._weights]
        weights = {epoch: self._weights[epoch][: len(self._state)] for epoch in ranked}
        outcome = StageOutcome(name, tuple(progress.history), progress.best)
        if len(weights) == 1 or progress.best.val_loss is None:
            assign_values(self._state, weights[progress.best.epoch], name)
            return outcome

        def is_no_worse(trial: list[Array]) -> bool:
            nonlocal outcome
            assign_values(self._state, trial, name)
            means = score()
            assert means is not None  # the best epoch was judged by validation photos
            if _falls_behind((means.loss, means.accuracy), outcome.validation, self._stage.monitor):
                return False
            outcome = replace(outcome, score=(means.loss, means.accuracy))
            return True

        epochs, average = greedy_soup(weights, is_no_worse)
        assign_values(self._state, average, name)
        return replace(outcome, averaged=epochs) if len(epochs) > 1 else outcome


def assign_values(variables: list[Variable], values: list[Array], stage: str) -> None:
    """Put the values of a snapshot back; a `RunError` where they are of another network."""
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        message = "the checkpoint does not fit this network"
        hint = "another version of Keras may have written it; start a new run with --fresh"
        raise RunError(Problem(f"stage '{stage}'", message, hint))
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _falls_behind(
    score: tuple[float, float], best: tuple[float | None, float | None], monitor: str
) -> bool:
    """Whether a loss and an accuracy are worse than others, in what the stage watches."""
    if monitor == "val_loss":
        return not score[0] <= float(best[0] or 0)
    return score[1] < float(best[1] or 0)
