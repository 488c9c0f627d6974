"""Training as a textbook has it: what techniques of `tlcli.training` are compared with.

The whole network runs from pixels in every step, gradients come from a tape, and updates are NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlcli.data.dataset import Item
from tlcli.images import decode
from tlcli.networks.framework import tf
from tlcli.networks.network import Network, build_network
from tlcli.system import stateless_random
from tlcli.training.plan import Plan

#: Probabilities and labels of a batch -> the loss of each photo.
Losses = Callable[[Any, Any], Any]


def load_photos(items: Sequence[Item], size: tuple[int, int]) -> tuple[Any, Any]:
    """Pixels, float32 (n, height, width, 3), and labels, (n,)."""
    pixels = [
        decode.load_image(i.path, height=size[0], width=size[1], resize="squash") for i in items
    ]
    return np.stack(pixels).astype(np.float32), np.array([item.label for item in items])


def cross_entropy(labels: Any, probabilities: Any) -> Any:
    """The loss of each photo, from its definition."""
    return -np.log(np.take_along_axis(probabilities, labels[:, None], 1)[:, 0])


def draw_order(seed: int, stage: int, epoch: int, n: int) -> Any:
    """The order of an epoch as documented: a permutation from (seed, stage, epoch)."""
    return stateless_random.make_generator("order", seed, stage, epoch).permutation(n)


@dataclass
class Adam:
    """Kingma & Ba, 2015, with a learning rate for each variable."""

    rates: Sequence[float]
    _moments: list[Any] = field(default_factory=list)
    _steps: int = 0

    def update(self, values: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """The values after a step."""
        if not self._moments:
            self._moments = [[np.zeros_like(v, np.float64)] * 2 for v in values]
        self._steps += 1
        after = []
        for k, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
            first, second = self._moments[k]
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            self._moments[k] = [first, second]
            # The form at the end of section 2, which Keras has.
            rate = self.rates[k] * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
            after.append(value - rate * first / (np.sqrt(second) + 1e-7))
        return after


@dataclass
class PlainStage:
    """One stage of a plan without augmentation, for a base whose batch norm is frozen.

    Attributes:
        plan: with a single stage.
        update: values and gradients -> values after the step.
        loss: labels and logits, tensors -> the loss of each photo.
        penalty: the values of the variables, tensors -> what is added to the loss.
        order: seed, stage, epoch and number of photos -> the photos of an epoch.
        watch: called after each step.
    """

    plan: Plan
    update: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
    loss: Callable[[Any, Any], Any] | None = None
    penalty: Callable[[Sequence[Any]], Any] | None = None
    order: Callable[[int, int, int, int], Any] = draw_order
    watch: Callable[[Network], None] = lambda network: None

    def __post_init__(self) -> None:
        recipe = self.plan.recipe
        classes = len(self.plan.index.classes)
        self.network = build_network(
            self.plan.row, recipe.base.image_size, recipe.head, classes, seed=recipe.seed
        )
        stage = recipe.stages[0]
        self.variables = self.network.freeze(stage.freeze_until, first=stage.unfreeze_from)

    def epochs(self) -> Iterator[float]:
        """Train; the mean training loss of each epoch."""
        recipe = self.plan.recipe
        pixels, labels = load_photos(self.plan.index.of("train"), recipe.base.image_size)
        logits_of = tf.function(lambda x: self.network.head(self.network.base(x)))
        for epoch in range(recipe.stages[0].epochs):
            order = self.order(recipe.seed, 0, epoch, len(labels))
            total = 0.0
            for start in range(0, len(order), recipe.batch_size):
                picked = order[start : start + recipe.batch_size]
                total += self._step(logits_of, pixels[picked], labels[picked]) * len(picked)
                self.watch(self.network)
            yield total / len(order)

    def _step(self, logits_of: Any, x: Any, y: Any) -> float:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.loss or _sparse_cross_entropy)(y, logits_of(x)))
            values = [variable.value for variable in self.variables]
            total = loss + self.penalty(values) if self.penalty else loss
        gradients = [g.numpy() for g in tape.gradient(total, values)]
        after = self.update([value.numpy() for value in values], gradients)
        for variable, value in zip(self.variables, after, strict=True):
            variable.assign(value)
        return float(loss)


def _sparse_cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
