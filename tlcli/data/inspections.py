"""Photos decoded once each, and what was seen of them, stored by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.data import near_duplicates
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
from tlcli.data.dataset import Item
from tlcli.errors import DataError, ImageError
from tlcli.images import decode, loader
from tlcli.images.bit_depth import Depth
from tlcli.images.contents import read_contents
from tlcli.images.decode_errors import PASSING
from tlcli.system import console
from tlcli.system.threads import map_in_order

#: Places of photos in a list of them.
Places = npt.NDArray[np.intp]

#: A channel whose values differ by no more than this is of one colour; JPEG may be one level off.
_FLAT = 2

#: A photo without a brighter value is dark. Of 12 bits in 16, the brightest is 15; of 14 bits, 63.
_DARK = 64

#: Results that are stored together, so that little is lost when a check is interrupted.
_STORED_AT_ONCE = 500

#: Photos whose stored results are read together, which bounds memory for any number of them.
_HELD_AT_ONCE = 10_000


class InspectedPhotos:
    """The inspections of many photos, in little memory.

    Photos alike in everything but their thumbnails, of which there are many, share the rest. All
    goes by the place of a photo in the list: a table of hashes takes a hundred bytes for each.

    Attributes:
        thumbnails: uint8 (photos, 16, 16), zeros where a photo cannot be decoded or is a copy.
    """

    def __init__(self, items: Sequence[Item], cache: AuditCache, depth: Depth | None) -> None:
        self._items, self._first = items, _first_alike(items)
        side = near_duplicates.SIDE
        self.thumbnails = np.zeros((len(items), side, side), np.uint8)
        self._facts = [Inspection()] * len(items)
        shared: dict[Inspection, Inspection] = {}
        for place, inspection in _inspect_each(items, self._first, cache, depth):
            if inspection.thumbnail:
                values = np.frombuffer(inspection.thumbnail, np.uint8)
                self.thumbnails[place] = values.reshape(side, side)
            facts = inspection._replace(thumbnail=b"")
            self._facts[place] = shared.setdefault(facts, facts)

    def with_facts(self) -> Iterator[tuple[Item, Inspection]]:
        """Each photo with its inspection, without the thumbnail."""
        for item, place in zip(self._items, self._first, strict=True):
            yield item, self._facts[place]

    def places_of(self, some: Iterable[Item]) -> Places:
        """Which of the thumbnails are those of some of the photos, which are in the order of all.

        Copies have that of the first of them.
        """
        every = zip(self._items, self._first, strict=True)
        return np.fromiter(
            (next(place for item, place in every if item is wanted) for wanted in some), int
        )


def inspect_photos(
    items: Sequence[Item], cache: AuditCache, depth: Depth | None
) -> dict[str, Inspection]:
    """The inspection of each photo, by hash; those not in the cache are decoded, copies once.

    Raises DataError naming every photo that has changed since it was listed.
    """
    each = _inspect_each(items, _first_alike(items), cache, depth)
    return {items[place].digest: inspection for place, inspection in each}


def _first_alike(items: Sequence[Item]) -> Places:
    """For each photo the place of the first one with the same bytes: int (photos)."""
    first: dict[str, int] = {}
    return np.fromiter((first.setdefault(item.digest, n) for n, item in enumerate(items)), int)


def _inspect_each(
    items: Sequence[Item], first: Places, cache: AuditCache, depth: Depth | None
) -> Iterator[tuple[int, Inspection]]:
    """The place and the inspection of each distinct photo; raises as `inspect_photos`."""
    distinct, changed = np.flatnonzero(first == np.arange(len(first))), []
    with console.progress(len(distinct), "decoding", unit="photos") as bar:
        for begin in range(0, len(distinct), _HELD_AT_ONCE):
            some = distinct[begin : begin + _HELD_AT_ONCE].tolist()
            places = {items[place].digest: place for place in some}
            known = cache.inspections(places)
            yield from ((places[digest], inspection) for digest, inspection in known.items())
            bar.update(len(known))
            new = {
                digest: items[place].path for digest, place in places.items() if digest not in known
            }
            for digest, inspection in _inspect_new(new, cache, depth):
                if inspection.kind == "changed":
                    changed.append(inspection.problem(new[digest]))
                yield places[digest], inspection
                bar.update(1)
    if changed:
        raise DataError(changed)


def _inspect_new(
    paths: Mapping[str, Path], cache: AuditCache, depth: Depth | None
) -> Iterator[tuple[str, Inspection]]:
    """Decode photos, given by hash, and store the results as they come."""

    def inspect(digest: str) -> Inspection:
        return inspect_photo(paths[digest], digest, depth)

    unsaved: dict[str, Inspection] = {}
    try:
        with closing(map_in_order(inspect, paths, workers=loader.THREADS)) as results:
            for digest, inspection in zip(paths, results, strict=True):
                if inspection.kind not in PASSING:
                    unsaved[digest] = inspection
                if len(unsaved) >= _STORED_AT_ONCE:
                    cache.store_inspections(unsaved)
                    unsaved = {}
                yield digest, inspection
    finally:  # after an interruption the next check need not decode these again
        cache.store_inspections(unsaved)


def inspect_photo(path: Path, digest: str, depth: Depth | None) -> Inspection:
    """Decode a photo whose bytes have this hash: what it is, or why it cannot be decoded."""
    try:
        content = read_contents(path, digest).content
        image, facts = decode.examine(content, name=str(path), depth=depth)
    except ImageError as error:
        return Inspection.of_unusable(error.problems[0])
    extrema = _extrema(image)
    flags = {
        TURNED: facts.turned,
        DEEP: facts.deep,
        TRANSPARENT: facts.transparent,
        FLAT: all(high - low <= _FLAT for low, high in extrema),
        CUT: facts.cut,
        DARK: max(high for _, high in extrema) < _DARK,
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
