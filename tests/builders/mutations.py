"""Sound files of every kind with something changed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from builders.corpus import SOUND


def mutations(number: int) -> Iterator[tuple[str, bytes]]:
    """Sound files with something changed in them, the same ones every time."""
    kinds = sorted(SOUND)
    for seed in range(number):
        rng = np.random.default_rng(seed)
        kind = kinds[seed % len(kinds)]
        change = _CHANGES[seed // len(kinds) % len(_CHANGES)]
        yield f"{kind} {change.__name__} {seed}", change(SOUND[kind], rng)


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def spoil_header(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        changed[int(rng.integers(min(len(data), 220)))] = int(rng.choice([0, 1, 127, 128, 255]))
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def blank_out(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    length = min(int(rng.integers(1, 200)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    piece = data[start : start + int(rng.integers(1, 300))]
    return data[:start] + piece * int(rng.integers(2, 5)) + data[start:]


def leave_out(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 60)) :]


_CHANGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    flip_bits, spoil_header, cut, blank_out, repeat, leave_out,
)  # fmt: skip
