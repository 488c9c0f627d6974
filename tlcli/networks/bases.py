"""The table of bases: sizes, pixel conventions, clean boundaries, and how each base is built.

`BASES` has what people decided. What follows from the networks themselves is measured by
`scripts/boundaries.py` and kept in `boundaries.json`, so that names, shapes and parameter counts
are known in milliseconds, without TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from tlcli.errors import BoundaryError, Problem, suggestion
from tlcli.networks.blocks import BaseBlock, find_blocks
from tlcli.networks.boundaries import NO_LAYER, PIXELS, Boundary, FirstLayer, LayerNames
from tlcli.networks.preprocessing import PixelConvention, preprocess
from tlcli.networks.scratch import OwnHead, build_layers

#: Boundaries that are named where one leaves nothing to train.
NEXT_LOWER = 2


@dataclass(frozen=True)
class PretrainedBase:
    """A convolutional network without its classifier, pretrained or to be trained from scratch."""

    name: str
    #: Pixels on a side of the images it was trained on, and the fewest it can take.
    native_size: int
    smallest_size: int
    convention: PixelConvention
    #: The boundary to freeze to for fine-tuning the last block; None if no clean one is useful.
    default_boundary: str | None
    #: The head that the network comes with; None for a pretrained base, whose head is always new.
    head: OwnHead | None = None

    @property
    def pretrained(self) -> bool:
        """Whether there are weights of ImageNet; all others are trained from scratch alone."""
        return self.head is None

    @property
    def parameters(self) -> int:
        """Weights of the base, as in a weights file without the classifier."""
        return int(_measured()[self.name]["parameters"])

    @property
    def parameters_with_classifier(self) -> int:
        """Weights of the whole network with its 1,000 ImageNet classes, if it is pretrained."""
        return int(_measured()[self.name]["parameters_with_classifier"])

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers in topological order, without the input."""
        return tuple(_measured()[self.name]["layers"])

    @property
    def has_dropout(self) -> bool:
        """Whether it has dropout or stochastic depth inside, which draw in training mode."""
        return bool(_measured()[self.name]["dropout"])

    @property
    def batch_norm_momentum(self) -> float | None:
        """What its batch norm keeps of its statistics in a step, the most; None without any."""
        return cast(float | None, _measured()[self.name]["momentum"])

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The clean boundaries, bottom to top, the pixels first."""
        pixels, *layers = [Boundary(*row) for row in _measured()[self.name]["boundaries"]]
        above_next = [boundary.trainable_above for boundary in layers[1:]] + [-1]
        # Where only preprocessing lies between, the rows of pixels are the smaller ones.
        idle = {
            boundary.name
            for boundary, next_one in zip(layers, above_next, strict=True)
            if boundary.trainable_above in (next_one, pixels.trainable_above)
        }
        idle.discard(str(self.default_boundary))
        return (
            pixels,
            *(replace(layer, practical=False) if layer.name in idle else layer for layer in layers),
        )

    @cached_property
    def blocks(self) -> tuple[BaseBlock, ...]:
        """The blocks that have weights to train, bottom to top."""
        return find_blocks(self.layers, self.boundaries, _measured()[self.name]["trainable"])

    @property
    def top(self) -> Boundary:
        """The last boundary: the output of the base."""
        return self.boundaries[-1]

    def boundary(
        self, name: str, *, where: str = "freeze_until", line: str = "freeze_until: {}"
    ) -> Boundary:
        """The clean boundary `name`, or that of the pixels for `NO_LAYER`.

        Raises `BoundaryError`, placed at `where`, for other names; see `explain_boundary`.
        """
        proper = PIXELS if name == NO_LAYER else name
        for boundary in self.boundaries:
            if boundary.name == proper:
                return boundary
        raise BoundaryError(Problem(where, *self.explain_boundary(name, line)))

    def first_layer(self, name: Any, *, where: str = "unfreeze_from") -> FirstLayer:
        """Where to cut so that the layer `name` is the first that trains.

        Raises `BoundaryError`, placed at `where`, for a name that is no layer with weights above.
        """
        first = self._layer_names.first_layer(name) if isinstance(name, str) else None
        if first is None:
            raise BoundaryError(Problem(where, *self._layer_names.explain_first_layer(name)))
        return first

    def trained_parameters(
        self, freeze_until: str | None, unfreeze_from: str | None, batch_norm: str
    ) -> int:
        """Parameters of the base that a stage trains: above a boundary, from a layer of it on.

        `batch_norm` is that of the recipe.
        """
        if freeze_until is None:
            return 0
        count = self.boundary(freeze_until).trainable(batch_norm)
        for layer in self.first_layer(unfreeze_from).between if unfreeze_from else ():
            kernels, in_norm = _measured()[self.name]["trainable"][layer]
            count -= int(kernels + (in_norm if batch_norm == "train" else 0))
        return count

    def explain_boundary(self, value: Any, line: str = "freeze_until: {}") -> tuple[str, str]:
        """What is wrong with a value that is no clean boundary, as `LayerNames.explain` says it."""
        return self._layer_names.explain(value, line)

    def lower_boundaries(self, name: str, batch_norm: str) -> list[str]:
        """The next boundaries below `name` that leave more to train, the default one included.

        Of those that leave the same kernels it is the highest; `batch_norm` is that of the recipe.
        """
        order = [boundary.name for boundary in self.boundaries]
        at = order.index(name)
        now = self.boundaries[at].trainable(batch_norm)
        lower = [
            boundary.name
            for boundary in reversed(self.boundaries[:at])
            if boundary.practical and boundary.trainable(batch_norm) > now
        ]
        default = [self.default_boundary] if self.default_boundary in lower[NEXT_LOWER:] else []
        return [*lower[:NEXT_LOWER], *map(str, default)]

    @property
    def _layer_names(self) -> LayerNames:
        # With ImageNet's weights Keras puts one more layer in front of EfficientNets.
        in_front = 2 if self.convention == "efficientnet" else 1
        weighted, added = (_measured()[self.name][part] for part in ("trainable", "classifier"))
        return LayerNames(self.name, self.layers, weighted, self.boundaries, tuple(added), in_front)

    def preprocess(self, x: Any) -> Any:
        """Turn raw RGB pixels 0..255 into those that the base expects: see `preprocessing`."""
        return preprocess(x, self.convention)

    def build(
        self,
        image_size: tuple[int, int],
        *,
        seed: int | None = None,
        precision: str = "float32",
    ) -> Any:
        """The base as one flat functional model: pixels, preprocessing, the layers of the base.

        The input `pixels` is float32 (n, *image_size, 3), raw RGB 0..255. Weights are random, and
        the same each time with a `seed`, which also seeds Python, NumPy and TensorFlow.
        `load_weights` of the result takes any weights file of the base without its classifier.
        `precision` is a Keras dtype policy. Layer names are those of the table, whatever was built
        before.
        """
        from tlcli.networks.framework import keras, tf

        # The numbers in names such as `conv2d_3` count from the last clearing. It would end the
        # block of a strategy, before which the session was cleared.
        if not tf.distribute.has_strategy():
            keras.utils.clear_session(free_memory=False)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        try:
            pixels = keras.Input((*image_size, 3), dtype="float32", name="pixels")
            top = self._layers_on(self.preprocess(pixels))
        finally:
            keras.config.set_dtype_policy(before)
        return keras.Model(pixels, top, name=self.name.lower())

    def build_plain(self, image_size: tuple[int, int]) -> Any:
        """The layers of the base alone, without preprocessing, on an input of their own."""
        from tlcli.networks.framework import keras

        keras.utils.clear_session(free_memory=False)
        pixels = keras.Input((*image_size, 3))
        return keras.Model(pixels, self._layers_on(pixels))

    def _layers_on(self, x: Any) -> Any:
        """The output of the base's layers on a tensor of pixels in its convention."""
        from tlcli.networks.framework import keras

        if not self.pretrained:
            return build_layers(self.name, x)
        builder = getattr(keras.applications, self.name)
        return builder(include_top=False, weights=None, input_tensor=x).output


