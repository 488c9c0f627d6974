"""Optimizers and learning rates of a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tlcli.networks.framework import keras, tf
from tlcli.networks.network import Network, Variable
from tlcli.recipe.stage_settings import Optimizer, Stage
from tlcli.recipe.technique_problems import HEAD
from tlcli.training.stage_plan import StagePlan

#: Variables that weight decay leaves alone: biases, and scales and shifts of normalisation. These
#: only have to fit, and do not overfit.
NOT_DECAYED = ("bias", "gamma", "beta")


def make_optimizer(
    settings: Optimizer,
    learning_rate: float,
    precision: str,
    *,
    clip_norm: float | None = None,
    factors: Sequence[tuple[Any, float]] = (),
    fused: bool = False,
) -> Any:
    """A new Keras optimizer; a stage never takes over the momentum of the one before it.

    `clip_norm` is the longest gradient, over all variables together. `factors` are
    variables with what the rate is multiplied by for each; without them it is the same for all.
    `fused` has Adam update a variable in one operation, which the copies of several devices cannot.
    """
    options: dict[str, Any] = {"learning_rate": learning_rate}
    for name in ("momentum", "nesterov", "weight_decay"):
        if (value := getattr(settings, name)) is not None:
            options[name] = value
    if clip_norm is not None:
        options["global_clipnorm"] = clip_norm
    optimizer = _OPTIMIZERS[settings.name](**options)
    if settings.weight_decay or settings.name == "adamw":
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if fused and isinstance(optimizer, keras.optimizers.Adam):  # AdamW is one
        _fuse_updates(optimizer)
    if factors:
        _scale_rates(optimizer, factors)
    # float16 gradients vanish below 6e-8 unless the loss is scaled up.
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


_OPTIMIZERS: dict[str, Any] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def _fuse_updates(optimizer: Any) -> None:
    """Have Adam update each variable in one operation instead of a dozen passes over memory.

    The operation computes Keras' formula (Kingma and Ba, "Adam: a method for stochastic
    optimization", 2015, the end of section 2) and changes Keras' own moments.
    """

    def update(gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = optimizer._get_variable_index(variable)
        step = tf.cast(optimizer.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[number].value.handle,
            v=optimizer._velocities[number].value.handle,
            beta1_power=tf.pow(tf.cast(optimizer.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(optimizer.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )

    optimizer.update_step = update


def _scale_rates(optimizer: Any, factors: Sequence[tuple[Any, float]]) -> None:
    """Have the optimizer update each variable at the rate times its factor.

    It is the step that is scaled, not the gradient, which Adam and RMSprop would divide by its own
    size again. Keras decays weights at one rate for all, so decay is part of the step here.
    """
    step, decay = optimizer.update_step, optimizer.weight_decay or 0.0
    optimizer.weight_decay = None
    by_id = {id(variable.value): factor for variable, factor in factors}

    def update(gradient: Any, variable: Any, learning_rate: Any) -> None:
        # Keras gives TensorFlow's variable here, the value of its own.
        rate = learning_rate * by_id[id(variable)]
        if decay and not any(word in variable.name for word in NOT_DECAYED):
            variable.assign_sub(variable * (decay * rate))
        step(gradient, variable, rate)

    optimizer.update_step = update


def rate_factors(network: Network, planned: StagePlan) -> list[tuple[Variable, float]]:
    """What the learning rate of the stage is multiplied by for each variable; [] for no factors."""
    if not planned.rates:
        return []
    factors = {name: rate / planned.stage.learning_rate for name, rate in planned.rates.items()}
    pairs = [(variable, factors[HEAD]) for variable in network.head.trainable_variables]
    for block in network.row.blocks:
        for name in block.layers if block.name in factors else ():
            layer = network.base.get_layer(name)
            pairs += [(variable, factors[block.name]) for variable in layer.trainable_variables]
    return pairs


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
