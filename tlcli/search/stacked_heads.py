"""Heads of one shape that train side by side, in one compiled step.

The weights of K heads are stacked, and so are their batches: one matrix product then computes a
layer of all of them. What may differ between heads (learning rate, dropout, L2, smoothing, class
weights, seed) goes into the step as numbers, so that it is compiled once for all of them. Every
head draws its weights, its dropout and its order from its own seed, as it does in a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.framework import keras, tf
from tlcli.networks.heads import DROPOUT, HIDDEN, LOGITS, Model
from tlcli.networks.logits import cross_entropy, likeliest_class
from tlcli.recipe.settings import Head
from tlcli.recipe.stage_settings import Optimizer
from tlcli.training.optimizers import make_optimizer
from tlcli.training.step import Means

Array = npt.NDArray[Any]

#: Rows that are evaluated at once.
EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class HeadState:
    """One head: its kernels and biases from the input up, and where its dropout stands.

    `dropout_seed` is the seed and the number of draws so far, as Keras' seed generators count.
    """

    weights: tuple[Array, ...]
    dropout_seed: Array

    @classmethod
    def of(cls, head: Model, hidden: int) -> HeadState:
        """The state of a head that `build_head` has made, with so many hidden layers."""
        names = [*(HIDDEN.format(number) for number in range(1, hidden + 1)), LOGITS]
        weights = tuple(w.numpy() for name in names for w in head.get_layer(name).weights)
        for layer in head.layers:
            if layer.name == DROPOUT:
                return cls(weights, np.asarray(layer.seed_generator.state.numpy(), np.int64))
        return cls(weights, np.zeros(2, np.int64))


@dataclass(frozen=True)
class HeadOptions:
    """What may differ between the heads of a stack.

    Attributes:
        dropout, l2: those of the recipe's head.
        smoothing: of the labels.
        class_weights: what a photo of each class counts in the loss, by label.
    """

    dropout: float
    l2: float
    smoothing: float
    class_weights: tuple[float, ...]

    @classmethod
    def of(cls, head: Head, smoothing: float, class_weights: tuple[float, ...]) -> HeadOptions:
        """From the blocks of a recipe."""
        return cls(head.dropout, head.l2, smoothing, class_weights)


class HeadStack:
    """K heads that train side by side on pooled rows.

    Args:
        states: of the heads, all of the same shape.
        settings: of each head.
        optimizer: that of all heads; their learning rates are given with each step.
        rows: pooled activations, shape (rows, inputs).
        labels: of these rows.
    """

    def __init__(
        self,
        states: Sequence[HeadState],
        settings: Sequence[HeadOptions],
        optimizer: Optimizer,
        rows: Any,
        labels: Any,
    ) -> None:
        self._settings, self._kind = list(settings), optimizer
        self._rows, self._labels = rows, labels
        self._seeds = np.stack([state.dropout_seed for state in states])
        stacked = [np.stack(values) for values in zip(*(s.weights for s in states), strict=True)]
        self._variables = [
            keras.Variable(array if array.ndim == 3 else array[:, None], name=name)
            for array, name in zip(stacked, ("kernel", "bias") * (len(stacked) // 2), strict=True)
        ]
        self._optimizer = _StackOptimizer(optimizer, self._variables)
        self._tally = [tf.Variable(tf.zeros(len(states), kind)) for kind in (tf.float64, tf.int64)]
        self._seen = 0
        self._place_settings()
        self._step = tf.function(self._train, input_signature=self._signature())
        self._evaluate = tf.function(self._add_scores, reduce_retracing=True)

    def __len__(self) -> int:
        return len(self._settings)

    def state(self, number: int) -> HeadState:
        """One head as it is now."""
        weights = tuple(variable.numpy()[number] for variable in self._variables)
        shapes = [w if position % 2 == 0 else w[0] for position, w in enumerate(weights)]
        return HeadState(tuple(shapes), self._seeds[number].copy())

    def reduced_to(self, numbers: Sequence[int]) -> HeadStack:
        """A stack of some of the heads, with what their optimizers remember."""
        chosen = list(numbers)
        stack = HeadStack(
            [self.state(number) for number in chosen],
            [self._settings[number] for number in chosen],
            self._kind, self._rows, self._labels,
        )  # fmt: skip
        stack._optimizer.take_over(self._optimizer, chosen)
        return stack

    def train_step(self, rows: Array, rates: Array) -> None:
        """One step of every head on the rows of its batch, shape (K, batch), at its rate, (K,)."""
        seeds = np.mod(self._seeds, np.iinfo(np.int32).max - 1).astype(np.int32)
        self._step(*map(tf.convert_to_tensor, (rows.astype(np.int32), rates, seeds)))
        self._seeds[:, 1] += 1
        self._seen += rows.shape[1]

    def take_means(self) -> list[Means]:
        """Loss and accuracy of each head over the steps since the last call, before each step."""
        losses, hits = (variable.numpy() for variable in self._tally)
        for variable in self._tally:
            variable.assign(tf.zeros_like(variable))
        count, self._seen = self._seen, 0
        return _means(losses, hits, count)

    def score(self, rows: Any, labels: Any) -> list[Means]:
        """Mean cross-entropy (without weights or smoothing) and accuracy of each head."""
        losses, hits = np.zeros(len(self)), np.zeros(len(self), np.int64)
        for start in range(0, len(labels), EVALUATION_ROWS):
            part = slice(start, start + EVALUATION_ROWS)
            more_losses, more_hits = self._evaluate(rows[part], labels[part])
            losses += more_losses.numpy()
            hits += more_hits.numpy()
        return _means(losses, hits, len(labels))

    def _place_settings(self) -> None:
        def placed(name: str) -> Any:
            return tf.constant([getattr(each, name) for each in self._settings], tf.float32)

        self._dropout, self._l2 = placed("dropout"), placed("l2")
        self._smoothing, self._class_weights = placed("smoothing"), placed("class_weights")

    def _signature(self) -> list[Any]:
        """Rows, rates, seeds of the dropout."""
        heads = len(self)
        return [
            tf.TensorSpec([heads, None], tf.int32),
            tf.TensorSpec([heads], tf.float32),
            tf.TensorSpec([heads, 2], tf.int32),
        ]

    def _logits(self, x: Any, seeds: Any | None = None) -> Any:
        """Logits, shape (K, n, outputs); with seeds there is dropout before the last layer."""
        pairs = list(zip(self._variables[::2], self._variables[1::2], strict=True))
        for kernel, bias in pairs[:-1]:
            x = tf.nn.relu(tf.matmul(x, kernel.value) + bias.value)
        if seeds is not None and any(each.dropout for each in self._settings):
            x = self._drop(x, seeds)
        kernel, bias = pairs[-1]
        return tf.matmul(x, kernel.value) + bias.value

    def _drop(self, x: Any, seeds: Any) -> Any:
        """Dropout by the numbers that Keras' layer draws for each head; at a rate of 0, none."""
        shape = tf.shape(x)[1:]
        drawn = [tf.random.stateless_uniform(shape, seeds[k]) for k in range(len(self))]
        rates = self._dropout[:, None, None]
        return tf.where(tf.stack(drawn) >= rates, x * (1 / (1 - rates)), 0.0)

    def _losses(self, labels: Any, logits: Any, smoothing: Any) -> Any:
        """Cross-entropy of each row of each head, shape (K, n)."""
        count, outputs = tf.shape(logits)[1], logits.shape[-1]
        spread = tf.repeat(smoothing, count)
        flat = tf.reshape(labels, [-1]), tf.reshape(logits, [-1, outputs])
        losses = cross_entropy(*flat, spread if outputs == 1 else spread[:, None])
        return tf.reshape(losses, [len(self), -1])

    def _hits(self, labels: Any, logits: Any) -> Any:
        guesses = likeliest_class(tf.reshape(logits, [-1, logits.shape[-1]]))
        hits = tf.equal(tf.reshape(guesses, [len(self), -1]), labels)
        return tf.reduce_sum(tf.cast(hits, tf.int64), axis=1)

    def _train(self, rows: Any, rates: Any, seeds: Any) -> None:
        labels = tf.gather(self._labels, rows)
        weights = tf.gather(self._class_weights, labels, batch_dims=1)
        values = [variable.value for variable in self._variables]
        with tf.GradientTape() as tape:
            logits = self._logits(tf.gather(self._rows, rows), seeds)
            losses = weights * self._losses(labels, logits, self._smoothing)
            # Each head has a part of its own in the sum, so that no gradient knows of the others.
            total = tf.reduce_sum(tf.reduce_mean(losses, axis=1))
            for kernel in values[::2]:
                total += tf.reduce_sum(self._l2[:, None, None] * tf.square(kernel))
        self._optimizer.apply(tape.gradient(total, values), rates)
        summed = tf.cast(tf.reduce_sum(losses, axis=1), tf.float64)
        for variable, more in zip(self._tally, (summed, self._hits(labels, logits)), strict=True):
            variable.assign_add(more)

    def _add_scores(self, rows: Any, labels: Any) -> tuple[Any, Any]:
        logits = self._logits(rows)
        repeated = tf.tile(labels[None], [len(self), 1])
        losses = self._losses(repeated, logits, tf.zeros(len(self)))
        summed = tf.reduce_sum(tf.cast(losses, tf.float64), axis=1)
        return summed, self._hits(repeated, logits)


