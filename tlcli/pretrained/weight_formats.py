"""The forms of weights files, told apart by their bytes: Keras' HDF5, old and new, and ONNX."""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tlcli.pretrained.onnx_weights import NotONNXError, ONNXGraph
from tlcli.pretrained.tensors import Shape, Tensors, tensor_shapes, weighted_layers

#: The largest weights in a `.keras` archive: twice the largest network with an optimizer's state.
MAX_WEIGHTS_BYTES = 4_000_000_000
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


class OpenWeightsFile(Protocol):
    """What every form of an open weights file can do."""

    @property
    def parameters(self) -> int | None:
        """How many numbers it holds, without those of an optimizer; None if that is not known."""

    def fits(self, base: str) -> bool:
        """Whether all tensors of the base are in it, in their shapes."""

    def candidates(self, base: str) -> list[str]:
        """Where the first tensors of copies of the base are that hold different numbers.

        Not every form of file tells where a single copy is.
        """

    def read(self, base: str) -> Tensors:
        """The tensors of the base, in the order of `tensors.weighted_layers`: the first of several.

        Raises ValueError where they do not match.
        """


class UnreadableWeightsError(Exception):
    """The file is not a complete weights file; the text continues its path: 'is a pickle'."""


@contextmanager
def _library_errors_translated() -> Iterator[None]:
    """Turn what libraries raise for a damaged file into `UnreadableWeightsError`."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except NotONNXError as error:
        raise UnreadableWeightsError(f"is not a complete ONNX file: {error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UnreadableWeightsError("is not a complete archive") from error
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise UnreadableWeightsError("is not a complete HDF5 file") from error


@_library_errors_translated()
def open_weights_file(path: Path, stack: ExitStack) -> OpenWeightsFile:
    """The content of a file, open until `stack` is closed; its first bytes tell the form.

    Raises `UnreadableWeightsError` for anything but a complete weights file, FileNotFoundError, and
    PermissionError.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise UnreadableWeightsError("is not a regular file")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_HDF5):
        return HDF5File(path, stack)
    if head.startswith(_ZIP):
        return HDF5File(_unpacked(path, stack), stack)
    if not head:
        raise UnreadableWeightsError("is empty")
    # Text first: no ONNX file begins with printable characters alone.
    if _is_text(head):
        page = head.lstrip()[:1] == b"<"
        raise UnreadableWeightsError(
            "is a web page, not weights" if page else "is text, not weights"
        )
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        raise UnreadableWeightsError(
            "is a pickle, which can run code when it is opened; tlcli never opens one"
        )
    if head[0] == 0x08 or path.suffix.lower() == ".onnx":  # the field `ir_version` comes first
        return ONNXFile(path)
    raise UnreadableWeightsError("is not a weights file that tlcli can read")


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
    if names.count("model.weights.h5") > 1:
        raise UnreadableWeightsError("is a zip archive with several files model.weights.h5")
    if "model.weights.h5" not in names:
        raise UnreadableWeightsError("is a zip archive without the weights of a Keras model")
    member = archive.getinfo("model.weights.h5")
    if member.file_size > MAX_WEIGHTS_BYTES or member.flag_bits & 1:
        raise UnreadableWeightsError("is a Keras model whose weights are too large or encrypted")
    temporary = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    with archive.open(member) as packed:  # zipfile stops at the size that the archive gives
        shutil.copyfileobj(packed, temporary, 1 << 20)
    temporary.seek(0)
    return temporary


