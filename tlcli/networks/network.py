"""A base with a head: build it, cut it at a boundary, freeze a part of it, run it.

All parts share one graph and its variables. For the output t of a boundary layer,

    pixels --trunk--> t --tail--> top of the base --head--> logits --> probabilities

`trunk`, `between` and `tail` are models over intermediate tensors of the same layers, so that
tail(trunk(x)) equals base(x) bit for bit, and what a stage trains is at once part of `whole`. Where
a head takes features of several boundaries, the tail ends in the means over space of them all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.bases import PretrainedBase
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.checksums import compute_checksums
from tlcli.networks.conversion import copy_in_float32
from tlcli.networks.folding import fold_batch_norm
from tlcli.networks.framework import has_onednn, keras, tf
from tlcli.networks.heads import HeadSettings, add_head
from tlcli.system.machine import has_avx2_alone

#: A Keras model, layer or variable; Keras has no type hints that help.
Model = Any
Layer = Any
Variable = Any
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A base with a head on it, as one model and cut into parts.

    Attributes:
        row: the row of the table of bases.
        base: raw RGB pixels 0..255, shape (n, height, width, 3) -> the base's output.
        features: what the head takes: the output of the base, or the means over space of several
            boundaries, (n, 1, 1, channels of all).
        head: these -> logits, shape (n, 1) for two classes, else (n, classes).
        whole: pixels -> probabilities of the same shape; what a run saves.
        start: the pretrained weights of layers by name, where training is to remember them.
    """

    row: PretrainedBase
    base: Model
    features: Any
    head: Model
    whole: Model
    start: Mapping[str, Sequence[Array]] = field(default_factory=dict)

    @cached_property
    def in_float32(self) -> Model:
        """`whole`, every layer computing in float32: itself, or a copy of its weights as they are
        when it is first asked for."""
        layers = [layer for layer in self.whole.layers if isinstance(layer, keras.Layer)]
        if all(layer.compute_dtype == "float32" for layer in layers):
            return self.whole
        return copy_in_float32(self.whole)

    @cached_property
    def _own_layers(self) -> list[Layer]:
        """The base's layers from the bottom up, in the order of the graph."""
        return [self.base.get_layer(name) for name in self.row.layers]

    def shape(self, boundary: str) -> tuple[int, ...]:
        """Shape of one row of activations at a boundary."""
        return tuple(self._tensor(boundary).shape[1:])

    def trunk(self, boundaries: Sequence[str]) -> Model:
        """Pixels -> a list with the activations at each boundary; for one boundary, those alone."""
        return keras.Model(self.base.input, [self._tensor(name) for name in boundaries])

    def between(self, low: str, highs: Sequence[str]) -> Model:
        """Activations at `low` -> those at the higher boundaries, as from `trunk`."""
        return keras.Model(self._tensor(low), [self._tensor(name) for name in highs])

    def pooled(self, low: str | None, highs: Sequence[str]) -> Model:
        """Pixels, or activations at `low` -> means over space at each of `highs`, (n, channels).

        They are float32 in every precision. `low` may be the first of `highs` itself.
        """
        start = self.base.input if low is None else self._tensor(low)
        mean = keras.layers.GlobalAveragePooling2D
        return keras.Model(start, [mean(dtype="float32")(self._tensor(name)) for name in highs])

    def tail(self, boundary: str) -> Model:
        """Activations at `boundary` -> what the head takes; at the top that is the identity."""
        if boundary == self.row.top.name:
            top = keras.Input(self.base.output.shape[1:], dtype=self.base.output.dtype)
            return keras.Model(top, keras.layers.Identity(dtype=top.dtype)(top))
        return keras.Model(self._tensor(boundary), self.features)

    def training_tail(self, boundary: str) -> Callable[[Any], Any]:
        """The tail as a training step calls it: only batch norm that trains is in training mode.

        Which layers those are is what `freeze` has set. All others stay in inference mode: batch
        norm that is frozen, and the dropout and stochastic depth that some bases have inside.
        """
        tail = self.tail(boundary)
        norms = (keras.layers.BatchNormalization,)
        if not any(isinstance(layer, norms) and layer.trainable for layer in tail.layers):
            return lambda x: tail(x, training=False)

        def call(operation: Any, *args: Any, **options: Any) -> Any:
            if "training" in inspect.signature(operation.call).parameters:
                options["training"] = isinstance(operation, norms) and operation.trainable
            return operation(*args, **options)

        # A graph of the same layers, in which the mode of each is part of its call.
        graph: Callable[[Any], Any] = keras.models.clone_model(
            tail, clone_function=lambda layer: layer, call_function=call
        )
        return graph

    def freeze(
        self, boundary: str | None, *, batch_norm: str = "frozen", first: str | None = None
    ) -> list[Variable]:
        """Freeze up to `boundary` (`None`: the whole base) and return the trainable variables.

        With `first`, the name of a layer, those below that layer are frozen, too.

        The flag of every layer is set, since setting `trainable` of a model overwrites that of all
        its layers. Batch norm of the base stays frozen, scale and shift included, unless
        `batch_norm` is 'train': a frozen layer runs in inference mode, so that statistics of
        ImageNet are neither replaced by those of small batches nor slowly forgotten.
        """
        above = set() if boundary is None else {id(layer) for layer in self.layers_above(boundary)}
        if first is not None:
            above -= {id(layer) for layer in self._own_layers[: self.row.layers.index(first)]}
        for layer in self._own_layers:
            is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
            train = id(layer) in above and not (is_batch_norm and batch_norm == "frozen")
            layer.trainable = train
        variables = [v for layer in self._own_layers for v in layer.trainable_variables]
        return variables + list(self.head.trainable_variables)

    def layers_above(self, boundary: str) -> list[Layer]:
        """The base's layers after `boundary`."""
        if boundary == PIXELS:
            return list(self._own_layers)
        return self._own_layers[self.row.layers.index(boundary) + 1 :]

    def checksums(self, boundaries: Iterable[str]) -> dict[str, str]:
        """Of the weights up to and including each boundary: see `checksum_layers`."""
        return checksum_layers(self._own_layers, boundaries)

    def weights_above(self, boundary: str) -> list[Variable]:
        """The weights above `boundary`, the head's included: what training can change."""
        variables = [v for layer in self.layers_above(boundary) for v in layer.weights]
        return variables + list(self.head.weights)

    def variables_above(self, boundary: str) -> list[Variable]:
        """`weights_above`, then the seed generators of the dropout layers above `boundary`.

        Keras counts the seed generators of layers as variables, not as weights.
        """
        weights = self.weights_above(boundary)
        weight_ids = {id(variable) for variable in weights}
        layers = [*self.layers_above(boundary), self.head]
        others = {id(v): v for layer in layers for v in layer.variables if id(v) not in weight_ids}
        return weights + list(others.values())

    def _tensor(self, boundary: str) -> Any:
        return self.base.get_layer(boundary).output


