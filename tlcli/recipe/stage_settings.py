"""The settings of a stage: what it trains, for how long, and how weights follow gradients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from tlcli.networks.boundaries import NO_LAYER, PIXELS
from tlcli.recipe.block import Block, NamedBlock
from tlcli.recipe.limits import MAX_EPOCHS


def _boundary(value: Any) -> Any:
    """Its proper name."""
    return PIXELS if value == NO_LAYER else value


def _class_weights(value: Any) -> Any:
    def positive(weight: Any) -> bool:
        return type(weight) in (int, float) and 0 < weight < 1e6

    if value in (None, "balanced"):
        return value
    if isinstance(value, dict) and value and all(map(positive, value.values())):
        return {str(name): float(weight) for name, weight in value.items()}
    raise ValueError("must be 'balanced' or a mapping of class names to positive numbers")


def _rates(value: Any) -> Any:
    def valid(rate: Any) -> bool:
        return type(rate) in (int, float) and 0 < rate <= MAX_RATE

    if value is None:
        return None
    if isinstance(value, dict) and value and all(map(valid, value.values())):
        return {str(name): float(rate) for name, rate in value.items()}
    message = f"must map blocks to learning rates above 0 and up to {MAX_RATE:g}"
    raise ValueError(f"{message}, as in {{block5: 1.0e-5, block4: 3.0e-6}}")


def _average(value: Any) -> Any:
    if value is None or (isinstance(value, str) and re.fullmatch(r"best ([2-9]|1\d|20)", value)):
        return value
    raise ValueError("must be `best` and a number from 2 to 20, as in: average: best 3")


#: The sampler that shows every class equally often.
BALANCED = "balanced"

#: The solver that goes to the optimum at once.
LBFGS = "lbfgs"

#: The learning rate of a stage that trains pretrained layers, where it does not say.
FINE_TUNING_RATE = 1e-5

#: The highest learning rate.
MAX_RATE = 10.0

Fraction = Annotated[float, Field(ge=0, lt=1)]
BoundaryName = Annotated[str | None, BeforeValidator(_boundary)]
OptimizerName = Literal["adam", "rmsprop", "sgd", "adamw"]


class Optimizer(NamedBlock):
    """How weights follow gradients; what is left out has Keras' default."""

    name: OptimizerName = Field("adam", description="adam, rmsprop, sgd or adamw")
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd and rmsprop")
    nesterov: bool | None = Field(None, description="Nesterov momentum, of sgd")
    weight_decay: float | None = Field(None, ge=0, le=1, description="decoupled decay per step")

    @model_validator(mode="after")
    def _settings_fit(self) -> Optimizer:
        if self.momentum is not None and self.name not in ("sgd", "rmsprop"):
            raise ValueError(f"momentum is a setting of sgd and rmsprop, not of {self.name}")
        if self.nesterov is not None and self.name != "sgd":
            raise ValueError(f"nesterov is a setting of sgd, not of {self.name}")
        return self


class Schedule(NamedBlock):
    """How the learning rate moves during a stage."""

    name: Literal["constant", "cosine", "exponential", "inverse_time", "plateau"] = Field(
        "constant",
        description="constant, cosine (to 0), exponential, inverse_time, or plateau (on val_loss)",
    )
    warmup_epochs: float = Field(0.0, ge=0, le=MAX_EPOCHS, description="linear rise from 0")
    decay: float = Field(
        0.96,
        gt=0,
        le=1,
        description="exponential: factor per epoch; inverse_time: d in rate / (1 + d * steps)",
    )
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: factor of each reduction")
    patience: int = Field(
        5, ge=1, le=MAX_EPOCHS, description="plateau: epochs without improvement before a reduction"
    )

    @model_validator(mode="after")
    def _inverse_time_has_a_decay(self) -> Schedule:
        if self.name == "inverse_time" and "decay" not in self.model_fields_set:
            raise ValueError("inverse_time needs a decay: {name: inverse_time, decay: 1.0e-6}")
        return self


class EarlyStopping(NamedBlock):
    """Ends a stage that no longer improves."""

    shorthand: ClassVar[str] = "patience"

    patience: int = Field(
        ge=1, le=MAX_EPOCHS, description="epochs without improvement before training stops"
    )
    min_delta: float = Field(
        0.0, ge=0, description="the smallest change that counts as improvement"
    )