class _StackOptimizer:
    """A Keras optimizer of stacked variables, whose learning rate is another one for each head.

    All optimizers of tlcli take steps that grow in proportion to the rate, value by value, so that
    the same rule holds for a rate that is a tensor of shape (K, 1, 1). Decay of weights, which
    Keras computes with the one rate of the optimizer, is computed here.
    """

    def __init__(self, settings: Optimizer, variables: list[Any]) -> None:
        decay = settings.weight_decay
        if decay is None and settings.name == "adamw":
            decay = keras.optimizers.AdamW().weight_decay
        name = "adam" if settings.name == "adamw" else settings.name
        self._decay, self._variables = decay or 0.0, variables
        plain = settings.model_copy(update={"name": name, "weight_decay": None})
        self._optimizer = make_optimizer(plain, 1.0, "float32")
        self._optimizer.build(variables)
        self._rule = self._optimizer.update_step
        self._rates: Any = None  # while a step is computed, those of the heads
        self._optimizer.update_step = self._update

    def apply(self, gradients: list[Any], rates: Any) -> None:
        """One step of every head."""
        self._rates = rates[:, None, None]
        for kernel in self._variables[::2] if self._decay else ():
            kernel.assign(kernel - kernel * (self._decay * self._rates))
        self._optimizer.apply(gradients, self._variables)

    def take_over(self, other: _StackOptimizer, heads: list[int]) -> None:
        """Remember what another optimizer does of some of its heads."""
        pairs = zip(self._optimizer.variables, other._optimizer.variables, strict=True)
        for target, source in pairs:
            value = source.numpy()
            target.assign(value[heads] if value.ndim else value)

    def _update(self, gradient: Any, variable: Any, _: Any) -> None:
        self._rule(gradient, variable, self._rates)


def _means(losses: Array, hits: Array, n: int) -> list[Means]:
    """The means of each head from its sums over n rows."""
    return [
        Means(float(loss) / n, int(right) / n, n) for loss, right in zip(losses, hits, strict=True)
    ]


def with_weights(state: HeadState, weights: HeadState) -> HeadState:
    """The weights of one state with the dropout of another, as a stage hands them on."""
    return replace(state, weights=weights.weights)