def _by_name(*rows: PretrainedBase) -> Mapping[str, PretrainedBase]:
    return MappingProxyType({row.name: row for row in rows})


#: All bases by name, in the order in which they are listed.
BASES: Mapping[str, PretrainedBase] = _by_name(
    PretrainedBase("VGG16", 224, 32, "caffe", "block4_pool"),
    PretrainedBase("VGG19", 224, 32, "caffe", "block4_pool"),
    PretrainedBase("ResNet50", 224, 32, "caffe", "conv4_block6_out"),
    PretrainedBase("ResNet101", 224, 32, "caffe", "conv4_block23_out"),
    PretrainedBase("ResNet152", 224, 32, "caffe", "conv4_block36_out"),
    PretrainedBase("ResNet50V2", 224, 32, "tf", "conv4_block6_out"),
    PretrainedBase("InceptionV3", 299, 75, "tf", "mixed7"),
    PretrainedBase("InceptionResNetV2", 299, 75, "tf", "mixed_7a"),
    # The end of the middle flow: what is left to train is the exit flow, blocks 13 and 14. After
    # add_11, block 13 with the last halving of the resolution would stay frozen.
    PretrainedBase("Xception", 299, 71, "tf", "add_10"),
    PretrainedBase("MobileNet", 224, 32, "tf", "conv_pw_11_relu"),
    PretrainedBase("MobileNetV2", 224, 32, "tf", "block_12_add"),
    PretrainedBase("MobileNetV3Large", 224, 32, "raw", "expanded_conv_11_add"),
    PretrainedBase("MobileNetV3Small", 224, 32, "raw", "expanded_conv_7_add"),
    PretrainedBase("DenseNet121", 224, 32, "torch", "pool4_pool"),
    PretrainedBase("EfficientNetB0", 224, 32, "efficientnet", "block5c_add"),
    PretrainedBase("EfficientNetV2B0", 224, 32, "raw", "block5e_add"),
    PretrainedBase("EfficientNetV2S", 384, 32, "raw", "block5i_add"),
    # Its residual sums are bare operations, not layers with weights and names of their own, so the
    # downsampling layers are the only places between its stages.
    PretrainedBase("ConvNeXtTiny", 224, 32, "raw", "convnext_tiny_downsampling_block_2"),
    # Each cell reads the two cells before it, so nothing between stem and output is clean.
    PretrainedBase("NASNetMobile", 224, 32, "tf", None),
    PretrainedBase("CifarConvNet", 32, 18, "unit", PIXELS, OwnHead("flatten", (64,), 0.0)),
    PretrainedBase("LeNet5", 28, 12, "unit", PIXELS, OwnHead("flatten", (120, 84), 0.0)),
    PretrainedBase("SmallConvNet", 150, 46, "unit", PIXELS, OwnHead("flatten", (512,), 0.5)),
    PretrainedBase("SmallResNet", 32, 8, "unit", PIXELS, OwnHead("avg", (), 0.0)),
)