def build_network(
    row: PretrainedBase,
    image_size: tuple[int, int],
    head: HeadSettings,
    classes: int,
    *,
    seed: int,
    precision: str = "float32",
    tapped: Sequence[str] = (),
) -> Network:
    """A base with random weights and a new head, both drawn from `seed`.

    Two classes get one sigmoid unit, more get softmax. `precision` is that of the base; the head,
    whose work is small beside it, computes in float32 in every precision, and so does the output.
    `tapped` are the boundaries whose means over space the head takes; without any, it takes the
    output of the base.
    """
    base = row.build(image_size, seed=seed, precision=precision)
    features = _join_means(base, tapped) if tapped else base.output
    return join(row, base, features, add_head(features, head, classes, seed=seed))


def _join_means(base: Model, tapped: Sequence[str]) -> Any:
    """The means over space at some boundaries, one after the other, (n, 1, 1, channels of all)."""
    means = [
        keras.layers.GlobalAveragePooling2D(
            keepdims=True, name=f"head_{name}", dtype="float32"
        )(base.get_layer(name).output)
        for name in tapped
    ]  # fmt: skip
    return keras.layers.Concatenate(name="head_features", dtype="float32")(means)


def join(row: PretrainedBase, base: Model, features: Any, logits: Any) -> Network:
    """The network of a base and the logits that a head computes of its features."""
    activation = "sigmoid" if logits.shape[-1] == 1 else "softmax"
    probabilities = keras.layers.Activation(activation, dtype="float32", name="probabilities")
    whole = keras.Model(base.input, probabilities(logits), name=row.name.lower())
    return Network(row, base, features, keras.Model(features, logits, name="head"), whole)


def forward_batch() -> int:
    """How many photos go through a network at once, where a row must not depend on its place.

    Without oneDNN, TensorFlow's matrix products (Eigen's) take rows in groups of three vectors: 12,
    24 or 48, by the processor. What is left at the end of a batch is computed by other
    instructions, with other last bits. In 48 photos nothing is left, whatever their size. oneDNN
    does alike with AVX2, and not with AVX-512.
    """
    return 32 if has_onednn() and not has_avx2_alone() else 48


def compile_forward(model: Any, batch_size: int) -> Callable[[Any], list[Array]]:
    """The compiled forward pass of a model, in inference mode: rows in, a list of outputs.

    Batch norm is folded into convolutions, with the weights of now (`folding`). The pass runs in
    batches of `batch_size`, the last one filled up with zeros. So only one shape is compiled, and
    the result for a row does not depend on how many rows are computed with it. Of no rows it gives
    none, which a copy of the network may have of a small batch.
    """
    folded = fold_batch_norm(model)
    call = tf.function(lambda x: folded(x, training=False), reduce_retracing=True)

    def batch(x: Array) -> list[Array]:
        count = len(x)
        if count < batch_size:
            x = np.concatenate([x, np.zeros((batch_size - count, *x.shape[1:]), x.dtype)])
        outputs = call(tf.convert_to_tensor(x))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [output.numpy()[:count] for output in outputs]

    def run(x: Any) -> list[Array]:
        rows = np.asarray(x)
        begins = range(0, max(len(rows), 1), batch_size)
        parts = [batch(rows[i : i + batch_size]) for i in begins]
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]
        )

    return run


def checksum_layers(layers: Iterable[Layer], boundaries: Iterable[str]) -> dict[str, str]:
    """See `compute_checksums`; `layers` are those of a base from the bottom up."""
    values = (
        (layer.name, ((variable.name, variable.numpy()) for variable in layer.weights))
        for layer in layers
    )
    return compute_checksums(values, boundaries)
