"""Photos that belong together when the training photos are divided: groups, copies, near copies.

A photo that is judged while its copy was learned from makes every score too high.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.data.near_duplicates import SIDE, PreparedThumbnails, find_pairs

Array = npt.NDArray[Any]


def distinct_photos(items: Sequence[Item]) -> list[Item]:
    """The photos, copies of the same bytes counted once."""
    return list({item.digest: item for item in reversed(items)}.values())[::-1]


def group_photos(items: Sequence[Item], thumbnails: Mapping[str, bytes]) -> list[str]:
    """The name of the group of each photo: the least digest in it.

    Together are photos of one group of the data, those with the same bytes, and those that
    `near_duplicates` takes for the same. `thumbnails` are those of `make_thumbnail` by digest; a
    photo without one has no near copy.
    """
    parent = list(range(len(items)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    first: dict[str, int] = {}
    pairs = [
        (first.setdefault(name, position), position)
        for position, item in enumerate(items)
        for name in (f"photo {item.digest}", *([f"group {item.group}"] if item.group else []))
    ]
    for left, right in (*pairs, *_near_copies(items, thumbnails)):
        parent[root(left)] = root(right)
    least: dict[int, str] = {}
    for position, item in enumerate(items):
        at = root(position)
        least[at] = min(least.get(at, item.digest), item.digest)
    return [least[root(position)] for position in range(len(items))]


def _near_copies(
    items: Sequence[Item], thumbnails: Mapping[str, bytes]
) -> Iterator[tuple[int, int]]:
    """Pairs of positions of photos that are nearly the same.

    Two photos differ in some bit of their number. So comparing, for each bit, those in which it is
    set with those in which it is not leaves out no pair.
    """
    known = np.array([i for i, item in enumerate(items) if thumbnails.get(item.digest)], np.intp)
    if len(known) < 2:
        return
    data = b"".join(thumbnails[items[position].digest] for position in known)
    pixels: Array = np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE)
    numbers = np.arange(len(known))
    for bit in range(int(len(known) - 1).bit_length()):
        is_set = (numbers >> bit) & 1 == 1
        sides = np.flatnonzero(is_set), np.flatnonzero(~is_set)
        prepared = [PreparedThumbnails(pixels[side]) for side in sides]
        for left_side, right_side in ((0, 1), (1, 0)):
            for left, right in find_pairs(prepared[left_side], prepared[right_side]):
                yield int(known[sides[left_side][left]]), int(known[sides[right_side][right]])
