"""Shares of the photos, so that several processes can extract the features of one recipe.

The share of a photo follows from its hash alone: processes need no word from each other, every
photo with all its views is in one share, and copies of a photo are in the same one. A row has the
same bits whatever is computed beside it, and so whoever computes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tlcli.images.loader import View

#: Hashes are told apart by their first eight hex digits: shares are ranges of these numbers.
HASH_DIGITS = 8
HASHES = 16**HASH_DIGITS

#: The most shares, each of which still has thousands of those numbers.
MOST_SHARES = 100_000


@dataclass(frozen=True)
class Share:
    """One of `count` shares of all photos, the one with this `number`, from 1.

    Raises `ValueError` where there is no such share.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHARES:
            raise ValueError(f"there can be 1 to {MOST_SHARES:,} shares, not {self.count:,}")
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shares of {self.count:,} are numbered from 1 to {self.count:,}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def hashes(self) -> range:
        """The numbers that the hashes of its photos begin with, out of `HASHES`."""
        first, last = (-(-HASHES * n // self.count) for n in (self.number - 1, self.number))
        return range(first, last)

    def has(self, digest: str) -> bool:
        """Whether a photo, by the hex SHA-256 of its bytes, is in the share."""
        return int(digest[:HASH_DIGITS], 16) in self.hashes

    def select(self, views: Iterable[View]) -> list[View]:
        """Those of some views whose photos are in the share, in order."""
        if self == WHOLE:
            return list(views)
        hashes = self.hashes
        return [view for view in views if int(view.digest[:HASH_DIGITS], 16) in hashes]


WHOLE = Share()


def parse_share(text: str) -> Share:
    """The share that a text such as '3/16' means; raises `ValueError` with what is wrong."""
    if not (match := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)):
        raise ValueError(f"'{text}' is no share; write the third of sixteen as 3/16")
    return Share(int(match[1]), int(match[2]))
