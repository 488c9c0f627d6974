"""Find the weights of a base, verify them, and load them into the model.

ImageNet weights are searched for in the user's own folder, in tlcli's cache and in Keras' cache, in
this order, and downloaded where none of the three has them. A path that the user names is taken as
it is, and weights are random only if the recipe says `random`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import Tensors, tensor_fingerprint, weighted_layers
from tlcli.pretrained.verification_records import BY_HASH, Verification
from tlcli.pretrained.weight_access import WeightsAccess, offline_hint
from tlcli.pretrained.weight_cache import (
    Provenance,
    read_statement,
    trace_tensors,
    verify_tensors,
    weights_file_name,
    weights_folder,
)
from tlcli.pretrained.weight_fetch import download_weights
from tlcli.pretrained.weight_files import base_from_file_name, read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.system import files


@dataclass(frozen=True)
class WeightSource:
    """Where the weights of a base will be taken from.

    Attributes:
        kind: a file on this machine, the network (only where the user allows it), or random
            numbers.
        path: of the file.
        folder: the weights folder of tlcli's cache, which keeps what is downloaded.
        provenance: of a file with ImageNet weights.
        notes: for the user: each place that was searched, and the result.
    """

    kind: Literal["file", "network", "random"]
    path: Path | None = None
    folder: Path | None = field(default=None, compare=False)
    provenance: Provenance | None = field(default=None, compare=False)
    notes: tuple[Problem, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        if self.kind == "file":
            return str(self.path)
        return {"network": "ImageNet weights", "random": "random weights"}[self.kind]


def find_weights(
    row: bases.PretrainedBase,
    choice: str,
    where: str,
    access: WeightsAccess,
    cache: Path | None = None,
    expected_by: str = "the recipe asks for",
) -> WeightSource:
    """The source of a base's weights; nothing is downloaded yet.

    A file is read: one with ImageNet weights is verified, of one that the user names the shapes
    are compared and the numbers looked at.

    Args:
        row: the base.
        choice: as a recipe's `base.weights` has it: 'imagenet', 'random' or a path.
        where: the place of problems.
        access: whether the network may be used, and the user's own folder.
        cache: see `files.cache_folder`.
        expected_by: what names the base, for the message about a file of another base.

    Raises `WeightsError` for files that are missing, hold another network, or are not what they
    claim to be, where the weights would have to be downloaded but tlcli is offline, and for any but
    random weights of a base that is trained from scratch alone.
    """
    if choice == "random":
        return WeightSource("random")
    if not row.pretrained:
        raise WeightsError(bases.without_weights(row, where))
    folder = weights_folder(files.cache_folder(cache))
    if choice != "imagenet":
        read_weights(Path(choice), row, where, expected_by)
        return WeightSource("file", Path(choice), folder)
    path, provenance, results = None, None, []
    for path, provenance, result in _search(row, folder, access):
        results.append(f"{result}, {provenance.verification}" if provenance else result)
        if path is not None:
            break
    if path is None and access.offline:
        message = f"the weights of {row.name} are not on this machine, and tlcli is offline"
        raise WeightsError(Problem(where, message, offline_hint(row.name)))
    notes = tuple(Problem(f"weights of {row.name}", text, severity="note") for text in results)
    return WeightSource("file" if path else "network", path, folder, provenance, notes)


def candidate_files(
    row: bases.PretrainedBase, folder: Path, access: WeightsAccess
) -> dict[str, list[Path]]:
    """The paths that the ImageNet weights of a base may have, for each place that is searched.

    Places and paths are in the order of preference; most paths will not exist. `folder` is the
    weights folder of tlcli's cache.
    """
    own, official = weights_file_name(row.name), published_weights(row.name).file
    paths = {}
    if user_folder := access.folder:
        entries = sorted(user_folder.iterdir()) if user_folder.is_dir() else []
        similar = [path for path in entries if base_from_file_name(path) == row.name]
        exact = [user_folder / own, user_folder / official]
        paths["TLCLI_WEIGHTS"] = list(dict.fromkeys([*exact, *similar]))
    paths["tlcli's cache"] = [folder / own]
    paths["Keras' cache"] = [keras_weights_folder() / official]
    return paths


def keras_weights_folder() -> Path:
    """The folder in which Keras keeps the weights that it has downloaded."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def _search(
    row: bases.PretrainedBase, folder: Path, access: WeightsAccess
) -> Iterator[tuple[Path | None, Provenance | None, str]]:
    """Search place after place: the file in it or None, its provenance, and a note.

    A wrong file is an error, except in Keras' cache, where Keras leaves broken files behind.
    """
    for place, paths in candidate_files(row, folder, access).items():
        if not (present := present_files(paths, row)):
            yield None, None, f"none in {place} ({paths[0].parent})"
            continue
        try:
            path, provenance = verify_alike(present, row, place, folder)
            yield path, provenance, f"{path} in {place}"
        except WeightsError as error:
            if place != "Keras' cache":
                raise
            yield None, None, f"skipped in {place}: {error.problems[0].message}"


