"""The domains of a space in the terms of Optuna."""

from __future__ import annotations

import json
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tlcli.recipe.search import Between, Choices


def distribution_of(domain: Choices | Between) -> BaseDistribution:
    """What Optuna draws from; the choices, which may be lists, go by their labels."""
    if isinstance(domain, Choices):
        return CategoricalDistribution([label_of(domain, value) for value in domain.values])
    if domain.scale == "int":
        return IntDistribution(int(domain.low), int(domain.high))
    return FloatDistribution(domain.low, domain.high, log=domain.scale == "log")


def label_of(domain: Choices | Between, value: Any) -> Any:
    """A value as Optuna keeps it: words as they are, other choices as JSON."""
    if isinstance(domain, Between) or isinstance(value, str):
        return value
    return json.dumps(value)


def value_of(domain: Choices | Between, label: Any) -> Any:
    """The value that `label_of` has made a label of."""
    if isinstance(domain, Between):
        return label
    return next(value for value in domain.values if label_of(domain, value) == label)
