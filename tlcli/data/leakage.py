"""Photos that are in the data more than once, and what that does to a score.

A photo in training and test at once inflates the test's score; one under two labels teaches both.
Copies have the same bytes; `near_duplicates` finds photos that are nearly the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tlcli.data.balance import measure_imbalance
from tlcli.data.dataset import Index, Item
from tlcli.data.findings import Finding, relative_name
from tlcli.data.splits import SplitName

Policy = Literal["error", "drop", "allow"]

#: Splits from the one that loses a copy first to the one that keeps it.
_KEEPING: tuple[SplitName, ...] = ("train", "val", "test")


def resolve_copies(index: Index, policy: Policy) -> Index:
    """The index after `policy`, with copies, split groups and unequal classes in its findings."""
    items, flaws = _copies(index, policy)
    left = replace(index, items=items)
    imbalance = measure_imbalance(left.counts())
    flaws += [*_groups(left), *([imbalance.as_finding()] if imbalance else [])]
    return replace(left, findings=(*index.findings, *flaws))


def drop_copies(index: Index, policy: Policy) -> Index:
    """The index without the copies that `resolve_copies` drops, if any; findings stay."""
    if policy != "drop":
        return index
    return index.without([item.path for item, _ in _crossing(_repeated(index.items))])


def _copies(index: Index, policy: Policy) -> tuple[tuple[Item, ...], list[Finding]]:
    """The items that are left, and the findings about copies.

    A photo in two splits is an error; with the policy `drop` it stays in test rather than val, and
    in val rather than train; with `allow` it stays wherever it is.
    """
    items, root = index.items, index.root
    repeated = _repeated(items)
    crossing = _crossing(repeated)
    findings = [*_across(crossing, root, policy), *_under_two_labels(repeated, root)]
    dropped = {id(item) for item, _ in crossing} if policy == "drop" else set()
    left = tuple(item for item in items if id(item) not in dropped)
    return left, [*findings, *_within(repeated, root)]


def _repeated(items: Iterable[Item]) -> list[list[Item]]:
    """The photos of which there are several, each with its copies."""
    first: dict[str, Item] = {}
    several: dict[str, list[Item]] = {}  # no list for each of many photos that have no copy
    for item in items:
        before = first.setdefault(item.digest, item)
        if before is not item:
            several.setdefault(item.digest, [before]).append(item)
    return [several[digest] for digest in first if digest in several]


def _crossing(repeated: Iterable[Sequence[Item]]) -> list[tuple[Item, Item]]:
    """Copies in a lesser split, each with the one in the split that keeps it."""
    crossing = []
    for alike in repeated:
        kept = max(alike, key=lambda item: _KEEPING.index(item.split))
        crossing += [(item, kept) for item in alike if item.split != kept.split]
    return crossing


def _across(pairs: Sequence[tuple[Item, Item]], root: Path, policy: Policy) -> Iterable[Finding]:
    if not pairs:
        return
    details = tuple(f"also {relative_name(kept.path, root)}" for _, kept in pairs)
    paths = tuple(item.path for item, _ in pairs)
    kind, message = "duplicate across splits", "the same photo is in another split"
    if policy == "error":
        hint = "delete one of each, or set data.duplicates=drop to train without them"
        yield Finding(kind, "error", message, hint, paths, details)
    elif policy == "drop":
        message += ", and is dropped from this one"
        yield Finding(kind, "warning", message, "", paths, details)
    else:
        hint = "copies make the scores too high"
        yield Finding(kind, "warning", message, hint, paths, details)


def _under_two_labels(repeated: Iterable[Sequence[Item]], root: Path) -> Iterable[Finding]:
    pairs = []
    for alike in repeated:
        for item in alike:
            other = next((copy for copy in alike if copy.label != item.label), None)
            if other is not None:
                pairs.append((item, other))
    if pairs:
        yield Finding(
            "label conflict",
            "warning",
            "the same photo has another label elsewhere",
            "keep it only under the right one",
            tuple(item.path for item, _ in pairs),
            tuple(f"also {relative_name(other.path, root)}" for _, other in pairs),
        )


def _within(repeated: Iterable[Sequence[Item]], root: Path) -> Iterable[Finding]:
    pairs = []
    for alike in repeated:
        first: dict[tuple[SplitName, int], Item] = {}
        for item in alike:
            before = first.setdefault((item.split, item.label), item)
            if before is not item:
                pairs.append((item, before))
    if pairs:
        yield Finding(
            "duplicate in a split",
            "note",
            "the same photo is in its class twice",
            "copies count twice in training and in scores",
            tuple(item.path for item, _ in pairs),
            tuple(f"as {relative_name(before.path, root)}" for _, before in pairs),
        )


def _groups(index: Index) -> list[Finding]:
    """Groups that are in more than one split, by their photos in the lesser one."""
    members: dict[str, list[Item]] = defaultdict(list)
    for item in index.items:
        if item.group:
            members[item.group].append(item)
    split_apart = []
    for alike in members.values():
        last = max(_KEEPING.index(item.split) for item in alike)
        split_apart += [item for item in alike if _KEEPING.index(item.split) < last]
    if not split_apart:
        return []
    return [
        Finding(
            "group across splits",
            "error",
            "its group is also in another split",
            "write one split for each group, or leave its split out of the table or split file",
            tuple(item.path for item in split_apart),
            tuple(f"group {item.group}" for item in split_apart),
        )
    ]