#: Those of which there are weights of ImageNet.
PRETRAINED: Mapping[str, PretrainedBase] = _by_name(
    *(row for row in BASES.values() if row.pretrained)
)


def names() -> Sequence[str]:
    """The names of all bases, in the order of the table."""
    return tuple(BASES)


def lookup(name: str) -> PretrainedBase | None:
    """The base of that name, letter case ignored, or None."""
    return next((base for base in BASES.values() if base.name.lower() == name.lower()), None)


def unknown_base(name: str, where: str, *, where_has_name: bool = False) -> Problem:
    """The problem of a name, given at `where`, that is not in the table: with its near miss.

    The message leaves the name out if `where` has it already.
    """
    message = (
        "is not a base tlcli knows" if where_has_name else f"'{name}' is not a base tlcli knows"
    )
    return Problem(where, message, suggestion(name, names(), most=len(BASES)))


def without_weights(row: PretrainedBase, where: str) -> Problem:
    """The problem of a base, named or implied at `where`, whose weights somebody asks for."""
    hint = "it is trained from scratch, with `weights: random`"
    return Problem(where, f"{row.name} has no pretrained weights", hint)


def identify_by_parameters(count: int) -> tuple[PretrainedBase, bool] | None:
    """The pretrained base that has `count` weights, and whether with its classifier; or None."""
    for base in PRETRAINED.values():
        if count in (base.parameters, base.parameters_with_classifier):
            return base, count == base.parameters_with_classifier
    return None


@cache
def _measured() -> dict[str, dict[str, Any]]:
    """The contents of `boundaries.json`; `scripts/boundaries.py` says what it holds."""
    text = Path(__file__).with_name("boundaries.json").read_text("utf-8")
    tables: dict[str, dict[str, Any]] = json.loads(text)
    return tables
