"""Where the weights of a base come from, and whether they are the right ones."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlcli import bases
from tlcli.errors import Problem, WeightsError, reason

if TYPE_CHECKING:
    from tlcli.recipe import Recipe


@dataclass(frozen=True)
class Source:
    """Weights as found: a file, Keras' own download, or random numbers."""

    kind: Literal["file", "keras", "random"]
    path: Path | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return str(self.path)
        return {"keras": "ImageNet weights of Keras", "random": "random weights"}[self.kind]


def find(recipe: Recipe) -> Source:
    """The source that `base.weights` means.

    A path is taken as it is. `imagenet` is looked for in the folder named by `TLCLI_WEIGHTS`,
    under the names that Keras gives to its downloads without the classifier, and then left to
    Keras with its cache and download.
    Raises `WeightsError` for a file that is missing or holds another network.
    """
    wanted = recipe.base.weights
    if wanted == "random":
        return Source("random")
    row = bases.BASES[recipe.base.name]
    where = recipe.where("base", "weights")
    if wanted != "imagenet":
        check(Path(wanted), row, where)
        return Source("file", Path(wanted))
    folder = os.environ.get("TLCLI_WEIGHTS")
    for path in sorted(Path(folder).glob("*.h5")) if folder else ():
        if _base_named(path) == row.name:
            check(path, row, "TLCLI_WEIGHTS")
            return Source("file", path)
    return Source("keras")


def _base_named(path: Path) -> str | None:
    """The base that a file name means: `inception_v3_weights_..._notop.h5` -> 'InceptionV3'."""
    name = re.sub("[^a-z0-9]", "", path.stem.lower()).removeprefix("weights")
    if "notop" not in name:
        return None
    meant = [base for base in bases.names() if name.startswith(base.lower())]
    return max(meant, key=len, default=None)


def check(path: Path, row: bases.Base, where: str) -> None:
    """Raise a `WeightsError` unless the file holds as many numbers as the base.

    The number of parameters is different for every base, so it also tells whose weights they are.
    Takes milliseconds and does not load TensorFlow.
    """
    hint = "name a Keras weights file of the base without its classifier"
    if path.is_dir():
        raise WeightsError(Problem(where, f"{path} is a folder", hint))
    try:
        found = _parameters(path)
    except FileNotFoundError:
        hint = "check the path; relative ones start at the recipe's folder"
        if path.name.lower() in ("imagenet", "random"):
            hint = f"did you mean '{path.name.lower()}'?"
        raise WeightsError(Problem(where, f"no such weights file: {path}", hint)) from None
    except PermissionError as error:
        raise WeightsError(Problem(where, f"{path} cannot be read: {reason(error)}")) from error
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(Problem(where, f"{path} is not a whole HDF5 file", hint)) from error
    if found == row.parameters:
        return
    known = bases.by_parameters(found)
    if known is None:
        message = f"{path} holds {found:,} parameters, {row.name} has {row.parameters:,}"
    else:
        other, with_classifier = known
        classifier = " with its classifier" if with_classifier else ""
        message = f"{path} is {other.name}{classifier}; the recipe asks for {row.name}"
    raise WeightsError(Problem(where, message, hint))


def _parameters(path: Path) -> int:
    """Numbers in the datasets of an HDF5 weights file, those of an optimizer left out."""
    import h5py

    total = 0

    def add(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            total += int(item.size or 0)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return total


def load(model: Any, row: bases.Base, source: Source) -> None:
    """Put the weights into a base that `bases.Base.build` has made with random ones."""
    if source.kind == "file":
        _load_file(model, row, source)
    elif source.kind == "keras":
        _download(model, row)


def _load_file(model: Any, row: bases.Base, source: Source) -> None:
    try:
        # Keras warns of layers that it leaves as they are, and then raises for them.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            model.load_weights(str(source.path))
    except (OSError, KeyError, ValueError) as error:
        message = f"its layers do not fit {row.name}: {reason(error)}"
        raise WeightsError(Problem(str(source.path), message)) from error


def _download(model: Any, row: bases.Base) -> None:
    from tlcli.framework import keras

    builder = getattr(keras.applications, row.name)
    try:
        loaded = builder(include_top=False, weights="imagenet")
    except Exception as error:  # Keras passes on what urllib raises, and raises bare Exceptions
        hint = "name a local file with `--set base.weights=PATH`, or a folder with TLCLI_WEIGHTS"
        message = f"the ImageNet weights of {row.name} cannot be downloaded: {reason(error)}"
        raise WeightsError(Problem("base.weights", message, hint)) from error
    model.set_weights(loaded.get_weights())
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # set_weights leaves the mean and variance it computes with
