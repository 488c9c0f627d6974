"""What follows from the epochs of a stage so far: its best one, its rate, when it ends."""

from __future__ import annotations

import math
import time

from tlcli.recipe.stage_settings import Stage
from tlcli.runs.records import Epoch
from tlcli.training.optimizers import Rate
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Means


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
        self.rate = Rate(planned.stage, planned.steps)
        self.history: list[Epoch] = []
        self.ended = False

    @property
    def best(self) -> Epoch:
        """The epoch whose weights the stage hands on."""
        return self.ranked()[0]  # settings.Stage wants at least one

    def add(self, epoch: Epoch) -> None:
        """Take in one more epoch."""
        self.history.append(epoch)
        self.rate.end_epoch(epoch.val_loss)
        impatient = self._patience.ends_after(epoch)
        self.ended = impatient or len(self.history) >= self._stage.epochs

    def ranked(self) -> list[Epoch]:
        """The epochs, the best first; without validation photos that is the last one.

        Of two epochs with the same accuracy, the one with the lower loss is surer of it; of two
        that are the same in both, the earlier one.
        """

        def rank(epoch: Epoch) -> tuple[float, ...]:
            if epoch.val_loss is None:
                return (-epoch.epoch,)
            if self._stage.monitor == "val_loss":
                return (epoch.val_loss, epoch.epoch)
            return (-float(epoch.val_accuracy or 0), epoch.val_loss, epoch.epoch)

        return sorted(self.history, key=rank)


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
