"""Where the weights of a base come from, and whether they are the right ones.

`imagenet` is looked for in a folder that the user names, in tlcli's cache and in Keras' cache, and
fetched when it is needed; a path is taken as it is, and `random` only where the recipe says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import Tensors, tensor_fingerprint, weighted_layers
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import (
    BY_FINGERPRINT,
    BY_HASH,
    UNVERIFIED,
    Provenance,
    read_cached_weights,
    read_provenance,
    verify_tensors,
    weights_file_name,
    weights_folder,
)
from tlcli.pretrained.weight_fetch import download_weights
from tlcli.pretrained.weight_files import base_from_file_name, check_weights_file, read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.system import download, files


@dataclass(frozen=True)
class WeightSource:
    """Weights as found: a file, the network, or random numbers.

    Of the kind `network` there is one only where the network may be used.

    Attributes:
        path: of the file.
        folder: of tlcli's cache, where what comes from the network is kept.
        verified: how the file was verified, one of `weight_cache.BY_...`, or empty.
        notes: the steps that led here.
    """

    kind: Literal["file", "network", "random"]
    path: Path | None = None
    folder: Path | None = None
    verified: str = field(default="", compare=False)
    notes: tuple[Problem, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        if self.kind == "file":
            return str(self.path)
        return {"network": "ImageNet weights", "random": "random weights"}[self.kind]


def find_weights(
    row: bases.PretrainedBase,
    wanted: str,
    where: str,
    access: WeightsAccess,
    cache: Path | None = None,
    asks: str = "the recipe asks for",
) -> WeightSource:
    """The source that a recipe's `base.weights` means: imagenet, random or a path.

    Nothing is fetched yet. A file for `imagenet` is read and verified; one that the recipe names
    is the user's choice, and only its shapes are compared. `cache` is the folder of
    `files.cache_folder`. Problems are placed at `where`; `asks` says what did ask for that base.
    Raises `WeightsError` for files that are missing, hold another network, or are not what they
    claim, and where the weights would have to be fetched but tlcli is offline.
    """
    if wanted == "random":
        return WeightSource("random")
    if wanted != "imagenet":
        check_weights_file(Path(wanted), row, where, asks)
        return WeightSource("file", Path(wanted))
    folder = weights_folder(files.cache_folder(cache))
    found, verified, tried = None, "", []
    for found, verified, said in _search(row, folder, access):
        tried.append(f"{said}, {_proof(verified)}" if found else said)
        if found is not None:
            break
    if found is None and access.offline:
        hint = "leave out --offline and TLCLI_OFFLINE, or get a file and run "
        hint += f"`tlcli weights import FILE --base {row.name}`"
        message = f"the weights of {row.name} are not on this machine, and tlcli is offline"
        raise WeightsError(Problem(where, message, hint))
    notes = tuple(Problem(f"weights of {row.name}", text, severity="note") for text in tried)
    return WeightSource("file" if found else "network", found, folder, verified, notes)


def candidate_files(
    row: bases.PretrainedBase, folder: Path, access: WeightsAccess
) -> dict[str, list[Path]]:
    """Where the ImageNet weights of a base may be, by place, in the order in which they count.

    `folder` is that of tlcli's cache. Not every path is there.
    """
    own, official = weights_file_name(row.name), published_weights(row.name).file
    found = {}
    if given := access.folder:
        others = sorted(given.iterdir()) if given.is_dir() else []
        meant = [path for path in others if base_from_file_name(path) == row.name]
        found["TLCLI_WEIGHTS"] = list(dict.fromkeys([given / own, given / official, *meant]))
    found["tlcli's cache"] = [folder / own]
    found["Keras' cache"] = [keras_weights_folder() / official]
    return found


def keras_weights_folder() -> Path:
    """The folder in which Keras keeps the weights that it has downloaded."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def _search(
    row: bases.PretrainedBase, folder: Path, access: WeightsAccess
) -> Iterator[tuple[Path | None, str, str]]:
    """Each place that is tried: the verified file in it, if any, its proof, and words for the user.

    A wrong file is an error, except in Keras' cache: Keras leaves broken ones behind.
    """
    for place, paths in candidate_files(row, folder, access).items():
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            yield None, "", f"none in {place} ({paths[0].parent})"
            continue
        try:
            where = place if place == "TLCLI_WEIGHTS" else str(path)
            yield path, verify_file(path, row, where).verified, f"{path} in {place}"
        except WeightsError as error:
            if place != "Keras' cache":
                raise
            yield None, "", f"skipped in {place}: {error.problems[0].message}"


def _proof(verified: str) -> str:
    return f"verified by {verified}" if verified else "no checksum is known for it"


def verify_file(
    path: Path, row: bases.PretrainedBase, where: str, asks: str = "the recipe asks for"
) -> Provenance:
    """What is known about a file with the ImageNet weights of a base.

    Raises `WeightsError` for a file that has other tensors than the known ones, and for one under
    the name of the official file that has another hash and nothing else to prove it.
    """
    if read_provenance(path) is not None:
        return read_cached_weights(path, row)[1]
    tensors = read_weights(path, row, where, asks)
    known = published_weights(row.name)
    matched = bool(known.hashes) and any(
        download.hash_file(path, published) == published for published in known.hashes
    )
    if path.name == known.file and known.hashes and not (matched or known.fingerprint):
        message = f"{path} has the name of the official file, but not its hash"
        hint = f"delete it, or run `tlcli weights fetch {row.name}`"
        raise WeightsError(Problem(where, message, hint))
    proof = BY_HASH if matched else UNVERIFIED
    return verify_tensors(row, tensors, where, proof)


def load_weights(model: Any, row: bases.PretrainedBase, source: WeightSource) -> None:
    """Put the weights into a base that `bases.Base.build` has made, fetching them if need be.

    Raises `WeightsError` where they cannot be had.
    """
    if source.kind == "random":
        return
    path = source.path
    if source.kind == "network":
        assert source.folder is not None
        path = download_weights(row, source.folder)
    assert path is not None
    assign_tensors(model, read_weights(path, row, str(path)), row)


def assign_tensors(model: Any, values: Tensors, row: bases.PretrainedBase) -> None:
    """Put tensors in the order of `tensors.layers` into the layers of a base."""
    left = iter(values)
    for layer in _layers(model, row):
        layer.set_weights([next(left) for _ in layer.weights])
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # set_weights leaves the mean and variance it computes with


def weights_record(model: Any, row: bases.PretrainedBase, source: WeightSource) -> dict[str, str]:
    """What a run keeps about its weights: where they came from, and which they are.

    `fingerprint` is that of the tensors in the model, as in `tensors.fingerprint`.
    """
    path = source.path
    if source.kind == "network" and source.folder is not None:
        path = source.folder / weights_file_name(row.name)
    said = read_provenance(path) if path and path.is_file() else None
    said = said or Provenance(str(source), "", source.verified)
    found = tensor_fingerprint(v for layer in _layers(model, row) for v in layer.get_weights())
    known = found == published_weights(row.name).fingerprint
    return {
        "source": said.source,
        "file": str(path.absolute()) if path else "",
        "fingerprint": found,
        "verified": BY_FINGERPRINT if known else said.verified,
    }


def _layers(model: Any, row: bases.PretrainedBase) -> list[Any]:
    names = dict.fromkeys(layer.name for layer in weighted_layers(row.name))
    return [model.get_layer(name) for name in names]
