"""tlcli's own cache of pretrained weights: one verified file for each base.

A file is a Keras 3 weights file, so `keras.applications.VGG16(weights=PATH, include_top=False)`
takes it, and says in its attributes where its tensors came from and what was checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import Tensors, tensor_fingerprint, weighted_layers
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.system import files

#: How tensors were found right: by themselves, by the hash that Keras or a mirror gives to their
#: file, or not at all.
BY_FINGERPRINT, BY_HASH, BY_MIRROR, UNVERIFIED = "fingerprint", "published hash", "mirror hash", ""


@dataclass(frozen=True)
class Provenance:
    """What a file of the cache says about itself.

    Attributes:
        source: where the tensors came from.
        fingerprint: `tensors.fingerprint` when they came.
        verified: one of the `BY_...` above; empty where nothing is known to compare with.
    """

    source: str
    fingerprint: str
    verified: str


def weights_folder(cache: Path) -> Path:
    """The folder of weights in a cache."""
    return cache / "weights"


def weights_file_name(base: str) -> str:
    """The name of a base's file: 'vgg16_imagenet_notop.weights.h5'."""
    return f"{base.lower()}_imagenet_notop.weights.h5"


def verify_tensors(
    row: bases.PretrainedBase, tensors: Tensors, where: str, proof: str = UNVERIFIED
) -> Provenance:
    """What is known about tensors that claim to be the ImageNet weights of a base.

    `proof` says what is known about their file already; a known fingerprint is better. Raises
    `WeightsError` where the right ones are known and these are others.
    """
    found, known = tensor_fingerprint(tensors), published_weights(row.name).fingerprint
    if known and found != known:
        message = f"these are not the ImageNet weights of {row.name}: their fingerprint is "
        message += f"{found[:12]}..., not {known[:12]}..."
        hint = f"get the right ones with `tlcli weights fetch {row.name}`"
        raise WeightsError(Problem(where, message, hint))
    return Provenance(where, found, BY_FINGERPRINT if known else proof)


def write_weights(
    path: Path, row: bases.PretrainedBase, tensors: Sequence[object], entry: Provenance
) -> None:
    """Write tensors as a weights file that appears whole."""
    import h5py

    values = iter(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for layer in weighted_layers(row.name):
            for place in layer.paths:
                file.create_dataset(place, data=np.asarray(next(values), dtype="<f4"))
        for key in ("source", "fingerprint", "verified"):
            file.attrs[f"tlcli_{key}"] = getattr(entry, key)


def read_provenance(path: Path) -> Provenance | None:
    """What a file says about itself, or None for a file that tlcli has not written."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            said = [file.attrs.get(f"tlcli_{key}") for key in ("source", "fingerprint", "verified")]
    except OSError:
        return None
    if not all(isinstance(value, str) for value in said):
        return None
    return Provenance(*said)


def read_cached_weights(path: Path, row: bases.PretrainedBase) -> tuple[Tensors, Provenance]:
    """The tensors of a cached file, compared with what was written.

    Raises `WeightsError` for a damaged file, and one that holds other tensors than it did.
    """
    tensors = read_weights(path, row, str(path), "its name says")
    said = read_provenance(path)
    found = verify_tensors(row, tensors, str(path))
    if said is None:
        return tensors, found
    if said.fingerprint != found.fingerprint:
        hint = f"delete it and run `tlcli weights fetch {row.name}`"
        raise WeightsError(
            Problem(str(path), "its tensors have changed since it was written", hint)
        )
    return tensors, said
