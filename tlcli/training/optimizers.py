"""Optimizers and learning rates of a stage."""

from __future__ import annotations

import math
from typing import Any

from tlcli.networks.framework import keras
from tlcli.recipe.stage_settings import Optimizer, Stage


def make_optimizer(settings: Optimizer, learning_rate: float, precision: str) -> Any:
    """A new Keras optimizer; a stage never takes over the momentum of the one before it.

    Weight decay leaves out biases and the scales and shifts of normalisation, which only have to
    fit and do not overfit.
    """
    options: dict[str, Any] = {"learning_rate": learning_rate}
    if settings.momentum is not None:
        options["momentum"] = settings.momentum
    if settings.nesterov is not None:
        options["nesterov"] = settings.nesterov
    if settings.weight_decay is not None:
        options["weight_decay"] = settings.weight_decay
    optimizer = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }[settings.name](**options)
    if settings.weight_decay or settings.name == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # float16 gradients vanish below 6e-8 unless the loss is scaled up.
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


#: The least fall of `val_loss` that a plateau schedule takes for progress, as in Keras.
PLATEAU_DELTA = 1e-4


class Rate:
    """The learning rate of each step of a stage.

    constant: as it is. cosine: from the rate to 0 over the stage. exponential: times `decay` every
    epoch, smoothly. inverse_time: divided by 1 + `decay` * steps, as Keras 2 did under the name of
    `decay`. plateau: times `factor` once `val_loss` has not improved for `patience` epochs. All
    rise linearly from 0 during `warmup_epochs`, for which those that only fall wait.
    """

    def __init__(self, stage: Stage, steps: int) -> None:
        self._stage, self._schedule, self._steps = stage, stage.schedule, steps
        self._reduced = 1.0
        self._best, self._waited, self._epochs = math.inf, 0, 0

    @property
    def constant(self) -> bool:
        """Whether every step has the same rate."""
        return self._schedule.name == "constant" and not self._schedule.warmup_epochs

    def at(self, epoch: int, step: int) -> float:
        """The rate of a step; epochs and steps count from 0."""
        rate, schedule = self._stage.learning_rate, self._schedule
        passed = epoch + step / self._steps
        if passed < schedule.warmup_epochs:
            # The first step counts as one, since a rate of 0 would waste it.
            return rate * (passed + 1 / self._steps) / (schedule.warmup_epochs + 1 / self._steps)
        passed -= schedule.warmup_epochs
        if schedule.name == "cosine":
            whole = max(self._stage.epochs - schedule.warmup_epochs, 1e-9)
            return rate * 0.5 * (1 + math.cos(math.pi * min(passed / whole, 1.0)))
        if schedule.name == "exponential":
            return rate * float(schedule.decay**passed)
        if schedule.name == "inverse_time":
            return rate / (1 + schedule.decay * passed * self._steps)
        return rate * self._reduced

    def end_epoch(self, val_loss: float | None) -> None:
        """Let a plateau schedule take in the validation loss of an epoch."""
        self._epochs += 1
        if self._schedule.name != "plateau" or val_loss is None:
            return
        if self._epochs <= self._schedule.warmup_epochs:
            return
        if val_loss < self._best - PLATEAU_DELTA:
            self._best, self._waited = val_loss, 0
            return
        self._waited += 1
        if self._waited >= self._schedule.patience:
            self._reduced *= self._schedule.factor
            self._waited = 0
