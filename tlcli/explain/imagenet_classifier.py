"""A base with its ImageNet classifier, from a weights file that holds it.

tlcli's own cache keeps bases without classifiers, since no other command needs one. So the file has
to be on this machine: named by the user, in the folder of `WeightsAccess`, or in Keras' cache,
where `keras.applications.VGG16()` leaves it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, WeightsError
from tlcli.explain.explained_model import ExplainedModel
from tlcli.images.loader import PixelSettings
from tlcli.networks import bases
from tlcli.networks.conversion import compute_in_bfloat16
from tlcli.networks.framework import keras
from tlcli.pretrained.tensors import weighted_layers
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_files import read_classifier, read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.pretrained.weights import keras_weights_folder
from tlcli.system import files

CLASSES = 1000

#: Keras' own file of class names, which it fetches when it decodes predictions.
INDEX = "imagenet_class_index.json"


def open_classifier(
    row: bases.PretrainedBase,
    access: WeightsAccess,
    file: Path | None = None,
    precision: str = "float32",
) -> ExplainedModel:
    """A base with its 1,000 classes at its native size, which computes in `precision`.

    Raises `WeightsError` where there is no file with the classifier's weights, or `file` holds
    something else, and for a base that was never trained on ImageNet.
    """
    if not row.pretrained:
        raise WeightsError(bases.without_weights(row, "--base"))
    path = file or _find(row, access)
    where = "--weights" if file else "--base"
    below = read_weights(path, row, where, "--base says")
    model = _build(row)
    layers = _in_order(model, row)
    shapes = [tuple(weight.shape) for layer in layers for weight in layer.weights]
    places = _places(model, layers)
    above = read_classifier(path, row, places[len(below) :], shapes[len(below) :], where)
    values = iter([*below, *above])
    for layer in layers:
        layer.set_weights([next(values) for _ in layer.weights])
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # set_weights leaves the mean and variance it computes with
    if precision != "float32":
        compute_in_bfloat16(model, row.layers)
    settings = PixelSettings(row.native_size, row.native_size, "squash")
    return ExplainedModel(
        row.name, row, model, settings, model.outputs[0], _names(access), precision=precision
    )


def official_file_name(row: bases.PretrainedBase) -> str:
    """The name of the official file with the classifier, as Keras keeps it."""
    return _with_classifier(published_weights(row.name).file)


def _with_classifier(name: str) -> str:
    return re.sub(r"[-_]no[-_]?top(_v2)?", "", name)


def _find(row: bases.PretrainedBase, access: WeightsAccess) -> Path:
    name = official_file_name(row)
    for folder in _folders(access):
        path = folder / name
        if path.is_file():
            published = published_weights(row.name)
            if published.hashes and not published.matching_hash(path):
                message = f"{path} has the name of the official file, but not its hash"
                hint = "delete it, or name it with --weights if it is what you want"
                raise WeightsError(Problem(f"--base {row.name}", message, hint))
            return path
    url = _with_classifier(published_weights(row.name).url)
    message = f"the weights of {row.name} with its ImageNet classifier are not on this machine"
    hint = f"name a file with --weights, or put {url} into {keras_weights_folder()} as {name}; "
    hint += "without --base, a run is explained"
    raise WeightsError(Problem(f"--base {row.name}", message, hint))


def _folders(access: WeightsAccess) -> list[Path]:
    return [*([access.folder] if access.folder else []), keras_weights_folder()]


def _build(row: bases.PretrainedBase) -> Any:
    """The whole network with random weights: raw RGB pixels -> the scores of its classes."""
    keras.utils.clear_session(free_memory=False)  # names such as `conv2d_3` count from here
    pixels = keras.Input((row.native_size, row.native_size, 3), dtype="float32", name="pixels")
    builder = getattr(keras.applications, row.name)
    whole = builder(
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
        input_tensor=row.preprocess(pixels),
    )
    return keras.Model(pixels, whole.outputs[0], name=row.name)


def _in_order(model: Any, row: bases.PretrainedBase) -> list[Any]:
    """The layers with weights: the base's in the order of `tensors.weighted_layers`, then others.

    ConvNeXt's classifier replaces the last layer of its base by another one of the same shape: a
    layer that is missing by name is the first of the others.
    """
    names = list(dict.fromkeys(layer.name for layer in weighted_layers(row.name)))
    weighted = {layer.name: layer for layer in model.layers if layer.weights}
    others = iter([layer for name, layer in weighted.items() if name not in names])
    ordered = [weighted[name] if name in weighted else next(others) for name in names]
    return [*ordered, *others]


def _places(model: Any, layers: list[Any]) -> list[str]:
    """Where the variables of those layers are in a Keras 3 weights file of the bare application.

    Layers are counted there by the name of their class in snake case. The one in front of the
    application, which turns raw pixels into its own, is not in its files.
    """
    counts: Counter[str] = Counter()
    places = {}
    for layer in model.layers:
        if layer.name == "preprocess":
            continue
        kind = _snake_case(type(layer).__name__)
        places[layer.name] = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
    return [
        f"layers/{places[layer.name]}/vars/{number}"
        for layer in layers
        for number in range(len(layer.weights))
    ]


def _snake_case(name: str) -> str:
    """'LayerNormalization' -> 'layer_normalization', 'Conv2D' -> 'conv2d', as Keras has it."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def _names(access: WeightsAccess) -> tuple[str, ...]:
    """The names of ImageNet's classes where Keras' file of them is at hand, else their numbers.

    A few names stand for two classes; these get their number as well.
    """
    for folder in _folders(access):
        try:
            table = files.read_json(folder / INDEX)
            names = [str(table[str(number)][1]) for number in range(CLASSES)]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        twice = {name for name, count in Counter(names).items() if count > 1}
        return tuple(
            f"{name} ({number})" if name in twice else name for number, name in enumerate(names)
        )
    return tuple(map(str, range(CLASSES)))
