"""A network opened for explanation: its layers by name, and its scores before softmax or sigmoid.

Layers and scores are searched in the graph itself, so that every base is covered, with the head of
a run or with its ImageNet classifier, as trained or read back from a file. Unless another precision
is asked for, explanations are computed in float32, whatever the precision of training: gradients
of half precision lose their small values, and bfloat16 has two to three digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tlcli.errors import Problem, RunError, TlcliError, suggestion
from tlcli.evaluation.calibration import RAW, Calibration, model_calibration
from tlcli.images.loader import PixelSettings
from tlcli.networks import bases
from tlcli.networks.framework import keras
from tlcli.networks.probabilities import class_logits
from tlcli.pretrained.weights import WeightSource, load_weights
from tlcli.runs.directory import MODEL
from tlcli.runs.model_file import find_logits, open_model, read_card

Array = npt.NDArray[Any]
#: Types of Keras, which has no useful type hints.
Model = Any
Layer = Any
Tensor = Any

#: Layers whose input is a grid of activations and whose output is not.
_COLLAPSING = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
)
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


class UnknownName(TlcliError):
    """A layer or class that the network does not have."""


@dataclass(frozen=True)
class ExplainedModel:
    """A network to look into.

    Attributes:
        name: in messages: the path of a model, or the name of a base.
        row: of the table of bases: the base that it is, or is built on.
        model: raw RGB pixels 0..255, float32 (n, height, width, 3) -> its output.
        pixel_settings: how photos become those pixels.
        logits: the tensor of scores, shape (n, 1) for two classes, else (n, classes); None for a
            base without classifier.
        classes: their names, in the order of the scores.
        calibration: that in force, so that probabilities are those of `predict`.
        precision: that the base computes in.
    """

    name: str
    row: bases.PretrainedBase
    model: Model
    pixel_settings: PixelSettings
    logits: Tensor = None
    classes: tuple[str, ...] = ()
    calibration: Calibration = RAW
    precision: str = "float32"

    @property
    def title(self) -> str:
        """Its name in pictures: that of the run, or of the base."""
        path = Path(self.name)
        return path.resolve().parent.name if path.name == MODEL else path.name

    @property
    def grids(self) -> dict[str, Layer]:
        """The layers with activations of shape (n, height, width, channels), bottom to top."""
        return {
            layer.name: layer
            for layer in self.model.layers
            if not isinstance(layer, keras.layers.InputLayer) and len(layer.output.shape) == 4
        }

    def grid(self, name: str, where: str = "--layer") -> Layer:
        """The layer `name`; raises `UnknownName` for one without a grid of activations."""
        grids = self.grids
        if name in grids:
            return grids[name]
        for layer in self.model.layers:
            if layer.name == name:
                shape = " x ".join(map(str, layer.output.shape[1:]))
                message = f"'{name}' gives {shape} numbers, not a grid of activations"
                hint = f"use one of the layers below it, such as '{self.last_block}'"
                raise UnknownName(Problem(where, message, hint))
        hint = suggestion(name, list(grids)[::-1])  # users mostly mean the upper layers
        raise UnknownName(Problem(where, f"{self.name} has no layer '{name}'", hint))

    @property
    def last_block(self) -> str:
        """The layer that ends the last convolutional block.

        Going down from the output while each step has one input, the lowest layer that ends the
        grid (a global pooling or a flattening; a classifier may have several) reads the top of the
        base. If that is a pooling layer, the layer below it is taken, which has the same channels
        on a finer grid: VGG16's is `block5_conv3`.
        """
        top = self.model.outputs[0] if self.logits is None else self.logits
        for layer, below in _layers_below(top):
            if isinstance(layer, _COLLAPSING):
                top = below
        for layer, below in _layers_below(top):
            if not isinstance(layer, _POOLING):
                break
            top = below
        return str(top._keras_history.operation.name)

    def probabilities(self, logits: Array) -> Array:
        """Logits -> probabilities, float64, shape (n, classes)."""
        return self.calibration.apply(class_logits(logits))

    def class_number(self, name: str, where: str = "--class") -> int:
        """The number of a class among the scores; raises `UnknownName` for a name that is none."""
        if name in self.classes:
            return self.classes.index(name)
        message = f"'{name}' is not a class of {self.name}"
        raise UnknownName(Problem(where, message, suggestion(name, self.classes)))


def open_run(path: Path, *, raw: bool = False, precision: str = "float32") -> ExplainedModel:
    """The model of a run, from the `model.keras` that tlcli has written.

    Its probabilities are calibrated unless `raw`; its base computes in `precision`. Raises
    `RunError` for a file that is damaged or not laid out as tlcli's models are.
    """
    card = read_card(path)
    hint = "only models written by tlcli can be looked into"
    row = bases.lookup(str(card.get("base")))
    if row is None:
        raise RunError(Problem(str(path), "does not say which base it is built on", hint))
    model = open_model(path, card, precision)
    logits = find_logits(model, path)
    classes = tuple(card["classes"])
    settings = PixelSettings.from_card(card)
    calibration = model_calibration(path, card, raw=raw).without_threshold()
    return ExplainedModel(str(path), row, model, settings, logits, classes, calibration, precision)


def open_base(
    row: bases.PretrainedBase, source: WeightSource, size: Sequence[int] | None = None
) -> ExplainedModel:
    """A base without classifier at `size` (height, width), by default its native one."""
    height, width = size or (row.native_size, row.native_size)
    # A seed, so that random weights are the same ones each time.
    model = row.build((height, width), seed=0)
    load_weights(model, row, source)
    return ExplainedModel(row.name, row, model, PixelSettings(height, width, "squash"))


def _layers_below(tensor: Tensor) -> Iterator[tuple[Layer, Tensor]]:
    """The operations below a tensor with what each reads, as long as each reads one tensor."""
    while True:
        operation, node, _ = tensor._keras_history
        inputs = operation._inbound_nodes[node].input_tensors
        if len(inputs) != 1:
            return
        yield operation, inputs[0]
        tensor = inputs[0]
