"""tlcli's own cache of pretrained weights: one verified file for each base.

A file is a Keras 3 weights file, so `keras.applications.VGG16(weights=PATH, include_top=False)`
loads it. Its attributes record where its tensors came from and how they were verified.
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

#: How tensors were verified: by their own fingerprint, by the hash that Keras or a mirror publishes
#: for their file, or not at all.
BY_FINGERPRINT, BY_HASH, BY_MIRROR, UNVERIFIED = "fingerprint", "published hash", "mirror hash", ""


@dataclass(frozen=True)
class Provenance:
    """Where tensors came from and how they were verified, as a file of the cache records it.

    Attributes:
        source: the host, mirror or file that they came from.
        fingerprint: their `tensors.tensor_fingerprint` at that time.
        verified: one of the `BY_...` above; empty where nothing is published to compare with.
    """

    source: str
    fingerprint: str
    verified: str

    @property
    def verification(self) -> str:
        """How the tensors were verified, in words."""
        return f"verified by {self.verified}" if self.verified else "no checksum is known"


def weights_folder(cache: Path) -> Path:
    """The folder of weights in a cache."""
    return cache / "weights"


def weights_file_name(base: str) -> str:
    """The name of a base's file: 'vgg16_imagenet_notop.weights.h5'."""
    return f"{base.lower()}_imagenet_notop.weights.h5"


def verify_tensors(
    row: bases.PretrainedBase, tensors: Tensors, where: str, proof: str = UNVERIFIED
) -> Provenance:
    """Verify tensors as the ImageNet weights of a base, by the fingerprint if one is published.

    `proof` says how their file was verified before; it stays where no fingerprint is published.
    Raises `WeightsError`, placed at `where`, for tensors with another fingerprint.
    """
    actual, published = tensor_fingerprint(tensors), published_weights(row.name).fingerprint
    if published and actual != published:
        message = f"these are not the ImageNet weights of {row.name}: their fingerprint is "
        message += f"{actual[:12]}..., not {published[:12]}..."
        hint = f"get the right ones with `tlcli weights fetch {row.name}`"
        raise WeightsError(Problem(where, message, hint))
    return Provenance(where, actual, BY_FINGERPRINT if published else proof)


def write_weights(
    path: Path, row: bases.PretrainedBase, tensors: Sequence[object], provenance: Provenance
) -> None:
    """Write the tensors of a base and their provenance as a weights file that appears whole."""
    import h5py

    remaining = iter(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for layer in weighted_layers(row.name):
            for place in layer.paths:
                file.create_dataset(place, data=np.asarray(next(remaining), dtype="<f4"))
        for key in ("source", "fingerprint", "verified"):
            file.attrs[f"tlcli_{key}"] = getattr(provenance, key)


def read_provenance(path: Path) -> Provenance | None:
    """What a file records about its tensors, or None for a file that tlcli has not written."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            values = [
                file.attrs.get(f"tlcli_{key}") for key in ("source", "fingerprint", "verified")
            ]
    except OSError:
        return None
    if not all(isinstance(value, str) for value in values):
        return None
    return Provenance(*values)


def read_cached_weights(path: Path, row: bases.PretrainedBase) -> tuple[Tensors, Provenance]:
    """The tensors and the provenance of a file of the cache, once they agree.

    Raises `WeightsError` for a damaged file, and for one whose tensors are no longer those that
    were written.
    """
    tensors = read_weights(path, row, str(path), "its name says")
    recorded = read_provenance(path)
    actual = verify_tensors(row, tensors, str(path))
    if recorded is None:
        return tensors, actual
    if recorded.fingerprint != actual.fingerprint:
        hint = f"delete it and run `tlcli weights fetch {row.name}`"
        raise WeightsError(
            Problem(str(path), "its tensors have changed since it was written", hint)
        )
    return tensors, recorded
