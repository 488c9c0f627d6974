"""tlcli's own cache of pretrained weights: one verified file for each base.

A file is a Keras 3 weights file, so `keras.applications.VGG16(weights=PATH, include_top=False)`
loads it. Its attributes say where its tensors came from and how they were verified: a hint for
people, which vouches for nothing. What tlcli goes by is in `verification_records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import Tensors, tensor_fingerprint, weighted_layers
from tlcli.pretrained.verification_records import BY_FINGERPRINT, Verification, read_record
from tlcli.pretrained.weight_sources import published_weights
from tlcli.system import files


@dataclass(frozen=True)
class Provenance:
    """Where tensors came from and how they were verified.

    Attributes:
        source: the address, mirror or file that they came from.
        fingerprint: their `tensors.tensor_fingerprint`.
        verified: one of `verification_records.BY_...`; empty where nothing vouches for them.
        published: the hash or fingerprint that vouches for them, in hex.
        stated: what the attributes of their file say in the place of `verified`.
    """

    source: str
    fingerprint: str
    verified: str
    published: str = ""
    stated: str = ""

    @property
    def verification(self) -> str:
        """How the tensors were verified, in words."""
        if self.verified:
            return f"verified by {self.verified}"
        if self.stated:
            return f"not verified (the file itself says: by {self.stated})"
        return "not verified"


def weights_folder(cache: Path) -> Path:
    """The folder of weights in a cache."""
    return cache / "weights"


def weights_file_name(base: str) -> str:
    """The name of a base's file: 'vgg16_imagenet_notop.weights.h5'."""
    return f"{base.lower()}_imagenet_notop.weights.h5"


def verify_tensors(
    row: bases.PretrainedBase,
    tensors: Tensors,
    where: str,
    folder: Path,
    proof: Verification | None = None,
) -> Provenance:
    """Verify tensors as the ImageNet weights of a base, by the fingerprint if one is published.

    `folder`, that of the weights in tlcli's cache, has the records; `proof` says how the file of
    the tensors was verified just now. Raises `WeightsError`, placed at `where`, for tensors with
    another fingerprint.
    """
    actual, published = tensor_fingerprint(tensors), published_weights(row.name).fingerprint
    if published and actual != published:
        message = f"these are not the ImageNet weights of {row.name}: their fingerprint is "
        message += f"{actual[:12]}..., not {published[:12]}..."
        hint = f"get the right ones with `tlcli weights fetch {row.name}`"
        raise WeightsError(Problem(where, message, hint))
    return trace_tensors(row, actual, where, folder, proof)


def trace_tensors(
    row: bases.PretrainedBase,
    fingerprint: str,
    source: str,
    folder: Path,
    proof: Verification | None = None,
) -> Provenance:
    """What is known of tensors with a fingerprint, which `source` has; as `verify_tensors`."""
    known = proof or read_record(folder, row.name, fingerprint) or Verification(source)
    if fingerprint == published_weights(row.name).fingerprint:
        return Provenance(known.source, fingerprint, BY_FINGERPRINT, fingerprint)
    return Provenance(known.source, fingerprint, known.verified, known.published)


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
        file.attrs["tlcli_source"] = provenance.source
        file.attrs["tlcli_fingerprint"] = provenance.fingerprint
        file.attrs["tlcli_verified"] = provenance.verified or provenance.stated


def read_statement(path: Path) -> Provenance | None:
    """What a file says about its tensors, or None for a file that tlcli has not written.

    It is not verified: anyone can write that.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            source, fingerprint, stated = (
                file.attrs.get(f"tlcli_{key}") for key in ("source", "fingerprint", "verified")
            )
    except OSError:
        return None
    if not all(isinstance(value, str) for value in (source, fingerprint, stated)):
        return None
    return Provenance(source, fingerprint, "", stated=stated)
