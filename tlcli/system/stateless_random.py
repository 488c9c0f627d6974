"""Random numbers that are computed from an address, not drawn from a generator with a state.

The numbers of a view come from a hash of (seed, photo, view, purpose) and nothing else, so that
the same ones are computed again for one view alone, in any batch, in any order, and after a crash.
Each purpose has its own numbers, and each setting a fixed place among them, so that switching one
setting on does not change the numbers of another.
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
    """The addresses of the random numbers of n views: a seed, and each view's photo and number.

    Attributes:
        digests: hex SHA-256 of the bytes of each view's photo.
        views: view numbers.
    """

    seed: int
    digests: Sequence[str]
    views: Sequence[int]

    def __len__(self) -> int:
        return len(self.digests)

    def uniform(self, purpose: str, count: int) -> Floats:
        """`count` numbers in [0, 1) for each view, shape (n, count).

        `purpose` has 10 letters at most, since BLAKE2 takes no more.
        """
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
    """A generator for what is drawn once for many photos, such as the order of an epoch.

    Its seed is (purpose, address) and nothing else.
    """
    key = [*address, int.from_bytes(purpose.encode(), "little")]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def scale_to_range(low: float, high: float, uniform: Floats) -> Floats:
    """Map numbers in [0, 1) to [low, high)."""
    return low + (high - low) * uniform


def scale_symmetrically(limit: float, uniform: Floats) -> Floats:
    """Map numbers in [0, 1) to [-limit, limit)."""
    return (2 * uniform - 1) * limit


def random_bytes(key: float, count: int) -> NDArray[np.uint8]:
    """`count` uniform random bytes from a number in [0, 1), by the counter generator Philox.

    They are its raw bits, whose stream NumPy keeps the same in all its versions.
    """
    generator = np.random.Philox(key=int(key * 2.0**53))
    return np.asarray(generator.random_raw(-(-count // 8))).astype("<u8").view(np.uint8)[:count]