def present_files(paths: list[Path], row: bases.PretrainedBase) -> list[Path]:
    """The files among `paths`; where some have the names of tlcli or Keras, these alone."""
    present = [path for path in paths if path.is_file()]
    names = (weights_file_name(row.name), published_weights(row.name).file)
    return [path for path in present if path.name in names] or present


def verify_alike(
    paths: list[Path], row: bases.PretrainedBase, place: str, folder: Path
) -> tuple[Path, Provenance]:
    """The first of the files of one place, verified; a `WeightsError` if their tensors differ."""
    where = place if place == "TLCLI_WEIGHTS" else str(paths[0])
    verified = [verify_file(path, row, where, folder) for path in paths]
    if len({provenance.fingerprint for provenance in verified}) > 1:
        names = ", ".join(path.name for path in paths)
        message = f"several files in {paths[0].parent} may hold the weights of {row.name}, with "
        message += f"different numbers: {names}"
        hint = f"keep one of them there, or rename it to {weights_file_name(row.name)}"
        raise WeightsError(Problem(where, message, hint))
    return paths[0], verified[0]


def verify_file(
    path: Path,
    row: bases.PretrainedBase,
    where: str,
    folder: Path,
    expected_by: str = "the recipe asks for",
) -> Provenance:
    """Verify a file with the ImageNet weights of a base; `folder` is that of tlcli's cache.

    What the file says of itself is only compared with what it holds. Raises `WeightsError` for a
    file with other tensors than the published ones, or than when tlcli wrote it. Where those are
    not known, a file under the name of the official one must have its hash.
    """
    tensors = read_weights(path, row, where, expected_by)
    published, statement = published_weights(row.name), read_statement(path)
    is_official = path.name == published.file
    matched = published.matching_hash(path) if is_official or statement is None else ""
    if is_official and published.hashes and not (matched or published.fingerprint):
        message = f"{path} has the name of the official file, but not its hash"
        hint = f"delete it, or run `tlcli weights fetch {row.name}`"
        raise WeightsError(Problem(where, message, hint))
    proof = Verification(str(path), BY_HASH, matched) if matched else None
    provenance = verify_tensors(row, tensors, where, folder, proof)
    if statement is None:
        return provenance
    if statement.fingerprint != provenance.fingerprint:
        hint = f"delete it and run `tlcli weights fetch {row.name}`"
        raise WeightsError(
            Problem(str(path), "its tensors have changed since it was written", hint)
        )
    return replace(provenance, stated=statement.stated)


def load_weights(model: Any, row: bases.PretrainedBase, source: WeightSource) -> None:
    """Load the weights into a base of `PretrainedBase.build`, downloaded first if need be.

    Raises `WeightsError` if no source has them.
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
    """Put tensors in the order of `tensors.weighted_layers` into the layers of a base."""
    remaining = iter(values)
    for layer in _layers(model, row):
        layer.set_weights([next(remaining) for _ in layer.weights])
        if hasattr(layer, "finalize_state"):
            # Normalization computes with copies of its mean and variance, which `set_weights` does
            # not renew.
            layer.finalize_state()


def describe_weights(model: Any, row: bases.PretrainedBase, source: WeightSource) -> dict[str, str]:
    """What a run records about its weights, as in `weight_cache.Provenance`, with their file.

    The fingerprint is that of the tensors in the model, and nothing is recorded as verified but
    them.
    """
    path, folder = source.path, source.folder
    if source.kind == "network" and folder is not None:
        path = folder / weights_file_name(row.name)
    fingerprint = tensor_fingerprint(
        values for layer in _layers(model, row) for values in layer.get_weights()
    )
    known = source.provenance
    if known is None or known.fingerprint != fingerprint:
        known = Provenance(str(source), fingerprint, "")
        if folder is not None:
            known = trace_tensors(row, fingerprint, str(path or source), folder)
    return {
        "source": known.source,
        "file": str(path.absolute()) if path else "",
        "fingerprint": fingerprint,
        "verified": known.verified,
        "published": known.published,
        "stated": known.stated,
    }


def _layers(model: Any, row: bases.PretrainedBase) -> list[Any]:
    names = dict.fromkeys(layer.name for layer in weighted_layers(row.name))
    return [model.get_layer(name) for name in names]