class HDF5File:
    """Keras' HDF5 files, old and new.

    Only datasets in the file itself are used: a link to another file, or a dataset stored in
    another file, could make tlcli read what its user never named.
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
        self._legacy_paths = list(self._paths_in_attributes())

    @property
    @_library_errors_translated()
    def parameters(self) -> int:
        return sum(int(item.size or 0) for item in self._datasets.values())

    def fits(self, base: str) -> bool:
        return next(self._places(base), None) is not None

    def candidates(self, base: str) -> list[str]:
        places = list(self._places(base))
        if len(places) < 2:
            return [paths[0] for paths in places]
        return _if_different([(paths[0], self._values(paths)) for paths in places])

    def read(self, base: str) -> Tensors:
        return self._values(next(self._places(base), []))

    def read_above(self, base: str, places: list[str], shapes: list[Shape]) -> Tensors | None:
        """The tensors above a base, or None without them: see `weight_files.read_classifier`."""
        if self._legacy_paths:
            places = self._legacy_paths[len(tensor_shapes(base)) :]
        paths = self._if_fitting(places, shapes)
        return None if paths is None else self._values(paths)

    def _places(self, base: str) -> Iterator[list[str]]:
        """The paths of the tensors of a base, in order; several lists if it is there repeatedly."""
        shapes = tensor_shapes(base)
        if self._legacy_paths:
            if first := self._if_fitting(self._legacy_paths[: len(shapes)], shapes):
                yield first
                for start in range(1, len(self._legacy_paths) - len(shapes) + 1):
                    paths = self._legacy_paths[start : start + len(shapes)]
                    if self._if_fitting(paths, shapes):
                        yield paths
            return
        relative = [path for layer in weighted_layers(base) for path in layer.paths]
        # The base may be a layer of the model that was saved: then it is one group further down.
        for group in self._groups:
            paths = [group + path for path in relative]
            if self._if_fitting(paths, shapes):
                yield paths

    @_library_errors_translated()
    def _if_fitting(self, paths: list[str], shapes: list[Shape]) -> list[str] | None:
        """The paths, if there are datasets of those shapes at them."""
        if len(paths) != len(shapes):
            return None
        for path, shape in zip(paths, shapes, strict=True):
            item = self._datasets.get(path)
            if item is None or item.shape != shape or item.dtype.kind not in "fiu":
                return None
        return paths

    @_library_errors_translated()
    def _values(self, paths: list[str]) -> Tensors:
        with np.errstate(over="ignore"):  # infinity, for whoever looks at the numbers
            return [np.asarray(self._datasets[path][()], dtype=np.float32) for path in paths]

    def _paths_in_attributes(self) -> Iterator[str]:
        """The datasets of Keras' older form, in the order in which its attributes list them."""
        root = "model_weights" if "model_weights/" in self._groups else ""
        attributes = self._file[root].attrs if root else self._file.attrs
        for layer in _names(attributes, "layer_names"):
            group = f"{root}/{layer}".strip("/")
            if f"{group}/" not in self._groups:
                raise ValueError(f"{layer} is missing")
            for name in _names(self._file[group].attrs, "weight_names"):
                yield f"{group}/{name}"


def _if_different(sets: list[tuple[str, Tensors]]) -> list[str]:
    """The names of the sets of tensors; of those that are alike, the first."""
    different: list[tuple[str, Tensors]] = []
    for name, tensors in sets:
        if not any(all(map(np.array_equal, tensors, others)) for _, others in different):
            different.append((name, tensors))
    return [name for name, _ in different]


def _names(attributes: Any, key: str) -> Iterator[str]:
    """The names that an attribute lists; Keras splits a long list into `key0`, `key1`, ..."""
    if key in attributes:
        keys = [key]
    else:
        keys = [f"{key}{n}" for n in range(len(attributes)) if f"{key}{n}" in attributes]
    for part in keys:
        for name in attributes[part]:
            yield name.decode() if isinstance(name, bytes) else str(name)


class ONNXFile:
    """An ONNX model; its tensors are compared when they are read."""

    parameters = None  # other layers than convolutions are not counted

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise UnreadableWeightsError("is larger than any base")
        self._graph = ONNXGraph(np.memmap(path, dtype=np.uint8, mode="r").data)

    def fits(self, base: str) -> bool:
        try:
            return math.prod(self.read(base)[0].shape) > 0
        except ValueError:
            return False

    def candidates(self, base: str) -> list[str]:
        return _if_different(self._graph.named_copies(weighted_layers(base)))

    def read(self, base: str) -> Tensors:
        return self._graph.tensors(weighted_layers(base))
