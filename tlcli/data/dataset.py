"""From folders or a table to the index: every photo with its class, split and content hash.

Where the data leave the split open, the classes are divided by the hashes of their photos: see
`division`. Identical files land in the same split, whatever their names and classes, and so do the
photos of a group.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data import findings
from tlcli.data.division import PhotoGroup, divide
from tlcli.data.findings import Finding, group_unreadable, relative_name
from tlcli.data.hashing import DigestCache, Look, hash_files
from tlcli.data.label_fixes import DecidedLabels, decide_labels
from tlcli.data.layout import SPLITS, Layout
from tlcli.data.read_layout import read_layout
from tlcli.data.split_file import KnownSplits, SplitFile, SplitLine, read_split_file
from tlcli.data.split_shares import (
    Shares,
    find_share_differences,
    find_shares,
    find_split_notes,
    find_thin_classes,
)
from tlcli.data.splits import SplitName
from tlcli.data.unread_photos import find_emptied, find_unread
from tlcli.errors import DataError, Problem
from tlcli.system.console import counted
from tlcli.system.path_list import PathList, path_order

if TYPE_CHECKING:
    from tlcli.recipe.settings import Data


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled photo.

    Attributes:
        file: its path as text; see `PathList`.
        label: its class, counting into the index's classes.
        digest: hex SHA-256 of its bytes.
        group: photos of one group, such as those of one patient, stay in one split.
        divided: whether the data leave its split open.
    """

    file: str
    label: int
    split: SplitName
    digest: str
    group: str = ""
    divided: bool = False

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.file)


