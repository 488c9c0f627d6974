"""Saved models as values that can be compared: everything in the archive but its date."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py


def read_model_archive(path: Path) -> dict[str, Any]:
    """The members of a `.keras` archive by name; equal for models that are the same in every bit.

    JSON members are parsed, and the weights are what `_tensors` gives. Left out are the date of
    saving and the packing of the archive, which has dates as well. Objects that layers share have
    their address in memory as a number, instead of which they are counted.
    """
    contents: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".h5"):
                contents[name] = _tensors(data)
            else:
                contents[name] = json.loads(data)
    assert contents.keys() >= {"config.json", "metadata.json", "model.weights.h5"}
    assert contents["metadata.json"].pop("date_saved")
    _number_shared_objects(contents["config.json"], {})
    return contents


def _number_shared_objects(config: Any, numbers: dict[int, int]) -> None:
    if isinstance(config, dict):
        if "shared_object_id" in config:
            address = config["shared_object_id"]
            config["shared_object_id"] = numbers.setdefault(address, len(numbers))
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        _number_shared_objects(value, numbers)


def _tensors(data: bytes) -> dict[str, Any]:
    """Type, shape and digest of every tensor of an HDF5 file, and the attributes of its groups."""
    entries: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        entries[name] = {key: str(attribute) for key, attribute in value.attrs.items()}
        if isinstance(value, h5py.Dataset):
            digest = hashlib.sha256(value[()].tobytes()).hexdigest()
            entries[name] |= {"dtype": str(value.dtype), "shape": value.shape, "sha256": digest}

    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(add)
    assert sum("sha256" in entry for entry in entries.values()) > 5
    return entries
