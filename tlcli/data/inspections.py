"""Photos decoded once each, and what was seen of them, stored by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
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

    Photos alike in everything but their thumbnails, of which there are many, share the rest. What
    goes by the hash of a photo ends with the inspection; after it, photos go by their place.

    Args:
        items: the photos.
        inspections: hash and inspection of each distinct photo, in any order.

    Attributes:
        thumbnails: uint8 (photos at most, 16, 16), zeros for those that cannot be decoded.
    """

    def __init__(
        self, items: Sequence[Item], inspections: Iterable[tuple[str, Inspection]]
    ) -> None:
        side = near_duplicates.SIDE
        self.thumbnails = np.zeros((len(items), side, side), np.uint8)
        self._items = items
        self._facts: list[Inspection] = []
        numbers: dict[str, int] = {}
        shared: dict[Inspection, Inspection] = {}
        for number, (digest, inspection) in enumerate(inspections):
            if inspection.thumbnail:
                values = np.frombuffer(inspection.thumbnail, np.uint8)
                self.thumbnails[number] = values.reshape(side, side)
            facts = inspection._replace(thumbnail=b"")
            self._facts.append(shared.setdefault(facts, facts))
            numbers[digest] = number
        self._numbers = np.array([numbers[item.digest] for item in items], np.intp)

    def with_facts(self) -> Iterator[tuple[Item, Inspection]]:
        """Each photo with its inspection, without the thumbnail."""
        return (
            (item, self._facts[number])
            for item, number in zip(self._items, self._numbers, strict=True)
        )

    def numbers_of(self, some: Iterable[Item]) -> npt.NDArray[np.intp]:
        """Which of the thumbnails are those of some of the photos, in the order of all."""
        every = zip(self._items, self._numbers, strict=True)
        found = (next(number for item, number in every if item is one) for one in some)
        return np.fromiter(found, np.intp)


def inspect_photos(
    items: Sequence[Item], cache: AuditCache, depth: Depth | None
) -> dict[str, Inspection]:
    """The inspection of each photo, by hash; those not in the cache are decoded, copies once.

    Raises DataError naming every photo that has changed since it was listed.
    """
    return dict(inspect_each(items, cache, depth))


def inspect_each(
    items: Sequence[Item], cache: AuditCache, depth: Depth | None
) -> Iterator[tuple[str, Inspection]]:
    """The hash and the inspection of each distinct photo; raises as `inspect_photos`."""
    paths = {item.digest: item.path for item in items}
    digests, changed = iter(paths), []
    with console.progress(len(paths), "decoding", unit="photos") as bar:
        while some := list(islice(digests, _HELD_AT_ONCE)):
            known = cache.inspections(some)
            yield from known.items()
            bar.update(len(known))
            new = {digest: paths[digest] for digest in some if digest not in known}
            for digest, inspection in _inspect_new(new, cache, depth):
                if inspection.kind == "changed":
                    changed.append(inspection.problem(paths[digest]))
                yield digest, inspection
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