@dataclass(frozen=True)
class Index:
    """The labelled photos, sorted by path, with the problems of reading them.

    `classes` is sorted by code point. `notes` holds what is wrong with folders and table, and
    `findings` what is wrong with photos. `decided` is what a person has decided about labels.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()
    decided: DecidedLabels | None = None

    @property
    def is_divided(self) -> bool:
        """Whether the data leave the split of some photos open."""
        return any(item.divided for item in self.items)

    def of(self, split: SplitName) -> tuple[Item, ...]:
        """The photos of one split."""
        return tuple(item for item in self.items if item.split == split)

    def counts(self) -> dict[SplitName, dict[str, int]]:
        """Photos by split and class, zeros included."""
        table = {split: dict.fromkeys(self.classes, 0) for split in SPLITS}
        for item in self.items:
            table[item.split][self.classes[item.label]] += 1
        return table

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the photos' bytes, classes and splits; where they lie does not matter."""
        lines = sorted(
            f"{item.digest}\0{self.classes[item.label]}\0{item.split}\0" for item in self.items
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def divided_lines(self) -> Iterator[SplitLine]:
        """The photos whose split the data leave open, as a split file lists them."""
        return (
            SplitLine(
                relative_name(item.path, self.root),
                self.classes[item.label],
                item.split,
                item.digest,
            )
            for item in self.items
            if item.divided
        )

    def without(self, paths: Collection[Path]) -> Index:
        """The index less some photos, such as unreadable ones; the classes stay."""
        if not paths:
            return self
        dropped = frozenset(map(str, paths))
        return replace(self, items=tuple(i for i in self.items if i.file not in dropped))


def read_index(data: Data) -> Index:
    """The index of the photos that `data` names.

    Raises DataError with every problem that stands in the way. With `on_bad_image: skip`, a file
    that cannot be read is left out and becomes a warning.
    """
    index = build_index(data)
    problems = [*index.notes, *(finding.as_problem(index.root) for finding in index.findings)]
    if errors := [problem for problem in problems if problem.severity == "error"]:
        stopping = [finding for finding in index.findings if finding.severity == "error"]
        raise DataError([*errors, *findings.name_them_all(stopping, "error")])
    return replace(index, notes=tuple(problems), findings=())


def build_index(
    data: Data,
    cache: DigestCache | None = None,
    recorded: KnownSplits | None = None,
    earlier: KnownSplits | None = None,
    look: Look | None = None,
) -> Index:
    """The index with errors among its notes and findings, so that photos can be checked further.

    Raises DataError where the data cannot be trained on at all. Every file is read for its hash,
    unless `cache` knows it. `recorded` are splits that photos have had in a run: they keep them,
    whatever `data` says of shares and a split file. So do `earlier`, the file counting for others.
    `look` is shown every file that is read.
    """
    layout = read_layout(data)
    index, unread = _read_items(layout, cache, look)
    shares = find_shares(layout, data.split)
    file = data.split.file if recorded is None else None
    listed = read_split_file(file) if file else SplitFile(known=recorded or KnownSplits())
    index = _divide(index, shares, earlier.then(listed.known) if earlier else listed.known)
    divided, doubts = _with_decided(index, data.labels, layout)
    return replace(
        divided,
        notes=(
            *layout.problems,
            *doubts,
            *find_split_notes(layout, shares),
            *(_doubts_of_file(file, listed, divided, shares) if file else ()),
        ),
        findings=(
            *find_emptied(layout, unread),
            *find_thin_classes(divided.counts(), layout, shares),
            *find_unread(layout, unread, skip=data.on_bad_image == "skip"),
            *layout.findings,
        ),
    )


def _read_items(
    layout: Layout, cache: DigestCache | None, look: Look | None
) -> tuple[Index, dict[Path, Problem]]:
    """The photos that can be read, all that have no other split in train; and the problems."""
    listed = PathList(layout.texts)
    digests, unread = hash_files(listed, cache, look)
    digest_of = iter(digests)  # in the order of the photos, and drawn for each of them
    labels = {name: label for label, name in enumerate(layout.classes)}
    items = [
        Item(
            file, labels[name], part, digest, layout.groups.get(file, ""),
            divided=part == "train" and not layout.is_complete,
        )
        for (part, name), photos in layout.photos.items()
        for file, digest in zip(photos.texts, digest_of, strict=False)
        if name in labels and digest
    ]  # fmt: skip
    items.sort(key=lambda item: path_order(item.file))
    return Index(layout.root, layout.classes, tuple(items)), unread


def _divide(index: Index, shares: Shares, known: KnownSplits) -> Index:
    """The index with the photos that are open divided; what is known stays, with its group."""
    listed: dict[str, SplitName] = {}
    if known:
        for item in index.items:
            if not item.divided:
                continue
            if split := known.find(item.digest, relative_name(item.path, index.root)):
                listed[item.file] = split
    splits = divide(_find_groups(index.items, listed), shares.val, shares.test)

    def divided(item: Item) -> Item:
        if not item.divided:
            return item
        split = listed.get(item.file) or splits[_group_key(item)]
        # Most stay in train: the same object, as another one is a hundred bytes for every photo.
        return item if item.split == split else replace(item, split=split)

    return replace(index, items=tuple(divided(item) for item in index.items))


def _find_groups(items: Iterable[Item], listed: Mapping[str, SplitName]) -> list[PhotoGroup]:
    """What is to be divided: photos with their copies, or groups, some of whose splits are known.

    A group is in the split of the last one of its photos that is listed.
    """
    # A photo alone, as nearly all are, shares what is counted with all others of its class.
    alone: dict[int, dict[int, int]] = {}
    counts: dict[str, dict[int, int]] = {}
    kept: dict[str, SplitName] = {}
    for item in items:
        if not item.divided:
            continue
        key, label = _group_key(item), item.label
        if others := counts.get(key):
            counts[key] = {**others, label: others.get(label, 0) + 1}
        else:
            counts[key] = alone.setdefault(label, {label: 1})
        if split := listed.get(item.file):
            kept[key] = split
    return [PhotoGroup(key, number, kept.get(key)) for key, number in counts.items()]


def _group_key(item: Item) -> str:
    """What keeps the photos of a group together, or the copies of a photo: a hash."""
    if not item.group:
        return item.digest
    return hashlib.sha256(item.group.encode("utf-8", "surrogatepass")).hexdigest()


def _with_decided(index: Index, table: Path | None, layout: Layout) -> tuple[Index, list[Problem]]:
    """The index with the labels that a person has corrected, and the problems of their table.

    No photo changes its split.
    """
    if table is None:
        return index, []
    others = (*layout.texts, *map(str, layout.excluded))
    decided, problems = decide_labels(table, index.items, index.classes, index.root, others)
    labels = {str(path): index.classes.index(name) for path, name in decided.changed.items()}
    items = tuple(replace(item, label=labels.get(item.file, item.label)) for item in index.items)
    note = Problem(str(index.root), f"labels: {decided.text()}", severity="note")
    return replace(index, items=items, decided=decided), [*problems, note]


def _doubts_of_file(
    file: Path, listed: SplitFile, index: Index, shares: Shares
) -> Iterator[Problem]:
    """Notes where the data overrule a split file, and where it has other shares than the recipe."""
    yield from listed.problems
    overruled = [
        item
        for item in index.items
        if not item.divided
        and listed.known.find(item.digest, relative_name(item.path, index.root))
        not in (None, item.split)
    ]
    if overruled:
        what = f"{counted(len(overruled), 'photo')} in another split than their folder or table "
        what += f"says, such as {relative_name(overruled[0].path, index.root)}"
        yield Problem(str(file), what, "the folder or the table decides", "warning")
    if not index.is_divided:
        what = "not used: the data say the split of every photo"
        yield Problem(str(file), what, severity="note")
    elif listed.known:
        anew = _divide(index, shares, KnownSplits())
        now, asked = (
            Counter(item.split for item in divided.items if item.divided)
            for divided in (index, anew)
        )
        yield from find_share_differences(now, asked, len(index.classes), file)


def drop_unusable(index: Index, bad: Sequence[tuple[Path, Problem]], *, skip: bool) -> Index:
    """The index without photos that cannot be used, which are among its findings then.

    They are errors, or warnings where the recipe says to skip them.
    """
    left = index.without({path for path, _ in bad})
    return replace(left, findings=(*left.findings, *group_unreadable(bad, skip=skip)))