class Loss(NamedBlock):
    """What a stage makes small."""

    name: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy",
        description="cross_entropy, or focal, which counts photos less that are classified well",
    )
    gamma: float | None = Field(
        None, ge=0, le=10, description="focal: power of 1 - p that a photo counts; default 2"
    )

    @model_validator(mode="after")
    def _gamma_of_focal(self) -> Loss:
        if self.gamma is not None and self.name != "focal":
            raise ValueError(f"gamma is a setting of focal, not of {self.name}")
        return self

    @property
    def power(self) -> float:
        """Gamma, of focal loss; that of the paper if it is not given."""
        return 2.0 if self.gamma is None else self.gamma


class Stage(Block):
    """One training step of the plan."""

    name: str = Field(pattern=r"^[\w][\w .-]{0,63}$", description="shown in plan and metrics")
    freeze_until: BoundaryName = Field(
        None,
        description="last frozen layer, or pixels to train the whole base; without it the head "
        "alone trains",
    )
    unfreeze_from: str | None = Field(
        None, description="first layer that trains, instead of freeze_until"
    )
    epochs: int = Field(30, ge=1, le=MAX_EPOCHS, description="passes over the training photos")
    learning_rate: float = Field(
        gt=0, le=MAX_RATE, description="default 1e-3, with freeze_until 1e-5"
    )
    optimizer: Optimizer = Field(Optimizer(), description="a name, or a block with settings")
    schedule: Schedule = Field(Schedule(), description="a name, or a block with settings")
    monitor: Literal["val_loss", "val_accuracy"] = Field(
        "val_loss", description="picks the best epoch and decides early stopping"
    )
    early_stopping: EarlyStopping | None = Field(None, description="patience in epochs")
    class_weights: Annotated[
        Literal["balanced"] | dict[str, float] | None, BeforeValidator(_class_weights)
    ] = Field(None, description="'balanced', or a weight for each class by name")
    label_smoothing: Fraction = Field(0.0, description="share of the target spread evenly")
    batch_size: int | None = Field(None, ge=1, le=65_536, description="default: the recipe's")
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor of the learning rate for every block of the base below the head: its "
        "top block takes it once, the block below twice, ...",
    )
    rates: Annotated[dict[str, float] | None, BeforeValidator(_rates)] = Field(
        None, description="learning rates of blocks by name, as in {block5: 1e-5, block4: 3e-6}"
    )
    clip_norm: float | None = Field(
        None, gt=0, description="longest gradient of a step; a longer one is scaled down to it"
    )
    l2_sp: float | None = Field(
        None,
        gt=0,
        le=10,
        description="penalty on the squared distance of weights of the base from pretrained ones",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share that a moving average of the weights keeps in each step, as in 0.999; "
        "the average is judged and saved",
    )
    average: Annotated[str | None, BeforeValidator(_average)] = Field(
        None,
        description="best N: the average of the N best epochs, as far as each makes it no worse on "
        "the validation photos",
    )
    loss: Loss = Field(Loss(), description="a name, or a block with settings")
    sampler: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="shuffle: every photo once in an epoch, or balanced: every class equally often",
    )
    solver: Literal["descent", "lbfgs"] = Field(
        "descent",
        description="lbfgs: the optimum of a head without hidden layers and dropout, its penalty "
        "chosen by cross-validation",
    )

    @property
    def averaged_epochs(self) -> int:
        """How many epochs are candidates for the weights that the stage hands on."""
        return int(self.average.split()[1]) if self.average else 1

    @model_validator(mode="before")
    @classmethod
    def _depending_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        filled = dict(value)
        if value.get("learning_rate") is None:
            filled["learning_rate"] = FINE_TUNING_RATE if value.get("freeze_until") else 1e-3
        if value.get("solver") == LBFGS and value.get("epochs") is None:
            filled["epochs"] = 1
        return filled


#: Settings of a stage that are off unless a recipe has them.
TECHNIQUES = (
    "layer_decay", "rates", "clip_norm", "l2_sp", "ema", "average", "loss", "sampler", "solver",
)  # fmt: skip


def used_techniques(stage: Stage) -> list[str]:
    """Those of `TECHNIQUES` that a stage uses."""
    fields = Stage.model_fields
    return [name for name in TECHNIQUES if getattr(stage, name) != fields[name].get_default()]


def leave_out_techniques(values: dict[str, Any], stages: Sequence[Stage]) -> None:
    """Remove techniques that are off from the plain values of a recipe's stages, in place.

    So the fingerprint of a recipe does not depend on what later versions of tlcli can do.
    """
    for plain, stage in zip(values["stages"], stages, strict=True):
        for name in set(TECHNIQUES).difference(used_techniques(stage)):
            del plain[name]
