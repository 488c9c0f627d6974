"""The files that weights come in: told apart by their bytes, read without TensorFlow.

Keras 3 `.weights.h5`, Keras' older `.h5` with or without the classifier, whole `.keras` models and
ONNX all give the same tensors in the same order, as in `tensors.layers`. Only what a base needs is
read, and only after every shape has been compared.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tlcli import bases
from tlcli.errors import Problem, WeightsError, reason
from tlcli.onnxfile import Graph, NotONNX
from tlcli.tensors import Shape, Tensors, layers, shapes

#: The largest weights in a `.keras` archive: twice the largest network with an optimizer's state.
MAX_MEMBER = 4_000_000_000
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


class _Content(Protocol):
    """A weights file, open."""

    @property
    def parameters(self) -> int | None:
        """How many numbers it holds, those of an optimizer left out; None: not known."""

    def fits(self, base: str) -> bool:
        """Whether all tensors of the base are in it, in their shapes."""

    def read(self, base: str) -> Tensors:
        """They, in order."""


def check(path: Path, row: bases.Base, where: str, asks: str = "the recipe asks for") -> None:
    """Raise a `WeightsError`, placed at `where`, unless the file holds the weights of the base.

    Names and shapes are compared, values are not read. Takes milliseconds for HDF5.
    """
    with _opened(path, row, where) as content:
        _compare(content, path, row, where, asks)


def read(path: Path, row: bases.Base, where: str, asks: str = "the recipe asks for") -> Tensors:
    """The tensors of a base from a file of any form; raises `WeightsError` as `check` does."""
    with _opened(path, row, where) as content:
        _compare(content, path, row, where, asks)
        return content.read(row.name)


def read_classifier(
    path: Path, row: bases.Base, places: list[str], wanted: list[Shape], where: str
) -> Tensors:
    """The tensors above those of a base in an HDF5 file with its classifier.

    `places` are their paths in a Keras 3 file; an older one keeps them in order after the base's.
    `wanted` are their shapes.
    Raises a `WeightsError` where they are not there.
    """
    with _opened(path, row, where) as content:
        found = content.above(row.name, places, wanted) if isinstance(content, _HDF5File) else None
    if found is None:
        message = f"{path} does not hold the ImageNet classifier of {row.name}"
        hint = "name Keras' .h5 or .weights.h5 file of the whole network"
        raise WeightsError(Problem(where, message, hint))
    return found


def named(path: Path) -> str | None:
    """The base without classifier that a file name means: 'inception_v3_..._notop.h5'."""
    name = "".join(c for c in path.name.lower() if c.isascii() and c.isalnum())
    name = name.removeprefix("weights")
    if "notop" not in name:
        return None
    meant = [base for base in bases.names() if name.startswith(base.lower())]
    return max(meant, key=len, default=None)


def _hint(row: bases.Base) -> str:
    return f"name a file with the weights of {row.name}: .weights.h5, .h5, .keras or .onnx"


@contextmanager
def _opened(path: Path, row: bases.Base, where: str) -> Iterator[_Content]:
    """The content of a file; whatever fails while it is open is told as one line."""
    hint = _hint(row)
    if path.is_dir():
        raise WeightsError(Problem(where, f"{path} is a folder", hint))
    try:
        with ExitStack() as stack:
            yield _open(path, stack)
    except FileNotFoundError:
        hint = "check the path; relative paths start at the recipe's folder"
        if path.name.lower() in ("imagenet", "random"):
            hint = f"did you mean '{path.name.lower()}'?"
        raise WeightsError(Problem(where, f"no such weights file: {path}", hint)) from None
    except PermissionError as error:
        raise WeightsError(Problem(where, f"{path} cannot be read: {reason(error)}")) from error
    except NotONNX as error:
        raise WeightsError(
            Problem(where, f"{path} is not a complete ONNX file: {error}", hint)
        ) from (error)
    except _Refused as error:
        raise WeightsError(Problem(where, f"{path} {error}", hint)) from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(Problem(where, f"{path} is not a complete archive", hint)) from error
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise WeightsError(Problem(where, f"{path} is not a complete HDF5 file", hint)) from error


class _Refused(Exception):
    """What a file is, where it is no weights file: '... is a pickle'."""


def _open(path: Path, stack: ExitStack) -> _Content:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_HDF5):
        return _HDF5File(path, stack)
    if head.startswith(_ZIP):
        return _HDF5File(_unpacked(path, stack), stack)
    if not head:
        raise _Refused("is empty")
    # Text first: no ONNX file begins with printable characters alone.
    if _is_text(head):
        page = head.lstrip()[:1] == b"<"
        raise _Refused("is a web page, not weights" if page else "is text, not weights")
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        raise _Refused("is a pickle, which can run code when it is opened; tlcli never opens one")
    if head[0] == 0x08 or path.suffix.lower() == ".onnx":  # the field `ir_version` comes first
        return _ONNXFile(path)
    raise _Refused("is not a weights file that tlcli can read")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def _unpacked(path: Path, stack: ExitStack) -> Any:
    """The weights in a `.keras` archive as a temporary file without a name."""
    archive = stack.enter_context(zipfile.ZipFile(path))
    names = archive.namelist()
    if "model.weights.h5" not in names:
        raise _Refused("is a zip archive without the weights of a Keras model")
    member = archive.getinfo("model.weights.h5")
    if member.file_size > MAX_MEMBER or member.flag_bits & 1:
        raise _Refused("is a Keras model whose weights are too large or encrypted")
    temporary = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    with archive.open(member) as packed:  # zipfile stops at the size that the archive gives
        shutil.copyfileobj(packed, temporary, 1 << 20)
    temporary.seek(0)
    return temporary


def _compare(content: _Content, path: Path, row: bases.Base, where: str, asks: str) -> None:
    known = bases.by_parameters(content.parameters) if content.parameters else None
    if content.fits(row.name) and (known is None or known[0] is row):
        return
    if known is None:
        fitting = [base for base in bases.BASES.values() if content.fits(base.name)]
        known = (max(fitting, key=lambda base: base.parameters), False) if fitting else None
    if known and known[0] is not row:
        other, with_classifier = known
        classifier = " with its classifier" if with_classifier else ""
        message = f"{path} is {other.name}{classifier}; {asks} {row.name}"
    elif known:
        message = f"{path} has as many parameters as {row.name}, but not its layers"
    elif content.parameters is not None:
        message = f"{path} holds {content.parameters:,} parameters, {row.name} has "
        message += f"{row.parameters:,}"
    else:
        message = f"{path} does not fit {row.name}: {_why_not(content, row)}"
    raise WeightsError(Problem(where, message, _hint(row)))


def _why_not(content: _Content, row: bases.Base) -> str:
    try:
        content.read(row.name)
    except ValueError as error:
        return str(error)
    return "its layers are different"


class _HDF5File:
    """Keras' HDF5 files, old and new.

    Only datasets that are in the file itself are seen: a link to another file, or a dataset kept
    in one, could make tlcli read what its user never named.
    """

    def __init__(self, file: Any, stack: ExitStack) -> None:
        import h5py

        self._file = stack.enter_context(h5py.File(file, "r"))
        self._datasets: dict[str, Any] = {}
        self._groups = [""]

        def add(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                self._groups.append(name + "/")
            elif not (name.startswith("optimizer") or item.is_virtual or item.external):
                self._datasets[name] = item

        self._file.visititems(add)
        self._in_order = list(self._legacy())

    @property
    def parameters(self) -> int:
        return sum(int(item.size or 0) for item in self._datasets.values())

    def fits(self, base: str) -> bool:
        return self._places(base) is not None

    def read(self, base: str) -> Tensors:
        places = self._places(base) or []
        return [np.asarray(self._datasets[place][()], dtype=np.float32) for place in places]

    def above(self, base: str, places: list[str], wanted: list[Shape]) -> Tensors | None:
        """The tensors above a base, if they are there: see `read_classifier`."""
        in_order = self._in_order[len(shapes(base)) :]
        paths = self._fitting(in_order if self._in_order else places, wanted)
        if paths is None:
            return None
        return [np.asarray(self._datasets[path][()], dtype=np.float32) for path in paths]

    def _places(self, base: str) -> list[str] | None:
        """The paths of the tensors of a base, in order, or None."""
        wanted = shapes(base)
        if self._in_order:
            return self._fitting(self._in_order[: len(wanted)], wanted)
        relative = [path for layer in layers(base) for path in layer.paths]
        # The base may be a layer of the model that was saved: then it is one group further down.
        for group in self._groups:
            found = self._fitting([group + path for path in relative], wanted)
            if found:
                return found
        return None

    def _fitting(self, paths: list[str], wanted: list[tuple[int, ...]]) -> list[str] | None:
        if len(paths) != len(wanted):
            return None
        for path, shape in zip(paths, wanted, strict=True):
            item = self._datasets.get(path)
            if item is None or item.shape != shape or item.dtype.kind not in "fiu":
                return None
        return paths

    def _legacy(self) -> Iterator[str]:
        """The datasets of Keras' older form in the order that its attributes give."""
        root = "model_weights" if "model_weights/" in self._groups else ""
        attributes = self._file[root].attrs if root else self._file.attrs
        for layer in _names(attributes, "layer_names"):
            group = f"{root}/{layer}".strip("/")
            if f"{group}/" not in self._groups:
                raise ValueError(f"{layer} is missing")
            for name in _names(self._file[group].attrs, "weight_names"):
                yield f"{group}/{name}"


def _names(attributes: Any, key: str) -> Iterator[str]:
    """A list of names; Keras cuts a long one into `key0`, `key1`, ..."""
    if key in attributes:
        keys = [key]
    else:
        keys = [f"{key}{n}" for n in range(len(attributes)) if f"{key}{n}" in attributes]
    for part in keys:
        for name in attributes[part]:
            yield name.decode() if isinstance(name, bytes) else str(name)


class _ONNXFile:
    """An ONNX model; its tensors are compared as they are read."""

    parameters = None  # other layers than convolutions are not counted

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_MEMBER:
            raise _Refused("is larger than any base")
        self._graph = Graph(np.memmap(path, dtype=np.uint8, mode="r").data)

    def fits(self, base: str) -> bool:
        try:
            return math.prod(self.read(base)[0].shape) > 0
        except ValueError:
            return False

    def read(self, base: str) -> Tensors:
        return self._graph.tensors(layers(base))
