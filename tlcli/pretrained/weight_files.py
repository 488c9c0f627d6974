"""The weights of a base from a file of any form, read without TensorFlow.

Keras 3 `.weights.h5`, Keras' older `.h5` with or without the classifier, whole `.keras` models and
ONNX all give the same tensors in the same order, that of `tensors.weighted_layers`. Only what a
base needs is read, and only after every shape has been compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tlcli.errors import Problem, WeightsError, reason
from tlcli.networks import bases
from tlcli.pretrained.tensors import Shape, Tensors
from tlcli.pretrained.weight_formats import (
    HDF5File,
    OpenWeightsFile,
    UnreadableWeightsError,
    open_weights_file,
)


def check_weights_file(
    path: Path, row: bases.PretrainedBase, where: str, expected_by: str = "the recipe asks for"
) -> None:
    """Raise a `WeightsError`, placed at `where`, unless the file holds the weights of the base.

    Names and shapes are compared, values are not read: with HDF5 this takes milliseconds.
    `expected_by` says what names the base, for the message about a file of another one.
    """
    with _opened_weights_file(path, row, where) as content:
        _check_shapes(content, path, row, where, expected_by)


def read_weights(
    path: Path, row: bases.PretrainedBase, where: str, expected_by: str = "the recipe asks for"
) -> Tensors:
    """The tensors of a base from a file of any form; as `check_weights_file`."""
    with _opened_weights_file(path, row, where) as content:
        _check_shapes(content, path, row, where, expected_by)
        return content.read(row.name)


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
    return tensors


def base_from_file_name(path: Path) -> str | None:
    """The base that the name of a file without the classifier stands for, or None.

    For instance InceptionV3 for 'inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5'.
    """
    name = "".join(c for c in path.name.lower() if c.isascii() and c.isalnum())
    name = name.removeprefix("weights")
    if "notop" not in name:
        return None
    matching = [base for base in bases.names() if name.startswith(base.lower())]
    return max(matching, key=len, default=None)  # ResNet50V2, not ResNet50


def _hint(row: bases.PretrainedBase) -> str:
    return f"name a file with the weights of {row.name}: .weights.h5, .h5, .keras or .onnx"


@contextmanager
def _opened_weights_file(
    path: Path, row: bases.PretrainedBase, where: str
) -> Iterator[OpenWeightsFile]:
    """The content of a file; one that cannot be opened or read is a `WeightsError` of one line."""
    hint = _hint(row)
    if path.is_dir():
        raise WeightsError(Problem(where, f"{path} is a folder", hint))
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


def _check_shapes(
    content: OpenWeightsFile, path: Path, row: bases.PretrainedBase, where: str, expected_by: str
) -> None:
    identified = bases.identify_by_parameters(content.parameters) if content.parameters else None
    if content.fits(row.name) and (identified is None or identified[0] is row):
        return
    if identified is None:
        fitting = [base for base in bases.BASES.values() if content.fits(base.name)]
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
