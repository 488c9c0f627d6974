"""Random numbers with an address instead of a state.

The numbers of a view come from a hash of (seed, photo, view, purpose) and nothing else, so that
they can be had again alone, in any batch, in any order, after a crash. Each purpose has numbers of
its own, and each setting a fixed place among them: switching one setting on moves no other's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Numbers in one hash of 64 bytes.
_BLOCK = 8


@dataclass(frozen=True)
class RandomAddresses:
    """Where the numbers of n views come from: a seed, and the photo and view number of each.

    Attributes:
        digests: what identifies each photo, the hex SHA-256 of its bytes.
        views: view numbers.
    """

    seed: int
    digests: Sequence[str]
    views: Sequence[int]

    def __len__(self) -> int:
        return len(self.digests)

    def uniform(self, purpose: str, count: int) -> Floats:
        """`count` numbers in [0, 1) for each view, shape (n, count); `purpose` has 10 letters."""
        blocks = -(-count // _BLOCK)
        raw = b"".join(
            hashlib.blake2b(
                f"{self.seed}:{digest}:{view}".encode(),
                person=f"tlcli {purpose}".encode(),
                salt=block.to_bytes(16, "little"),
            ).digest()
            for digest, view in zip(self.digests, self.views, strict=True)
            for block in range(blocks)
        )
        # The 53 highest bits of each number: what a float64 in [0, 1) can hold.
        bits = np.frombuffer(raw, "<u8").reshape(-1, blocks * _BLOCK)[:, :count] >> np.uint64(11)
        return bits.astype(np.float64) * 2.0**-53


def make_generator(purpose: str, *address: int) -> np.random.Generator:
    """For what is drawn once for many photos, as the order of an epoch: from (purpose, address)."""
    key = [*address, int.from_bytes(purpose.encode(), "little")]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def scale_to_range(low: float, high: float, uniform: Floats) -> Floats:
    """Numbers in [0, 1) as numbers in [low, high)."""
    return low + (high - low) * uniform


def scale_symmetrically(limit: float, uniform: Floats) -> Floats:
    """Numbers in [0, 1) as numbers in [-limit, limit)."""
    return (2 * uniform - 1) * limit


def random_bytes(key: float, count: int) -> NDArray[np.uint8]:
    """`count` even bytes from a number in [0, 1), by the counter generator Philox.

    Raw bits are taken, whose stream NumPy keeps the same in all its versions.
    """
    generator = np.random.Philox(key=int(key * 2.0**53))
    return np.asarray(generator.random_raw(-(-count // 8))).astype("<u8").view(np.uint8)[:count]
