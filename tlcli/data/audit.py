"""The check of every photo: decoded once, the result stored by content, flaws grouped by kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from tlcli.data import leakage, near_duplicates
from tlcli.data.audit_cache import (
    CUT,
    DARK,
    DEEP,
    FLAT,
    TRANSPARENT,
    TURNED,
    AuditCache,
    Inspection,
)
from tlcli.data.dataset import Index, Item, drop_unusable
from tlcli.data.findings import Finding, relative_name
from tlcli.data.inspections import InspectedPhotos
from tlcli.data.layout import SPLITS
from tlcli.errors import Problem
from tlcli.recipe.recipe import Recipe
from tlcli.system import console, signals
from tlcli.system.machine import usable_processors
from tlcli.system.path_list import PathList
from tlcli.system.threads import map_in_order

#: A shorter side below this many pixels is tiny, an image above so many is huge, and sides that
#: differ by this factor are extreme.
TINY, HUGE, EXTREME = 32, 50_000_000, 5

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}


def audit_photos(index: Index, chosen: Recipe, cache: AuditCache) -> Index:
    """The index without photos that cannot be decoded, and with the findings of all photos.

    Raises DataError naming every photo that has changed since the index was made.
    """
    inspected = InspectedPhotos(index.items, cache, chosen.data.depth)
    # Pairs come one by one: a list of them would hold memory for every photo.
    flaws = [*_flaws(pair for pair in inspected.with_facts() if not pair[1].message)]
    bad = [
        (item.path, facts.problem(item.path))
        for item, facts in inspected.with_facts()
        if facts.message
    ]
    left = drop_unusable(index, bad, skip=chosen.data.on_bad_image == "skip")
    # A copy that is dropped from one split is no near-duplicate there.
    flaws += _near_duplicates(leakage.drop_copies(left, chosen.data.duplicates), inspected)
    return replace(left, findings=(*left.findings, *flaws))


def _flaws(decoded: Iterable[tuple[Item, Inspection]]) -> Iterator[Finding]:
    """A finding for each rule that some photo meets."""
    paths = [PathList() for _ in _RULES]
    details: list[list[str]] = [[] for _ in _RULES]
    # Photos alike in everything that the rules look at are judged once: of 100,000, many are.
    rules_met: dict[tuple[object, ...], list[tuple[int, str]]] = {}
    for item, inspection in decoded:
        suffix = os.path.splitext(item.file)[1].lower()  # noqa: PTH122 - of many, much faster
        alike = (
            suffix, inspection.format, inspection.mode, inspection.width, inspection.height,
            inspection.flags,
        )  # fmt: skip
        if alike not in rules_met:
            rules_met[alike] = [
                (number, detail(inspection) if detail else "")
                for number, (_, meets, detail) in enumerate(_RULES)
                if meets(suffix, inspection)
            ]
        for number, words in rules_met[alike]:
            paths[number].append(item.file)
            if words:
                details[number].append(words)
    for number, (finding, _, _) in enumerate(_RULES):
        if paths[number]:
            yield replace(finding, paths=paths[number], details=tuple(details[number]))


def _misnamed(suffix: str, inspection: Inspection) -> bool:
    return suffix not in _SUFFIXES.get(inspection.format, (suffix,))


def _flagged(flag: int) -> Callable[[str, Inspection], bool]:
    return lambda _, inspection: bool(inspection.flags & flag)


def _size(inspection: Inspection) -> str:
    return f"{inspection.width} x {inspection.height}"


_Rule = tuple[Finding, Callable[[str, Inspection], bool], Callable[[Inspection], str] | None]

_RULES: tuple[_Rule, ...] = (
    (
        Finding("cut short", "warning", "ends in plain grey", "the file may be incomplete"),
        lambda _, facts: facts.flags & (CUT | FLAT) == CUT,
        None,
    ),
    (
        Finding("flat", "warning", "is all of one colour", "is it a photo at all?"),
        _flagged(FLAT),
        None,
    ),
    (
        Finding("few bits", "warning", "uses a quarter of its 16 bits or less, and comes out dark",
                "set data.depth to the bits of the camera (10, 12, 14), or to auto"),
        lambda _, facts: facts.flags & (DARK | DEEP | FLAT) == DARK | DEEP,
        None,
    ),
    (
        Finding("dark", "warning", "has no value in the brighter three quarters of its range",
                "is it exposed, and saved, as it should be?"),
        lambda _, facts: facts.flags & (DARK | DEEP | FLAT) == DARK,
        None,
    ),
    (
        Finding("tiny", "warning", f"has a side below {TINY} pixels", "small photos teach little"),
        lambda _, facts: min(facts.width, facts.height) < TINY,
        _size,
    ),
    (
        Finding("extreme shape", "warning", f"has an aspect ratio of {EXTREME} to 1 or more",
                "see base.resize: squash distorts it, crop cuts off most of it"),
        lambda _, facts: max(facts.width, facts.height) >= EXTREME * min(facts.width, facts.height),
        _size,
    ),
    (
        Finding("huge", "note", f"has more than {HUGE // 1_000_000} megapixels",
                "decoding it is slow; a smaller copy is just as good"),
        lambda _, facts: facts.width * facts.height > HUGE,
        _size,
    ),
    (
        Finding("wrong extension", "note", "is not in the format that its name says",
                "tlcli goes by the content; other programs may fail"),
        _misnamed,
        lambda facts: facts.format,
    ),
    (Finding("turned", "note", "is rotated upright by its EXIF data"), _flagged(TURNED), None),
    (
        Finding("CMYK", "note", "is in CMYK colours, converted to sRGB"),
        lambda _, facts: facts.mode == "CMYK",
        None,
    ),
    (
        Finding("deep", "note", "has more than 8 bits per channel, scaled to 8"),
        _flagged(DEEP),
        None,
    ),
    (
        Finding("transparent", "note", "is transparent in places, placed on white"),
        _flagged(TRANSPARENT),
        None,
    ),
)  # fmt: skip


def _near_duplicates(index: Index, inspected: InspectedPhotos) -> Iterator[Finding]:
    """Photos of a lesser split that are nearly those of another."""
    places = inspected.places_of(index.items)
    thumbnails = {
        split: near_duplicates.PreparedThumbnails(
            inspected.thumbnails,
            places[[item.split == split for item in index.items]],
        )
        for split in SPLITS
    }
    alike: dict[Path, Path] = {}
    for lesser, other in combinations(SPLITS, 2):
        items, others = index.of(lesser), index.of(other)
        for left, right in near_duplicates.find_pairs(thumbnails[lesser], thumbnails[other]):
            if items[left].digest != others[right].digest:  # copies are another finding
                alike.setdefault(items[left].path, others[right].path)
    if alike:
        yield Finding(
            "near-duplicate across splits",
            "warning",
            "is nearly the same as a photo in another split",
            "look at both; exclude one if it is the same photo",
            tuple(alike),
            tuple(f"like {relative_name(first, index.root)}" for first in alike.values()),
        )


def check_photos(
    paths: Sequence[Path], check: Callable[[Path], Problem | None]
) -> list[tuple[Path, Problem]]:
    """The photos in which `check` finds a problem, with it; they are checked in threads."""
    workers = min(8, 2 * usable_processors())
    bad = []
    with (
        closing(map_in_order(check, paths, workers=workers)) as problems,
        console.progress(len(paths), "checking", unit="photos") as bar,
    ):
        for path, problem in zip(paths, problems, strict=True):
            bar.update(1)
            signals.raise_if_interrupted()
            if problem is not None:
                bad.append((path, problem))
    return bad
