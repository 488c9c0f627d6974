"""Findings about files whose bytes cannot be read, and about classes that have no others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tlcli.data.findings import Finding, group_unreadable
from tlcli.data.hashing import unreadable_file
from tlcli.data.layout import Layout
from tlcli.data.table_paths import find_missing
from tlcli.errors import Problem


def find_unread(layout: Layout, unread: Mapping[Path, Problem], *, skip: bool) -> list[Finding]:
    """Photos whose bytes cannot be read, and the rows of a table without a file."""
    missing = find_missing(unread, layout.lines, layout.root, skip=skip) if layout.table else None
    not_there = frozenset(missing.paths) if missing else frozenset()
    bad = [(path, problem) for path, problem in unread.items() if path not in not_there]
    bad += [(path, unreadable_file(path, "a link to nothing")) for path in layout.dangling]
    return [*group_unreadable(bad, skip=skip), *([missing] if missing else [])]


def find_emptied(layout: Layout, unread: Collection[Path]) -> Iterator[Finding]:
    """Classes of which no photo can be read."""
    emptied = [
        key
        for key, paths in layout.photos.items()
        if paths and all(path in unread for path in paths)
    ]
    if emptied:
        what = "none of its photos can be read"
        finding = Finding("unreadable class", "error", what, "a class needs photos")
        yield layout.class_finding(finding, emptied)
