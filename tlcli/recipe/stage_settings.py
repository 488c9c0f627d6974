"""The settings of a stage: what it trains, for how long, and how weights follow gradients."""

from __future__ import annotations

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
    learning_rate: float = Field(gt=0, le=10, description="default 1e-3, with freeze_until 1e-5")
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

    @model_validator(mode="before")
    @classmethod
    def _default_rate(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("learning_rate") is None:
            rate = 1e-5 if value.get("freeze_until") else 1e-3
            return {**value, "learning_rate": rate}
        return value
