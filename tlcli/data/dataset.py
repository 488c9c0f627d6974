"""From folders or a table to the index: every photo with its class, split and content hash.

Where the data leave the split open, the hash of a photo's bytes decides it: adding photos moves no
old one, and identical files always land in the same split, whatever their names and classes. A
group's name decides for all of its photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data import findings
from tlcli.data.exclude_list import exclude_listed
from tlcli.data.findings import Finding, group_unreadable
from tlcli.data.hashing import DigestCache, hash_files, unreadable_file
from tlcli.data.layout import SPLITS, Layout
from tlcli.data.named_photos import find_named_photos
from tlcli.data.read_layout import read_folder_layout, read_table_layout
from tlcli.data.splits import SplitName
from tlcli.data.table_columns import ColumnNames
from tlcli.data.table_paths import find_missing
from tlcli.errors import DataError, Problem, Severity
from tlcli.system.console import counted

if TYPE_CHECKING:
    from tlcli.recipe.settings import Data


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled photo.

    Attributes:
        label: its class, counting into the index's classes.
        digest: hex SHA-256 of its bytes.
        group: photos of one group, such as those of one patient, stay in one split.
    """

    path: Path
    label: int
    split: SplitName
    digest: str
    group: str = ""


@dataclass(frozen=True)
class Index:
    """The labelled photos, sorted by path, with the problems of reading them.

    `classes` is sorted by code point. `notes` holds what is wrong with folders and table, and
    `findings` what is wrong with photos.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()

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

    def without(self, paths: Collection[Path]) -> Index:
        """The index less some photos, such as unreadable ones; the classes stay."""
        if not paths:
            return self
        dropped = frozenset(paths)
        return replace(self, items=tuple(i for i in self.items if i.path not in dropped))


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


def build_index(data: Data, cache: DigestCache | None = None) -> Index:
    """The index with errors among its notes and findings, so that photos can be checked further.

    Raises DataError where the data cannot be trained on at all. Every file is read for its hash,
    unless `cache` knows it.
    """
    if data.dir is not None:
        layout = read_folder_layout(data.dir, data.exclude)
    else:
        layout = read_table_layout(data.source, ColumnNames(data.columns))
    if data.exclude is not None:
        layout = exclude_listed(layout, data.exclude)
    paths = [path for photos in layout.photos.values() for path in photos]
    digests, unread = hash_files(paths, cache)
    val, test = _shares(layout, data)
    index = Index(layout.root, layout.classes, _items(layout, digests, val, test))
    return replace(
        index,
        notes=(*layout.problems, *_split_notes(layout, val, test)),
        findings=(
            *_emptied(layout, unread),
            *_thin_classes(index, layout, val, test),
            *_unread_findings(layout, unread, skip=data.on_bad_image == "skip"),
            *layout.findings,
        ),
    )


def index_unlabelled(folder: Path) -> Index:
    """The photos of a folder, without labels: one class, and the test split, which has no views.

    Its notes say which files are passed over by their names. Raises `DataError` where there are no
    photos, or where one cannot be read.
    """
    named = list(find_named_photos([folder]))
    problems = [problem for problem in named if isinstance(problem, Problem)]
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise DataError(errors)
    digests, unread = hash_files(sorted(path for path in named if isinstance(path, Path)))
    if unread:
        raise DataError(findings.unreadable_lines(unread, folder))
    items = tuple(Item(path, 0, "test", digest) for path, digest in digests.items())
    return Index(folder, ("unlabelled",), items, notes=tuple(problems))


def _unread_findings(
    layout: Layout, unread: Mapping[Path, Problem], *, skip: bool
) -> list[Finding]:
    """Photos whose bytes cannot be read, and the rows of a table without a file."""
    missing = find_missing(unread, layout.lines, layout.root, skip=skip) if layout.table else None
    not_there = frozenset(missing.paths) if missing else frozenset()
    bad = [(path, problem) for path, problem in unread.items() if path not in not_there]
    bad += [(path, unreadable_file(path, "a link to nothing")) for path in layout.dangling]
    return [*group_unreadable(bad, skip=skip), *([missing] if missing else [])]


def _shares(layout: Layout, data: Data) -> tuple[float, float]:
    """The shares of the train part that the hash sends to val and to test."""
    val = 0.0 if "val" in layout.parts else data.split.val
    return val, data.split.test if layout.is_unsplit else 0.0


def _items(layout: Layout, digests: dict[Path, str], val: float, test: float) -> tuple[Item, ...]:
    labels = {name: label for label, name in enumerate(layout.classes)}
    items = []
    for (part, name), paths in layout.photos.items():
        for path in paths:
            if path in digests and name in labels:
                group = layout.groups.get(path, "")
                drawn = _draw(_group_digest(group) if group else digests[path], val, test)
                split = drawn if part == "train" else part
                items.append(Item(path, labels[name], split, digests[path], group))
    return tuple(sorted(items, key=lambda item: item.path.parts))


def _group_digest(group: str) -> str:
    return hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()


def _draw(digest: str, val: float, test: float) -> SplitName:
    """The split of a photo, which depends only on the hash of its bytes, or of its group."""
    draw = int(digest[:16], 16) / 2**64
    if draw < test:
        return "test"
    return "val" if draw < test + val else "train"


def _emptied(layout: Layout, unread: Collection[Path]) -> Iterator[Finding]:
    emptied = [key for key, paths in layout.photos.items() if paths and set(unread) >= set(paths)]
    if emptied:
        what = "none of its photos can be read"
        finding = Finding("unreadable class", "error", what, "a class needs photos")
        yield layout.class_finding(finding, emptied)


def _thin_classes(index: Index, layout: Layout, val: float, test: float) -> Iterator[Finding]:
    """Classes that the hash left without photos in a split that it fills."""
    counts = index.counts()
    filled: tuple[tuple[SplitName, bool, str, Severity], ...] = (
        ("train", True, "add photos, or lower data.split.val and data.split.test", "error"),
        ("val", val > 0, f"add photos, or raise data.split.val (now {val:g})", "warning"),
        ("test", test > 0, f"add photos, or raise data.split.test (now {test:g})", "warning"),
    )
    totals = {
        name: sum(counts[split][name] for split, used, _, _ in filled if used)
        for name in index.classes
    }
    for split, used, hint, severity in filled:
        thin = [name for name in index.classes if totals[name] and not counts[split][name]]
        if used and thin:
            what = f"no photo was assigned to {split} by content"
            details = tuple(f"of {counted(totals[name], 'photo')}" for name in thin)
            finding = Finding(f"class without {split}", severity, what, hint, details=details)
            yield layout.class_finding(finding, [("train", name) for name in thin])


def _split_notes(layout: Layout, val: float, test: float) -> Iterator[Problem]:
    if "val" not in layout.parts and not val:
        what = "no val photos, so the best epoch cannot be chosen"
        yield Problem("data.split.val", what, "set it above 0", "warning")
    elif "val" not in layout.parts and not layout.is_unsplit:
        missing = "val rows" if layout.table else "val folder"
        what = f"no {missing}: {val:.0%} of train is taken as val, by content"
        yield Problem(str(layout.table or layout.root), what, severity="note")
    if "test" not in layout.parts and not test:
        what = "no test split" if layout.is_unsplit else "no test folder, so no test split"
        if layout.table and not layout.is_unsplit:
            what = "no test rows, so no test split"
        yield Problem(str(layout.table or layout.root), what, severity="note")


def drop_unusable(index: Index, bad: Sequence[tuple[Path, Problem]], *, skip: bool) -> Index:
    """The index without photos that cannot be used, which are among its findings then.

    They are errors, or warnings where the recipe says to skip them.
    """
    left = index.without({path for path, _ in bad})
    unusable = findings.group_unreadable(bad, skip=skip)
    return replace(left, findings=(*left.findings, *unusable))
