"""List, fetch, verify, import and export the pretrained weights of this machine (`tlcli weights`).

`folder` is the weights folder of tlcli's cache everywhere in this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import tensor_fingerprint
from tlcli.pretrained.verification_records import BY_HASH, Verification, write_record
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import Provenance, weights_file_name, write_weights
from tlcli.pretrained.weight_fetch import download_weights
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.pretrained.weights import candidate_files, present_files, verify_alike, verify_file
from tlcli.system import console, download, files

#: The file with the SHA-256 sums of an export, as `sha256sum --check` reads it.
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True)
class WeightFile:
    """A file with the weights of a base on this machine.

    Attributes:
        row: the base.
        place: where it was found, as the user sees it: one of `weights.candidate_files`.
    """

    row: bases.PretrainedBase
    place: str
    path: Path

    def verify(self, folder: Path) -> Provenance:
        """Read it and compare it with what is published, and with what was recorded."""
        return verify_file(self.path, self.row, str(self.path), folder, "its name says")


def lookup_bases(names: Sequence[str]) -> list[bases.PretrainedBase]:
    """The bases of those names, or all that are pretrained.

    Raises `WeightsError` for unknown names, and for bases that have no weights.
    """
    rows = []
    for name in names or bases.PRETRAINED:
        row = bases.lookup(name)
        if row is None:
            raise WeightsError(bases.unknown_base(name, "weights"))
        if not row.pretrained:
            raise WeightsError(bases.without_weights(row, "weights"))
        rows.append(row)
    return rows


def find_weight_files(
    names: Sequence[str], folder: Path, access: WeightsAccess
) -> Iterator[WeightFile]:
    """The weights files of those bases, or of all, in the order in which they are preferred."""
    for row in lookup_bases(names):
        for place, paths in candidate_files(row, folder, access).items():
            yield from (WeightFile(row, place, path) for path in paths if path.is_file())


def list_weights(folder: Path, access: WeightsAccess) -> tuple[str, Any]:
    """The weights on this machine: as text, and as a value for JSON. The files are read."""
    weight_files = list(find_weight_files((), folder, access))
    value: list[dict[str, Any]] = []
    lines: list[list[object]] = []
    with console.progress(len(weight_files), "reading weights", unit="files") as bar:
        for file in weight_files:
            verified, words = _verification(file, folder)
            size = file.path.stat().st_size
            value.append(
                {
                    "base": file.row.name,
                    "place": file.place,
                    "path": str(file.path),
                    "bytes": size,
                    "verified": verified,
                }
            )
            lines.append([file.row.name, file.place, console.size(size), words, file.path])
            bar.update(1)
    present = {file.row.name for file in weight_files}
    lines += [
        [row.name, "-", console.size(4 * row.parameters), "", ""]
        for row in bases.PRETRAINED.values()
        if row.name not in present
    ]
    text = console.table(("base", "present in", "size", "verified", "file"), lines)
    return text + "\n\n`tlcli weights fetch NAME` fetches missing ones.", value


def _verification(file: WeightFile, folder: Path) -> tuple[str | None, str]:
    """How a file is verified, or None for one that cannot be used; and the same in words."""
    try:
        provenance = file.verify(folder)
    except WeightsError:
        return None, "cannot be used: see `verify`"
    return provenance.verified, provenance.verification


def fetch_weights(names: Sequence[str], folder: Path, *, offline: bool = False) -> list[Path]:
    """The verified files of those bases in tlcli's cache; missing ones are downloaded.

    Raises `WeightsError` with the problems of all bases whose weights no source has.
    """
    paths: list[Path] = []
    problems: list[Problem] = []
    for row in lookup_bases(names):
        try:
            path = download_weights(row, folder, offline=offline)
            provenance = WeightFile(row, "tlcli's cache", path).verify(folder)
            if not provenance.verified and published_weights(row.name).hashes:
                hint = f"to fetch and verify them, delete {path} and give this command again"
                note = Problem(f"weights of {row.name}", provenance.verification, hint)
                console.note(str(note))
            paths.append(path)
        except WeightsError as error:
            problems += error.problems
    if problems:
        raise WeightsError(problems)
    return paths


@dataclass(frozen=True)
class VerifiedWeights:
    """What reading the weights files came to: those that can be used, and the problems."""

    files: tuple[tuple[WeightFile, Provenance], ...]
    problems: tuple[Problem, ...]

    def text(self) -> str:
        """A line for each file that can be used."""
        lines = (
            f"{file.row.name}: {file.path}: {check.verification}, fingerprint {check.fingerprint}"
            for file, check in self.files
        )
        return "\n".join(lines) or "no valid weights on this machine"

    def as_json(self) -> dict[str, Any]:
        """What `tlcli weights verify --json` prints."""
        return {
            "files": [
                {
                    "base": file.row.name,
                    "path": str(file.path),
                    "verified": check.verified,
                    "fingerprint": check.fingerprint,
                }
                for file, check in self.files
            ],
            "problems": [str(problem) for problem in self.problems],
        }


def verify_weights(names: Sequence[str], folder: Path, access: WeightsAccess) -> VerifiedWeights:
    """Read every weights file on this machine, and compare it with what is published."""
    verified: list[tuple[WeightFile, Provenance]] = []
    problems: list[Problem] = []
    for file in find_weight_files(names, folder, access):
        try:
            verified.append((file, file.verify(folder)))
        except WeightsError as error:
            problems += error.problems
    return VerifiedWeights(tuple(verified), tuple(problems))


def import_weights(file: Path, base: str, folder: Path, *, force: bool = False) -> Path:
    """Verify the weights in a file of any form and copy them into tlcli's cache.

    Raises `WeightsError` for tensors with another fingerprint than the published one, and unless
    `force` for a base that has other weights in the cache already.
    """
    (row,) = lookup_bases([base])
    provenance = verify_file(file, row, str(file), folder, "--base says")
    path = folder / weights_file_name(row.name)
    if path.is_file() and not force and _fingerprint(path, row) != provenance.fingerprint:
        hint = "replace them with --force"
        raise WeightsError(Problem(str(path), f"has other weights of {row.name}", hint))
    if provenance.source == str(file):  # a path of this machine would mean nothing elsewhere
        provenance = replace(provenance, source=file.name)
        if provenance.verified == BY_HASH:
            proof = Verification(file.name, BY_HASH, provenance.published)
            write_record(folder, row.name, provenance.fingerprint, proof)
    tensors = read_weights(file, row, str(file))
    write_weights(path, row, tensors, provenance)
    return path


def _fingerprint(path: Path, row: bases.PretrainedBase) -> str:
    """The fingerprint of the tensors in a file; empty if it cannot be read."""
    try:
        return tensor_fingerprint(read_weights(path, row, str(path)))
    except WeightsError:
        return ""


def export_weights(
    target: Path,
    names: Sequence[str],
    folder: Path,
    access: WeightsAccess,
    *,
    force: bool = False,
) -> list[Path]:
    """Write the weights on this machine to a folder that another machine uses with `--weights-dir`.

    Every file is verified first; one with the same tensors that is there already stays as it is.
    Raises `WeightsError` if there are none, if those of one of the named bases are missing, and
    unless `force` for a file in the way that holds something else.
    """
    verified = {
        target / weights_file_name(row.name): (row, file, provenance)
        for row, file, provenance in _verified_files(names, folder, access)
    }
    present = {path for path in verified if os.path.lexists(path)}
    same = {
        path
        for path in present
        if _fingerprint(path, verified[path][0]) == verified[path][2].fingerprint
    }
    if present - same and not force:
        hint = "name another folder, or replace it with --force"
        message = "exists already and holds something else"
        raise WeightsError(Problem(str(path), message, hint) for path in sorted(present - same))
    target.mkdir(parents=True, exist_ok=True)
    for path, (row, file, provenance) in verified.items():
        if path not in same:
            write_weights(path, row, read_weights(file, row, ""), provenance)
    _write_sums(target / SUMS_FILE, list(verified))
    return list(verified)


def _verified_files(
    names: Sequence[str], folder: Path, access: WeightsAccess
) -> list[tuple[bases.PretrainedBase, Path, Provenance]]:
    """For each base the file that a recipe would take; a `WeightsError` where a named one has none.

    Without names it is one for each base that has any.
    """
    rows = lookup_bases(names)
    places = {row.name: _first_place(row, folder, access) for row in rows}
    missing = [name for name, place in places.items() if place is None] if names else []
    if missing or not any(places.values()):
        what = ", ".join(missing) or "any base"
        hint = f"run `tlcli weights fetch {missing[0] if missing else 'NAME'}` first"
        message = f"the weights of {what} are not on this machine"
        raise WeightsError(Problem("weights", message, hint))
    return [
        (row, *verify_alike(present[1], row, present[0], folder))
        for row in rows
        if (present := places[row.name])
    ]


def _first_place(
    row: bases.PretrainedBase, folder: Path, access: WeightsAccess
) -> tuple[str, list[Path]] | None:
    """The first place that has weights of a base, with the files; None if there is none."""
    for place, paths in candidate_files(row, folder, access).items():
        if present := present_files(paths, row):
            return place, present
    return None


def _write_sums(path: Path, exported: Sequence[Path]) -> None:
    """Put the SHA-256 sums of files into a list, whose lines about other files stay."""
    sums = {file.name: download.hash_file(file, "0" * 64) for file in exported}
    kept = []
    if path.is_file():
        lines = files.read_lines(path)
        kept = [line for line in lines if line and line.partition("  ")[2] not in sums]
    new = [f"{digest}  {name}" for name, digest in sums.items()]
    files.write_text(path, "".join(f"{line}\n" for line in (*kept, *new)))
