"""A close look at every photo: decoded once, remembered by content, told by kinds of flaws."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from tlcli.data import leakage, near_duplicates
from tlcli.data.audit_cache import CUT, DEEP, FLAT, TRANSPARENT, TURNED, AuditCache, Inspection
from tlcli.data.dataset import Index, Item, drop_unusable
from tlcli.data.findings import Finding, relative_name
from tlcli.data.layout import SPLITS
from tlcli.errors import ImageError, Problem
from tlcli.images import decode, loader
from tlcli.images.decode_errors import PASSING
from tlcli.recipe.recipe import Recipe
from tlcli.system import console, signals
from tlcli.system.threads import map_in_order

#: A shorter side below this many pixels is tiny, an image above so many is huge, and sides that
#: differ by this factor are extreme.
TINY, HUGE, EXTREME = 32, 50_000_000, 5

#: A channel whose values differ by no more than this is of one colour; JPEG may be one level off.
_FLAT = 2

#: Looks that are remembered together, so that little is lost when a check is interrupted.
_SAVED = 500

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


def audit_photos(index: Index, chosen: Recipe, memory: AuditCache) -> Index:
    """The index without photos that cannot be decoded, with what was found among its findings."""
    looks = _looks(index.items, memory)
    bad, odd = [], []
    for item in index.items:
        look = looks[item.digest]
        if look.message:
            bad.append((item.path, look.problem(item.path)))
        else:
            odd.append((item, look))
    left = drop_unusable(index, bad, skip=chosen.data.on_bad_image == "skip")
    # A copy that is dropped is in one split only by then.
    found = [
        *_flaws(odd),
        *_near_duplicates(leakage.drop_copies(left, chosen.data.duplicates), looks),
    ]
    return replace(left, findings=(*left.findings, *found))


def inspect_photo(path: Path) -> Inspection:
    """Decode a file and write down what it is, or why it cannot be decoded."""
    try:
        image, facts = decode.examine(path)
    except ImageError as error:
        return Inspection.of(error.problems[0])
    flags = {
        TURNED: facts.turned,
        DEEP: facts.deep,
        TRANSPARENT: facts.transparent,
        FLAT: all(high - low <= _FLAT for low, high in _extrema(image)),
        CUT: facts.cut,
    }
    return Inspection(
        format=facts.format,
        mode=facts.mode,
        width=facts.width,
        height=facts.height,
        flags=sum(flag for flag, is_set in flags.items() if is_set),
        thumbnail=near_duplicates.make_thumbnail(image).tobytes(),
    )


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    return [image.getchannel(band).getextrema() for band in image.getbands()]  # type: ignore[misc]


def _looks(items: Sequence[Item], memory: AuditCache) -> dict[str, Inspection]:
    """What is known of each photo, by hash; the others are decoded, identical ones once."""
    paths = {item.digest: item.path for item in items}
    looks = memory.looks(paths)
    new = [digest for digest in paths if digest not in looks]
    unsaved: dict[str, Inspection] = {}
    todo = (paths[digest] for digest in new)
    try:
        with (
            closing(map_in_order(inspect_photo, todo, workers=loader.THREADS)) as seen,
            console.progress(len(new), "decoding", unit="photos") as bar,
        ):
            for digest, look in zip(new, seen, strict=True):
                looks[digest] = look
                if look.kind not in PASSING:
                    unsaved[digest] = look
                if len(unsaved) >= _SAVED:
                    memory.keep_looks(unsaved)
                    unsaved = {}
                bar.update(1)
    finally:  # an interrupted check remembers what it has seen
        memory.keep_looks(unsaved)
    return looks


def _flaws(seen: Sequence[tuple[Item, Inspection]]) -> Iterator[Finding]:
    """A finding for each rule that some photo meets."""
    meeting: list[list[tuple[Item, Inspection]]] = [[] for _ in _RULES]
    # Photos alike in all that rules ask for are judged once: of 100,000, many are.
    known: dict[tuple[object, ...], list[int]] = {}
    for item, look in seen:
        suffix = item.path.suffix.lower()
        alike = (suffix, look.format, look.mode, look.width, look.height, look.flags)
        if alike not in known:
            known[alike] = [at for at, rule in enumerate(_RULES) if rule[1](suffix, look)]
        for at in known[alike]:
            meeting[at].append((item, look))
    for (finding, _, detail), found in zip(_RULES, meeting, strict=True):
        if found:
            yield replace(
                finding,
                paths=tuple(item.path for item, _ in found),
                details=tuple(detail(look) for _, look in found) if detail else (),
            )


def _misnamed(suffix: str, look: Inspection) -> bool:
    return suffix not in _SUFFIXES.get(look.format, (suffix,))


def _flagged(flag: int) -> Callable[[str, Inspection], bool]:
    return lambda _, look: bool(look.flags & flag)


def _size(look: Inspection) -> str:
    return f"{look.width} x {look.height}"


_Rule = tuple[Finding, Callable[[str, Inspection], bool], Callable[[Inspection], str] | None]

_RULES: tuple[_Rule, ...] = (
    (
        Finding("cut short", "warning", "ends in plain grey", "the file may be incomplete"),
        lambda _, look: look.flags & (CUT | FLAT) == CUT,
        None,
    ),
    (
        Finding("flat", "warning", "is all of one colour", "is it a photo at all?"),
        _flagged(FLAT),
        None,
    ),
    (
        Finding("tiny", "warning", f"has a side below {TINY} pixels", "small photos teach little"),
        lambda _, look: min(look.width, look.height) < TINY,
        _size,
    ),
    (
        Finding("extreme shape", "warning", f"has an aspect ratio of {EXTREME} to 1 or more",
                "see base.resize: squash distorts it, crop cuts off most of it"),
        lambda _, look: max(look.width, look.height) >= EXTREME * min(look.width, look.height),
        _size,
    ),
    (
        Finding("huge", "note", f"has more than {HUGE // 1_000_000} megapixels",
                "decoding it is slow; a smaller copy is just as good"),
        lambda _, look: look.width * look.height > HUGE,
        _size,
    ),
    (
        Finding("wrong extension", "note", "is not in the format that its name says",
                "tlcli goes by the content; other programs may fail"),
        _misnamed,
        lambda look: look.format,
    ),
    (Finding("turned", "note", "is rotated upright by its EXIF data"), _flagged(TURNED), None),
    (
        Finding("CMYK", "note", "is in CMYK colours, converted to sRGB"),
        lambda _, look: look.mode == "CMYK",
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


def _near_duplicates(index: Index, looks: dict[str, Inspection]) -> Iterator[Finding]:
    """Photos of a lesser split that are nearly those of another."""
    thumbnails = {
        split: near_duplicates.PreparedThumbnails(
            np.frombuffer(
                b"".join(looks[item.digest].thumbnail for item in index.of(split)), np.uint8
            ).reshape(-1, near_duplicates.SIDE, near_duplicates.SIDE)
        )
        for split in SPLITS
    }
    alike: dict[Path, list[Path]] = defaultdict(list)
    for lesser, other in combinations(SPLITS, 2):
        ours, theirs = index.of(lesser), index.of(other)
        for left, right in near_duplicates.find_pairs(thumbnails[lesser], thumbnails[other]):
            if ours[left].digest != theirs[right].digest:  # copies are told elsewhere
                alike[ours[left].path].append(theirs[right].path)
    if alike:
        yield Finding(
            "near-duplicate across splits",
            "warning",
            "is nearly the same as a photo in another split",
            "look at both; exclude one if it is the same photo",
            tuple(alike),
            tuple(f"like {relative_name(others[0], index.root)}" for others in alike.values()),
        )


def check_photos(
    paths: Sequence[Path], look: Callable[[Path], Problem | None]
) -> list[tuple[Path, Problem]]:
    """What `look` finds wrong with each photo, looked at in threads."""
    workers = min(8, 2 * (os.cpu_count() or 1))
    with (
        closing(map_in_order(look, paths, workers=workers)) as problems,
        console.progress(len(paths), "checking", unit="photos") as bar,
    ):
        found = []
        for path, problem in zip(paths, problems, strict=True):
            bar.update(1)
            signals.raise_if_interrupted()
            if problem is not None:
                found.append((path, problem))
        return found
