"""Dividing photos among train, val and test: every class by its shares, no group torn, few moves.

The hash of a photo, or of its group, is its place in a row. In each class, test is taken from the
lower end of the row and val from the upper end, as many as the shares ask for; what is between is
train. A photo that is added moves the two cuts by a photo or none, and none goes from val to test.
Photos that have a split already keep it, and the others fill what is missing.

Groups of several photos, and those with photos of several classes, cannot always be cut where the
shares ask for. Whole groups are then moved or exchanged, those nearest to the cuts first, as long
as that brings the classes nearer to their shares: a descent on the squares of what they are off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.splits import SplitName

Array = npt.NDArray[Any]

#: Splits along the row of hashes; of two moves that are worth the same, the one to val is made.
_ROW: tuple[SplitName, ...] = ("test", "train", "val")
_TEST, _TRAIN, _VAL = range(3)
_MOVES = sorted(permutations(range(3), 2), key=lambda move: (move[1] != _VAL, _TRAIN not in move))

# Shares are counted in ten thousandths, so that all sums are whole numbers, exact on any machine.
_SCALE = 10_000

# A class without a photo in a split that is asked for weighs more than any number of photos.
_EMPTY = 1e20

#: Groups nearest to a cut that are tried for a move; and for an exchange, on either side.
_MOVED, _EXCHANGED = 512, 64


@dataclass(frozen=True, slots=True)
class PhotoGroup:
    """Photos that stay in one split: copies of a photo, or what a table calls a group.

    Attributes:
        key: hex SHA-256, which is the place in the row.
        counts: how many photos it has of each class, by label.
        split: where it is and stays; empty where it may go to any.
    """

    key: str
    counts: Mapping[int, int]
    split: SplitName | None = None


def divide(groups: Sequence[PhotoGroup], val: float, test: float) -> dict[str, SplitName]:
    """The split of each group, by its key.

    `val` and `test` are the shares that every class gives to them, each within a photo where groups
    allow it. A class of three groups or more has one at least in every split with a share; of two,
    the second is for val. Train keeps the last one. The order of `groups` does not matter.
    """
    divided: dict[str, SplitName] = {}
    for connected in _connected(sorted(groups, key=lambda group: group.key)):
        splits = _Division(connected, val, test).run()
        divided |= {group.key: _ROW[split] for group, split in zip(connected, splits, strict=True)}
    return divided


def _connected(groups: Sequence[PhotoGroup]) -> Iterator[list[PhotoGroup]]:
    """The groups apart by classes; classes that share a group stay together."""
    above: dict[int, int] = {}

    def root(label: int) -> int:
        while above.setdefault(label, label) != label:
            above[label] = label = above[above[label]]
        return label

    for group in groups:
        first, *others = group.counts
        for label in others:
            above[root(label)] = root(first)
    parts: dict[int, list[PhotoGroup]] = defaultdict(list)
    for group in groups:
        parts[root(next(iter(group.counts)))].append(group)
    yield from parts.values()


class _Division:
    """The division of classes that share groups. Arrays have a row for each split of `_ROW`."""

    def __init__(self, groups: Sequence[PhotoGroup], val: float, test: float) -> None:
        labels = sorted({label for group in groups for label in group.counts})
        column = {label: number for number, label in enumerate(labels)}
        self._photos = np.zeros((len(groups), len(labels)))
        for row, group in enumerate(groups):
            for label, count in group.counts.items():
                self._photos[row, column[label]] = count
        self._free = np.array([group.split is None for group in groups])
        kept = [_ROW.index(group.split) if group.split else _TRAIN for group in groups]
        self._split = np.array(kept)
        self._places = np.array([int(group.key[:13], 16) / 16**13 for group in groups])
        self._shares = np.array([test, 0, val])
        scaled = np.round(self._shares * _SCALE)
        scaled[_TRAIN] = _SCALE - scaled.sum()
        self._quotas = scaled[:, None] * self._photos.sum(axis=0)
        self._needed = self._find_needed()
        self._count()

    def run(self) -> Array:
        """The split of each group, as an index of `_ROW`."""
        self._cut()
        while (off := self._find_off()).any() and (self._move(off) or self._exchange(off)):
            pass
        return self._split

    def _find_needed(self) -> Array:
        """Where each class must not be empty, shape (3, classes)."""
        groups = (self._photos > 0).sum(axis=0)
        needed = np.zeros((3, len(groups)), bool)
        needed[_TRAIN] = True
        asked = [split for split in (_VAL, _TEST) if self._shares[split] > 0]
        for rank, split in enumerate(asked):
            # With two groups, val has the second one, or test where no val is asked for.
            needed[split] = (groups >= 3) | ((groups == 2) & (rank == 0))
        return needed

    def _count(self) -> None:
        """Count the photos of each split and class."""
        rows = [self._photos[self._split == split].sum(axis=0) for split in range(3)]
        self._counts = np.array(rows)

    def _cut(self) -> None:
        """Cut every class at both ends; groups of several classes go by their place alone."""
        shared = self._free & ((self._photos > 0).sum(axis=1) > 1)
        self._split[shared & (self._places < self._shares[_TEST])] = _TEST
        self._split[shared & (self._places >= 1 - self._shares[_VAL])] = _VAL
        single = self._free & ~shared
        self._count()
        for label in range(self._photos.shape[1]):
            row = np.flatnonzero(single & (self._photos[:, label] > 0))
            missing = self._quotas[:, label] / _SCALE - self._counts[:, label]
            low = _nearest_cut(self._photos[row, label], missing[_TEST])
            row, ends = row[low:], row[:low]
            high = _nearest_cut(self._photos[row, label][::-1], missing[_VAL])
            self._split[ends] = _TEST
            self._split[row[len(row) - high :]] = _VAL
        self._count()

    def _find_off(self) -> Array:
        """Which classes are off a share by more than a photo, or miss a split; shape (classes,)."""
        off = np.abs(self._counts * _SCALE - self._quotas) > _SCALE
        missing = self._needed & (self._counts == 0)
        return np.asarray((off | missing).any(axis=0))

    def _cost(self, moved: Array, source: int, target: int) -> Array:
        """What moving photos, shape (n, classes), changes in the cost; below zero it is better."""
        cost = np.zeros(len(moved))
        for split, sign in ((source, -1), (target, 1)):
            before, after = self._counts[split], self._counts[split] + sign * moved
            quota, needed = self._quotas[split], self._needed[split]
            squares = (after * _SCALE - quota) ** 2 - (before * _SCALE - quota) ** 2
            emptied = (needed & (after == 0)).astype(int) - (needed & (before == 0))
            cost += squares.sum(axis=1) + _EMPTY * emptied.sum(axis=1)
        return cost

    def _candidates(self, classes: Array) -> dict[tuple[int, int], Array]:
        """For every source and target the free groups of some classes, nearest to the cut first."""
        chosen = self._free & (self._photos[:, classes] > 0).any(axis=1)
        candidates = {}
        for source, target in _MOVES:
            rows = np.flatnonzero(chosen & (self._split == source))
            if len(rows) and (target == _TRAIN or self._shares[target] > 0):
                candidates[source, target] = (rows[::-1] if target > source else rows)[:_MOVED]
        return candidates

    def _move(self, off: Array) -> bool:
        """Make the move of a group of classes that are off that gains most, if there is one."""
        best, lowest = None, 0.0
        for (source, target), rows in self._candidates(off).items():
            costs = self._cost(self._photos[rows], source, target)
            first = int(costs.argmin())
            if costs[first] < lowest:
                best, lowest = (rows[first], target), float(costs[first])
        if best is not None:
            self._put(*best)
        return best is not None

    def _exchange(self, off: Array) -> bool:
        """Make the exchange of two such groups that gains most, if there is one."""
        near = self._candidates(off)
        best, lowest = None, 0.0
        for (source, target), there in near.items():
            back = near.get((target, source))
            if back is None or source > target:
                continue
            back = back[:_EXCHANGED]
            for row in there[:_EXCHANGED]:
                costs = self._cost(self._photos[row] - self._photos[back], source, target)
                first = int(costs.argmin())
                if costs[first] < lowest:
                    best, lowest = ((row, target), (back[first], source)), float(costs[first])
        for row, target in best or ():
            self._put(row, target)
        return best is not None

    def _put(self, row: int, target: int) -> None:
        """Move a group."""
        self._counts[self._split[row]] -= self._photos[row]
        self._counts[target] += self._photos[row]
        self._split[row] = target


def _nearest_cut(sizes: Array, wanted: float) -> int:
    """How many groups from the first on have nearest to `wanted` photos; fewer of two as near."""
    sums = np.concatenate([[0], np.cumsum(sizes)])
    return int(np.abs(sums - wanted).argmin())
