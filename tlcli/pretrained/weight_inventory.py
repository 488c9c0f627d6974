"""`tlcli weights`: what is there of the pretrained weights, and carrying them about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import (
    read_cached_weights,
    read_provenance,
    weights_file_name,
    write_weights,
)
from tlcli.pretrained.weight_fetch import download_weights
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weights import candidate_files, verify_file
from tlcli.system import console, download, files

#: The list of SHA-256 sums that an export gets, as `sha256sum --check` reads it.
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True)
class WeightFile:
    """A file with the weights of a base on this machine."""

    row: bases.PretrainedBase
    place: str
    path: Path

    @property
    def proof(self) -> str | None:
        """How tlcli verified the file when it wrote it; None: not yet. Nothing is computed."""
        said = read_provenance(self.path)
        return said.verified if said else None


def lookup_bases(names: Sequence[str]) -> list[bases.PretrainedBase]:
    """The bases of those names, all of them without any; raises `WeightsError` for unknown ones."""
    found = []
    for name in names or bases.names():
        row = bases.lookup(name)
        if row is None:
            raise WeightsError(bases.unknown_base(name, "weights"))
        found.append(row)
    return found


def find_weight_files(
    names: Sequence[str], folder: Path, access: WeightsAccess
) -> Iterator[WeightFile]:
    """The files of weights in all places, in the order in which they count."""
    for row in lookup_bases(names):
        for place, paths in candidate_files(row, folder, access).items():
            yield from (WeightFile(row, place, path) for path in paths if path.is_file())


def list_weights(folder: Path, access: WeightsAccess) -> tuple[str, Any]:
    """Which weights are on this machine: as text, and as a value for JSON."""
    found = list(find_weight_files((), folder, access))
    value = [
        {
            "base": one.row.name,
            "place": one.place,
            "path": str(one.path),
            "bytes": one.path.stat().st_size,
            "verified": one.proof,
        }
        for one in found
    ]
    lines = [
        [
            one.row.name,
            one.place,
            console.size(one.path.stat().st_size),
            _verification_text(one.proof),
            one.path,
        ]
        for one in found
    ]
    present = {one.row.name for one in found}
    lines += [
        [row.name, "-", console.size(4 * row.parameters), "", ""]
        for row in bases.BASES.values()
        if row.name not in present
    ]
    text = console.table(("base", "present in", "size", "verified", "file"), lines)
    return text + "\n\n`tlcli weights fetch NAME` fetches missing ones.", value


def _verification_text(proof: str | None) -> str:
    if proof is None:
        return "not yet: see `verify`"
    return f"by {proof}" if proof else "no checksum is known"


def fetch_weights(names: Sequence[str], folder: Path, *, offline: bool = False) -> list[Path]:
    """The files of those bases in tlcli's cache, verified; what is missing is fetched.

    Raises `WeightsError` with every base that could not be had.
    """
    paths: list[Path] = []
    problems: list[Problem] = []
    for row in lookup_bases(names):
        try:
            path = download_weights(row, folder, offline=offline)
            read_cached_weights(path, row)
            paths.append(path)
        except WeightsError as error:
            problems += error.problems
    if problems:
        raise WeightsError(problems)
    return paths


def verify_weights(
    names: Sequence[str], folder: Path, access: WeightsAccess
) -> tuple[list[str], list[Problem]]:
    """Read every file of weights on this machine: a line for each sound one, and the problems."""
    lines: list[str] = []
    problems: list[Problem] = []
    for one in find_weight_files(names, folder, access):
        try:
            entry = verify_file(one.path, one.row, str(one.path), "its name says")
        except WeightsError as error:
            problems += error.problems
            continue
        proof = f"verified by {entry.verified}" if entry.verified else "no checksum is known"
        lines.append(f"{one.row.name}: {one.path}: {proof}, fingerprint {entry.fingerprint}")
    return lines, problems


def import_weights(file: Path, base: str, folder: Path, *, force: bool = False) -> Path:
    """Copy the weights in a file of any form into tlcli's cache, once they are verified.

    Raises `WeightsError` for other weights than the published ones where those are known, and for
    a base that has others in the cache already, unless `force`.
    """
    (row,) = lookup_bases([base])
    entry = verify_file(file, row, str(file), "--base says")
    path = folder / weights_file_name(row.name)
    present = read_provenance(path) if path.is_file() else None
    same = present is not None and present.fingerprint == entry.fingerprint
    if path.is_file() and not (same or force):
        hint = "replace them with --force"
        raise WeightsError(Problem(str(path), f"has other weights of {row.name}", hint))
    source = entry if entry.source != str(file) else replace(entry, source=file.name)
    tensors = read_weights(file, row, str(file))
    write_weights(path, row, tensors, source)
    return path


def export_weights(
    target: Path, names: Sequence[str], folder: Path, access: WeightsAccess
) -> list[Path]:
    """Write the weights on this machine to a folder that `--weights-dir` can name elsewhere.

    Every file is verified on the way. Raises `WeightsError` where there are none, or those asked
    for are missing.
    """
    first: dict[str, WeightFile] = {}
    for one in find_weight_files(names, folder, access):
        first.setdefault(one.row.name, one)
    missing = [row.name for row in lookup_bases(names) if row.name not in first] if names else []
    if missing or not first:
        what = ", ".join(missing) or "any base"
        hint = f"run `tlcli weights fetch {missing[0] if missing else 'NAME'}` first"
        message = f"the weights of {what} are not on this machine"
        raise WeightsError(Problem("weights", message, hint))
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in first.values():
        entry = verify_file(one.path, one.row, str(one.path), "its name says")
        path = target / weights_file_name(one.row.name)
        write_weights(path, one.row, read_weights(one.path, one.row, ""), entry)
        paths.append(path)
    sums = [f"{download.hash_file(path, '0' * 64)}  {path.name}\n" for path in paths]
    files.write_text(target / SUMS_FILE, "".join(sums))
    return paths
