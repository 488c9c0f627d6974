"""The weights of a base from a file of any form, read without TensorFlow.

Keras 3 `.weights.h5`, Keras' older `.h5` with or without the classifier, whole `.keras` models and
ONNX all give the same tensors in the same order, as in `tensors.layers`. Only what a base needs is
read, and only after every shape has been compared.
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
    path: Path, row: bases.PretrainedBase, where: str, asks: str = "the recipe asks for"
) -> None:
    """Raise a `WeightsError`, placed at `where`, unless the file holds the weights of the base.

    Names and shapes are compared, values are not read. Takes milliseconds for HDF5.
    """
    with _opened_weights_file(path, row, where) as content:
        _check_shapes(content, path, row, where, asks)


def read_weights(
    path: Path, row: bases.PretrainedBase, where: str, asks: str = "the recipe asks for"
) -> Tensors:
    """The tensors of a base from a file of any form; raises `WeightsError` as `check` does."""
    with _opened_weights_file(path, row, where) as content:
        _check_shapes(content, path, row, where, asks)
        return content.read(row.name)


def read_classifier(
    path: Path, row: bases.PretrainedBase, places: list[str], wanted: list[Shape], where: str
) -> Tensors:
    """The tensors above those of a base in an HDF5 file with its classifier.

    `places` are their paths in a Keras 3 file; an older one keeps them in order after the base's.
    `wanted` are their shapes.
    Raises a `WeightsError` where they are not there.
    """
    with _opened_weights_file(path, row, where) as content:
        found = content.above(row.name, places, wanted) if isinstance(content, HDF5File) else None
    if found is None:
        message = f"{path} does not hold the ImageNet classifier of {row.name}"
        hint = "name Keras' .h5 or .weights.h5 file of the whole network"
        raise WeightsError(Problem(where, message, hint))
    return found


def base_from_file_name(path: Path) -> str | None:
    """The base without classifier that a file name means: 'inception_v3_..._notop.h5'."""
    name = "".join(c for c in path.name.lower() if c.isascii() and c.isalnum())
    name = name.removeprefix("weights")
    if "notop" not in name:
        return None
    meant = [base for base in bases.names() if name.startswith(base.lower())]
    return max(meant, key=len, default=None)


def _hint(row: bases.PretrainedBase) -> str:
    return f"name a file with the weights of {row.name}: .weights.h5, .h5, .keras or .onnx"


@contextmanager
def _opened_weights_file(
    path: Path, row: bases.PretrainedBase, where: str
) -> Iterator[OpenWeightsFile]:
    """The content of a file; where it cannot be opened or read, that is told as one line."""
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
    content: OpenWeightsFile, path: Path, row: bases.PretrainedBase, where: str, asks: str
) -> None:
    known = bases.identify_by_parameters(content.parameters) if content.parameters else None
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


def _why_not(content: OpenWeightsFile, row: bases.PretrainedBase) -> str:
    try:
        content.read(row.name)
    except ValueError as error:
        return str(error)
    return "its layers are different"
