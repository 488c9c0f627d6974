"""The weights of a base from a file of any form, read without TensorFlow.

Keras 3 `.weights.h5`, Keras' older `.h5` with or without the classifier, whole `.keras` models and
ONNX all give the same tensors in the same order, that of `tensors.weighted_layers`. Only what a
base needs is read, and only after every shape has been compared. Then the numbers are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from tlcli.errors import Problem, WeightsError, reason
from tlcli.networks import bases
from tlcli.pretrained.tensors import Shape, Tensors, impossible_numbers
from tlcli.pretrained.weight_formats import (
    HDF5File,
    OpenWeightsFile,
    UnreadableWeightsError,
    open_weights_file,
)
from tlcli.system import web

#: The ends of the names of weights files, and the most names that a message lists.
SUFFIXES, MAX_NAMED = (".h5", ".hdf5", ".keras", ".onnx"), 4


def read_weights(
    path: Path, row: bases.PretrainedBase, where: str, expected_by: str = "the recipe asks for"
) -> Tensors:
    """The tensors of a base from a file of any form.

    Raises a `WeightsError`, placed at `where`, for a file that does not hold them, holds several
    that differ, or holds numbers that no trained network has. `expected_by` says what names the
    base, for the message about a file of another one.
    """
    with _opened_weights_file(path, row, where) as content:
        _check_shapes(content, path, row, where, expected_by)
        _check_candidates(content, path, row, where)
        tensors = content.read(row.name)
    if lines := impossible_numbers(row.name, tensors):
        more = f", and {len(lines) - 1:,} more such tensors" if len(lines) > 1 else ""
        hint = "the file is damaged, or was saved by a training that failed; name another one"
        raise WeightsError(Problem(where, f"{path}: {lines[0]}{more}", hint))
    return tensors


def read_classifier(
    path: Path, row: bases.PretrainedBase, places: list[str], shapes: list[Shape], where: str
) -> Tensors:
    """The tensors of the classifier in an HDF5 file of the whole network.

    `shapes` are theirs, and `places` their paths in a Keras 3 file; an older file keeps them in
    order after those of the base. Raises a `WeightsError` for a file without them.
    """
    with _opened_weights_file(path, row, where) as content:
        tensors = None
        if isinstance(content, HDF5File):
            tensors = content.read_above(row.name, places, shapes)
    if tensors is None:
        message = f"{path} does not hold the ImageNet classifier of {row.name}"
        hint = "name Keras' .h5 or .weights.h5 file of the whole network"
        raise WeightsError(Problem(where, message, hint))
    if not all(np.isfinite(tensor).all() for tensor in tensors):
        message = f"{path}: its classifier holds numbers that are not finite"
        raise WeightsError(Problem(where, message, "name another file"))
    return tensors


def base_from_file_name(path: Path) -> str | None:
    """The base that the name of a file without the classifier stands for, or None.

    For instance InceptionV3 for 'inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5'.
    """
    name = "".join(c for c in path.name.lower() if c.isascii() and c.isalnum())
    name = name.removeprefix("weights")
    if "notop" not in name:
        return None
    matching = [base for base in bases.PRETRAINED if name.startswith(base.lower())]
    return max(matching, key=len, default=None)  # ResNet50V2, not ResNet50


def _hint(row: bases.PretrainedBase) -> str:
    return f"name a file with the weights of {row.name}: .weights.h5, .h5, .keras or .onnx"


@contextmanager
def _opened_weights_file(
    path: Path, row: bases.PretrainedBase, where: str
) -> Iterator[OpenWeightsFile]:
    """The content of a file; one that cannot be opened or read is a `WeightsError` of one line."""
    hint = _hint(row)
    if address := web.as_web_address(path):
        raise WeightsError(web.not_a_file(address, where))
    if path.is_dir():
        raise WeightsError(Problem(where, f"{path} is a folder", _files_in(path) or hint))
    try:
        with ExitStack() as stack:
            yield open_weights_file(path, stack)
    except FileNotFoundError:
        hint = "check the path; relative paths start at the recipe's folder"
        if path.name.lower() in ("imagenet", "random"):
            hint = f"did you mean '{path.name.lower()}'?"
        raise WeightsError(Problem(where, f"no such weights file: {path}", hint)) from None
    except PermissionError as error:
        raise WeightsError(Problem(where, f"{path} cannot be read: {reason(error)}")) from error
    except UnreadableWeightsError as error:
        raise WeightsError(Problem(where, f"{path} {error}", hint)) from error


def _files_in(folder: Path) -> str:
    """A hint that names the weights files in a folder, or an empty one."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    return f"name one of the files in it: {_list_names(names)}" if names else ""


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def _check_candidates(
    content: OpenWeightsFile, path: Path, row: bases.PretrainedBase, where: str
) -> None:
    """Raise a `WeightsError` where the file holds several sets of numbers for the base."""
    candidates = content.candidates(row.name)
    if len(candidates) > 1:
        message = f"{path} holds the weights of {row.name} {len(candidates)} times, with different "
        message += f"numbers, from {_list_names(candidates)}"
        hint = "save those that are meant in a file of their own"
        raise WeightsError(Problem(where, message, hint))


def _check_shapes(
    content: OpenWeightsFile, path: Path, row: bases.PretrainedBase, where: str, expected_by: str
) -> None:
    identified = bases.identify_by_parameters(content.parameters) if content.parameters else None
    if content.fits(row.name) and (identified is None or identified[0] is row):
        return
    if identified is None:
        fitting = [base for base in bases.PRETRAINED.values() if content.fits(base.name)]
        identified = (max(fitting, key=lambda base: base.parameters), False) if fitting else None
    if identified and identified[0] is not row:
        other, with_classifier = identified
        classifier = " with its classifier" if with_classifier else ""
        message = f"{path} is {other.name}{classifier}; {expected_by} {row.name}"
    elif identified:
        message = f"{path} has as many parameters as {row.name}, but not its layers"
    elif content.parameters is not None:
        message = f"{path} holds {content.parameters:,} parameters, {row.name} has "
        message += f"{row.parameters:,}"
    else:
        message = f"{path} does not fit {row.name}: {_why_not(content, row)}"
    raise WeightsError(Problem(where, message, _hint(row)))


def _why_not(content: OpenWeightsFile, row: bases.PretrainedBase) -> str:
    try:
        content.read(row.name)
    except ValueError as error:
        return str(error)
    return "its layers are different"
