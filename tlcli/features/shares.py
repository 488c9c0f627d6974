"""Shares of the work, so that several processes can extract the features of one recipe.

Every process lists the same views in the same order and cuts them into the same batches; a share is
a run of these batches. So processes need no word from each other, and a row has the bits that one
process would give it: the last bits of a row can depend on its place in the batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tlcli.images.loader import BATCH_SIZE, View

#: The most shares.
MOST_SHARES = 100_000

#: Shares are told apart by parts of the whole, each of which is one out of so many.
PARTS = 2**32


@dataclass(frozen=True)
class Share:
    """One of `count` shares of all views, the one with this `number`, from 1.

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
    def parts(self) -> range:
        """Its parts, out of `PARTS`: two shares have views in common if their parts overlap."""
        return self._of(PARTS)

    def select(self, views: Sequence[View]) -> Sequence[View]:
        """Those of all views that are in the share, in order: whole batches."""
        batches = self._of(-(-len(views) // BATCH_SIZE))
        return views[batches.start * BATCH_SIZE : batches.stop * BATCH_SIZE]

    def _of(self, whole: int) -> range:
        return range((self.number - 1) * whole // self.count, self.number * whole // self.count)


WHOLE = Share()


def parse_share(text: str) -> Share:
    """The share that a text such as '3/16' means; raises `ValueError` with what is wrong."""
    if not (match := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)):
        raise ValueError(f"'{text}' is no share; write the third of sixteen as 3/16")
    return Share(int(match[1]), int(match[2]))
