"""The compiled steps of a stage: what one batch does to the weights, and how photos are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.framework import tf
from tlcli.networks.kernel_products import fast_gradients
from tlcli.networks.logits import cross_entropy, focal_loss, is_among_likeliest, likeliest_class
from tlcli.networks.network import Network, Variable
from tlcli.networks.probabilities import TOP_K
from tlcli.recipe.recipe import Recipe
from tlcli.runs.records import StepMethods
from tlcli.system import console, signals
from tlcli.training import mixing
from tlcli.training.averages import MovingAverage, averaged_weights
from tlcli.training.batches import Feed, Pick
from tlcli.training.mixing import Mix
from tlcli.training.optimizers import Rate, make_optimizer, rate_factors
from tlcli.training.pull import Pull
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step_methods import PLAIN

Array = npt.NDArray[Any]

#: Rows that are evaluated at once; evaluation has no gradients to keep.
EVALUATION_BATCH = 64


class Means(NamedTuple):
    """Means over some photos, as they were measured: the loss may have stopped being a number.

    Attributes:
        loss: cross-entropy.
        accuracy: the share of photos whose likeliest class is their label.
        n: how many photos they were.
        top_5: the share of photos whose label is among their five likeliest classes; None where
            there are no more than five, or it was not counted.
    """

    loss: float
    accuracy: float
    n: int
    top_5: float | None = None


class _Tally:
    """Sums over the batches of an epoch, kept where TensorFlow computes.

    Args:
        classes: how many classes there are.
        replicas: the copies of the network that add to the sums.
    """

    def __init__(self, classes: int, replicas: Replicas = ALONE) -> None:
        self._ranks = classes > TOP_K
        self._loss = replicas.sum_variable(tf.float64)
        self._correct, self._near, self._seen = (replicas.sum_variable(tf.int64) for _ in range(3))

    def add(self, labels: Any, logits: Any, losses: Any) -> None:
        """Count a batch: losses of shape (n,), and whether the likeliest class is the label."""
        self._loss.assign_add(tf.cast(tf.reduce_sum(losses), tf.float64))
        hits = tf.equal(likeliest_class(logits), labels)
        self._correct.assign_add(tf.reduce_sum(tf.cast(hits, tf.int64)))
        if self._ranks:
            near = is_among_likeliest(labels, logits, TOP_K)
            self._near.assign_add(tf.reduce_sum(tf.cast(near, tf.int64)))
        self._seen.assign_add(tf.cast(tf.size(labels), tf.int64))

    def take(self) -> Means:
        """Return the means of what was counted, and start counting anew."""
        n = int(self._seen.numpy())
        loss, correct = float(self._loss.numpy()), int(self._correct.numpy())
        top_5 = int(self._near.numpy()) / max(n, 1) if self._ranks else None
        for variable in (self._loss, self._correct, self._near, self._seen):
            variable.assign(tf.zeros_like(variable))
        return Means(loss / max(n, 1), correct / max(n, 1), n, top_5)


class Scorer:
    """Scores a network on photos as they are, in inference mode, from activations at a cut."""

    def __init__(self, network: Network, cut: str) -> None:
        self._tail, self._head = network.tail(cut), network.head
        self._tally = _Tally(network.head.output.shape[-1])
        self._step = tf.function(self._add, input_signature=_signature(self._tail)[:2])

    def score(self, feed: Feed) -> Means:
        """Mean cross-entropy (without weights or smoothing) and accuracy over a feed."""
        for labels, rows in self._batches(feed):
            self._step(rows, labels)
        return self._tally.take()

    def logits(self, feed: Feed) -> Array:
        """The logits of the photos of a feed in their order, shape (n, 1) or (n, classes)."""
        compute = tf.function(self._logits, input_signature=_signature(self._tail)[:1])
        return np.concatenate([compute(rows).numpy() for _, rows in self._batches(feed)])

    def _batches(self, feed: Feed) -> Iterator[tuple[Array, Any]]:
        """Labels and activations, photo by photo in their order."""
        n = len(feed.labels)
        picks = [
            (
                np.arange(i, min(i + EVALUATION_BATCH, n)),
                np.zeros(min(EVALUATION_BATCH, n - i), int),
            )
            for i in range(0, n, EVALUATION_BATCH)
        ]
        for (positions, _), rows in zip(picks, feed.stream(picks), strict=True):
            yield feed.labels[positions], _input(self._tail, rows)
            signals.raise_if_interrupted()

    def _logits(self, x: Any) -> Any:
        return self._head(self._tail(x, training=False), training=False)

    def _add(self, x: Any, labels: Any) -> None:
        logits = self._logits(x)
        self._tally.add(labels, logits, cross_entropy(labels, logits, 0.0))


def set_trainable(network: Network, planned: StagePlan, recipe: Recipe) -> list[Variable]:
    """Have the network train what the plan of a stage says; returns the trainable variables.

    Nothing else sets the flags of layers, which are part of a saved model. Raises `RunError` where
    the plan counts other parameters.
    """
    stage = planned.stage
    variables = network.freeze(
        stage.freeze_until, batch_norm=recipe.base.batch_norm, first=stage.unfreeze_from
    )
    count = sum(math.prod(variable.shape) for variable in variables)
    if count != planned.trainable:
        message = f"{count:,} parameters would train, the plan says {planned.trainable:,}"
        raise RunError(Problem(f"stage '{stage.name}'", message, "report this bug of tlcli"))
    return variables


class Trainer:
    """The compiled training step of one stage; `variables` are those of `set_trainable`."""

    def __init__(
        self, network: Network, planned: StagePlan, recipe: Recipe, variables: list[Variable],
        replicas: Replicas = ALONE, methods: StepMethods = PLAIN,
    ) -> None:  # fmt: skip
        stage = planned.stage
        self._variables, self._replicas = variables, replicas
        self._tail, self._head = network.tail(planned.cut.name), network.head
        self._forward = network.training_tail(planned.cut.name)
        self._smoothing = stage.label_smoothing
        self._class_weights = np.asarray(planned.class_weights, np.float32)
        with replicas.scope():
            made = make_optimizer(
                stage.optimizer, stage.learning_rate, recipe.precision,
                clip_norm=stage.clip_norm, factors=rate_factors(network, planned),
                fused=methods.fused_adam,
            )  # fmt: skip
            self._optimizer = replicas.adopt(made)
            self._optimizer.build(self._variables)
        self._tally = _Tally(network.head.output.shape[-1], replicas)
        self._gamma = stage.loss.power if stage.loss.name == "focal" else None
        self._pull = Pull(network, stage.l2_sp) if stage.l2_sp else None
        self._average = None
        if stage.ema:
            weights = averaged_weights(network, planned.cut.name)
            self._average = MovingAverage(stage.ema, weights)
        self._steps = planned.steps
        self._augment, self._mixed = recipe.augment, mixing.mixes_photos(recipe.augment)
        self._seed, self._stage, self._shape = recipe.seed, stage.name, recipe.base.image_size
        signature = _signature(self._tail)
        layers = network.layers_above(planned.cut.name)
        self._step = replicas.compile(
            self._train_mixed if self._mixed else self._train,
            [*signature, *signature[1:], signature[2]] if self._mixed else signature,
            lambda: fast_gradients(
                layers,
                methods.kernel_products,
                wide_depthwise=methods.wide_depthwise,
                pointwise=methods.pointwise,
            ),
        )

    @property
    def state(self) -> list[Variable]:
        """Steps, rate and momentum, and averages of weights: all that steps remember."""
        averages = self._average.variables if self._average else []
        return [*self._optimizer.variables, *averages]

    @property
    def averages(self) -> bool:
        """Whether epochs are judged by averages of the weights."""
        return self._average is not None

    def judged(self) -> AbstractContextManager[None]:
        """Have the network the weights that an epoch is judged by meanwhile."""
        return self._average.in_place() if self._average else nullcontext()

    def last_rate(self, rate: Rate, epoch: int) -> float:
        """The learning rate of the last step of an epoch."""
        return rate.at(epoch, self._steps - 1)

    def train_epoch(
        self, feed: Feed, picks: list[Pick], rate: Rate, epoch: int, bar: console.Progress
    ) -> Means:
        """One pass over `picks`: the score of each batch before the step it leads to.

        Where photos are mixed, the accuracy counts the label of which there is most.
        """
        weights = self._class_weights[feed.labels]
        mixes = [self._mix(epoch, step, len(pick[0])) for step, pick in enumerate(picks)]
        read = self._replicas.own_picks(picks, mixed=self._mixed)
        batches = zip(picks, mixes, feed.stream(read, mixes), strict=True)
        for step, ((positions, _), mix, rows) in enumerate(batches):
            if not step or not rate.constant:
                self._optimizer.learning_rate = rate.at(epoch, step)
            x = _input(self._tail, rows)
            inputs = [feed.labels[positions], weights[positions]]
            if mix is not None:
                partners = positions[mix.partners]
                inputs += [feed.labels[partners], weights[partners], mix.shares]
            self._step(x, *map(tf.convert_to_tensor, inputs))
            bar.update(len(positions))
            signals.raise_if_interrupted()
        return self._tally.take()

    def _mix(self, epoch: int, step: int, count: int) -> Mix | None:
        if not self._mixed:
            return None
        at = mixing.Step(self._seed, self._stage, epoch, step)
        return mixing.draw_mix(self._augment, at, count, self._shape)

    def _train(self, x: Any, labels: Any, weights: Any) -> None:
        def losses_of(logits: Any) -> Any:
            return weights * self._loss(labels, logits)

        self._descend(x, labels, losses_of)

    def _train_mixed(
        self, x: Any, labels: Any, weights: Any, others: Any, other_weights: Any, shares: Any
    ) -> None:
        # Cross-entropy is linear in its target, so that of a soft label is a sum of two.
        def losses_of(logits: Any) -> Any:
            own = weights * self._loss(labels, logits)
            other = other_weights * self._loss(others, logits)
            return shares * own + (1 - shares) * other

        self._descend(x, tf.where(shares >= 0.5, labels, others), losses_of)

    def _loss(self, labels: Any, logits: Any) -> Any:
        if self._gamma is not None:
            return focal_loss(labels, logits, self._gamma)
        return cross_entropy(labels, logits, self._smoothing)

    def _descend(self, x: Any, labels: Any, losses_of: Callable[[Any], Any]) -> None:
        with tf.GradientTape() as tape:
            # Of the base only batch norm may be in training mode, where the recipe says so; dropout
            # of the head is on.
            logits = self._replicas.forward(
                lambda rows: self._head(self._forward(rows), training=True), x
            )
            losses = losses_of(logits)
            total = self._replicas.mean(losses) + self._replicas.part(sum(self._head.losses))
            total = total + self._pull.penalty() if self._pull else total
            total = self._optimizer.scale_loss(total)
        gradients = self._replicas.sum_gradients(tape.gradient(total, self._variables))
        self._optimizer.apply(gradients, self._variables)
        if self._average:
            self._average.update()
        self._tally.add(labels, logits, losses)


def _signature(tail: Any) -> list[Any]:
    """One compiled function serves batches of every size: activations, labels, weights."""
    activations = tf.TensorSpec(tail.inputs[0].shape, tail.inputs[0].dtype)
    return [activations, tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)]


def _input(tail: Any, rows: Array) -> Any:
    return tf.cast(tf.convert_to_tensor(rows), tail.inputs[0].dtype)
