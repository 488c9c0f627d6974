"""The convolutions of an ONNX file, read without the `onnx` package.

An ONNX file is one protobuf message. Four kinds of message (model, graph, node and tensor) with a
dozen fields are enough to read weights, so this small reader of the wire format replaces a
dependency. Field numbers are those of onnx.proto 3, which never change. Nothing is executed, every
length is checked against the bytes of the file, and arrays are views until they are copied out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tlcli.pretrained.tensors import Tensors, WeightedLayer, is_chain

#: More nodes or tensors than any network of images has.
MAX_ITEMS = 100_000
_FLOAT32 = 1
Array = npt.NDArray[np.float32]


class NotONNXError(ValueError):
    """The bytes are not a complete ONNX model."""


@dataclass
class _Tensor:
    name: str = ""
    shape: list[int] = field(default_factory=list)
    type: int = 0
    raw: memoryview | None = None
    external: bool = False

    def array(self) -> Array:
        """Its values; raises ValueError if they are not float32 numbers in this file."""
        if self.external:
            raise ValueError("it keeps its tensors in other files")
        size = math.prod(self.shape)
        if self.type != _FLOAT32 or self.raw is None or len(self.raw) != 4 * size:
            raise ValueError(f"its tensor '{self.name}' is not float32")
        return np.frombuffer(self.raw, dtype="<f4").reshape(self.shape)


@dataclass(frozen=True)
class _Unit:
    """A convolution or batch norm, with the names of its tensors in the order of the node."""

    kind: str
    inputs: tuple[str, ...]

    def prefix_before(self, layer: str) -> str | None:
        """The `model/` of a tensor named after a layer, `model/conv1_conv/kernel`; else None."""
        for name in self.inputs:
            parts = name.replace(":", "/").split("/")
            if layer in parts:
                return "".join(f"{part}/" for part in parts[: parts.index(layer)])
        return None


class ONNXGraph:
    """The convolutions and batch norms of an ONNX model, with their tensors.

    Raises `NotONNXError` for bytes that are no ONNX model, or not a complete one.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._tensors: dict[str, _Tensor] = {}
        self._units: list[_Unit] = []
        graphs = [value for number, value in _fields(memoryview(data)) if number == 7]
        if len(graphs) != 1 or not isinstance(graphs[0], memoryview):
            raise NotONNXError("it holds no graph")
        for count, (number, value) in enumerate(_fields(graphs[0])):
            if count > MAX_ITEMS:
                raise NotONNXError(f"it has more than {MAX_ITEMS:,} parts")
            if number == 1:
                self._add_node(_message(value))
            elif number == 5:
                tensor = _tensor(_message(value))
                self._tensors[tensor.name] = tensor

    def _add_node(self, node: memoryview) -> None:
        inputs, kind = [], ""
        for number, value in _fields(node):
            if number == 1:
                inputs.append(_text(value))
            elif number == 4:
                kind = _text(value)
        if kind in ("Conv", "BatchNormalization"):
            self._units.append(_Unit(kind, tuple(inputs[1:])))

    def tensors(self, layers: Sequence[WeightedLayer]) -> Tensors:
        """The tensors of a base, in Keras' axes; raises ValueError where they do not match.

        Layers are matched by name where the file carries their names, and otherwise by their order.
        Order is enough in a chain such as VGG16. In a network with branches it is not: in
        ResNet50 the shortcut and the last convolution of a block have the same shape, and an
        exporter may write either first.
        """
        kinds = {layer.kind for layer in layers}
        if not kinds <= {"conv2d", "depthwise_conv2d", "batch_normalization"}:
            raise ValueError("it is ONNX, and this base has layers that ONNX spells differently")
        norms = [unit for unit in self._units if unit.kind == "BatchNormalization"]
        if "batch_normalization" in kinds and not norms:
            raise ValueError("its batch norm is folded into the convolutions")
        for suffix in ("", "_1"):  # Keras names the second graph of a layer `name_1`
            units = [self._unit_named(layer, layer.name + suffix) for layer in layers]
            if all(units):
                break
        else:
            copies = self._copies(layers)
            units = list(copies[0] if copies else self._units_in_order(layers))
        return self._all_arrays(layers, units)

    def named_copies(self, layers: Sequence[WeightedLayer]) -> list[tuple[str, Tensors]]:
        """The tensors of each copy of a base, with the name of the first, if there are several.

        Copies are told apart by what stands before the names of Keras' layers.
        """
        copies = self._copies(layers)
        if len(copies) < 2:
            return []
        return [(units[0].inputs[0], self._all_arrays(layers, units)) for units in copies]

    def _copies(self, layers: Sequence[WeightedLayer]) -> list[list[_Unit]]:
        copies: list[list[_Unit]] = []
        for suffix in ("", "_1"):
            units: dict[str, dict[str, _Unit]] = defaultdict(dict)
            for layer in layers:
                for unit in self._units_named(layer, layer.name + suffix):
                    units[unit.prefix_before(layer.name + suffix) or ""][layer.name] = unit
            copies += [[*copy.values()] for copy in units.values() if len(copy) == len(layers)]
        return copies

    def _all_arrays(
        self, layers: Sequence[WeightedLayer], units: Sequence[_Unit | None]
    ) -> Tensors:
        return [
            array
            for layer, unit in zip(layers, units, strict=True)
            if unit is not None
            for array in self._arrays(layer, unit)
        ]

    def _unit_named(self, layer: WeightedLayer, name: str) -> _Unit | None:
        matching = self._units_named(layer, name)
        return matching[0] if len(matching) == 1 else None

    def _units_named(self, layer: WeightedLayer, name: str) -> list[_Unit]:
        kind = "BatchNormalization" if layer.is_batch_norm else "Conv"
        units = [unit for unit in self._units if unit.kind == kind]
        return [unit for unit in units if unit.prefix_before(name) is not None]

    def _units_in_order(self, layers: Sequence[WeightedLayer]) -> Iterator[_Unit]:
        convolutions = [unit for unit in self._units if unit.kind == "Conv"]
        if len(convolutions) != len(layers):
            raise ValueError(
                f"it has {len(convolutions)} convolutions, the base has {len(layers)} layers "
                "with weights"
            )
        if not is_chain([layer.shapes[0] for layer in layers]):
            raise ValueError(
                "its tensors do not carry the names of Keras' layers, and order alone does not "
                "tell the branches of this base apart"
            )
        yield from convolutions

    def _arrays(self, layer: WeightedLayer, unit: _Unit) -> Iterator[Array]:
        names = unit.inputs[: len(layer.shapes)]
        if len(unit.inputs) != len(layer.shapes):
            raise ValueError(f"layer {layer.name} has {len(unit.inputs)} tensors in it")
        for name, shape in zip(names, layer.shapes, strict=True):
            if name not in self._tensors:
                raise ValueError(f"the tensor '{name}' of layer {layer.name} is computed, not kept")
            array = self._tensors[name].array()
            if array.ndim == 4:  # OIHW -> HWIO; of a depthwise kernel C1HW -> HWC1
                depthwise = layer.kind == "depthwise_conv2d"
                array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            if array.shape != shape:
                raise ValueError(f"layer {layer.name} has the shape {array.shape}, not {shape}")
            yield np.ascontiguousarray(array)


def _tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in _fields(message):
        if number == 1:
            tensor.shape += [value] if isinstance(value, int) else list(_varints(value))
        elif number == 2 and isinstance(value, int):
            tensor.type = value
        elif number in (4, 9) and isinstance(value, memoryview) and len(value):
            tensor.raw = value  # packed floats and raw bytes are the same little-endian numbers
        elif number == 8:
            tensor.name = _text(value)
        elif number == 13 or (number == 14 and value == 1):
            tensor.external = True
    return tensor


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise NotONNXError("it has a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of a message: numbers as int, everything with a length as bytes."""
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(view, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(view, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise NotONNXError("it is not a protobuf message")
        if not number or position + length > len(view):
            raise NotONNXError("it breaks off")
        yield number, view[position : position + length]
        position += length


def _varints(view: memoryview) -> Iterator[int]:
    position = 0
    while position < len(view):
        value, position = _varint(view, position)
        yield value


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The varint (a number in base 128) at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise NotONNXError("it breaks off")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise NotONNXError("it is not a protobuf message")
