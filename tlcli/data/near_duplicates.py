"""Photos that are nearly the same: re-encoded, resized or mirrored copies.

A photo is kept as a thumbnail of 16 x 16 grey values. Its hash has one bit for each of the 63
lowest frequencies of the discrete cosine transform, set where the frequency is above their median
(the pHash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
Photos whose hashes differ in few bits are candidates; those whose thumbnails also correlate are
nearly the same. A mirrored photo has the same frequencies with the odd ones negated.

No pair is left out. Hashes are compared by bands, so that the work grows with the number of photos
and not with its square: of two hashes that differ in at most `BITS` bits, one of four bands differs
in one at most. Where so many share a band that this saves nothing, as X-rays, scans and frames of a
film do, all are compared with all, in blocks that fit a processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]
#: Some of the first thumbnails, or of their mirror images, as `PreparedThumbnails.unit` gives them.
_Unit = Callable[[Array], Array]

#: A thumbnail's side.
SIDE = 16

#: Hashes of near-duplicates differ in at most so many of 63 bits ...
BITS = 7

#: ... and the thumbnails correlate at least so much; 1 is the same but for brightness and contrast.
CORRELATION = 0.98

#: Thumbnails with a lower standard deviation show too little to be compared.
LEAST_CONTRAST = 4.0

# Lowest frequencies kept of each axis, and bands of the hash.
_LOW, _BANDS = 8, 4

# What a band may differ by: nothing, or one of its 16 bits.
_FLIPS = (0, *(1 << bit for bit in range(16)))

# Pairs whose hashes, and then whose thumbnails, are compared at once: bounds of memory.
_CHUNK, _SLICE = 1 << 20, 1 << 14

# Thumbnails that are prepared at once, which bounds the memory of their numbers.
_AT_ONCE = 1 << 11

# Hashes of both sides that a block compares with each other.
_ROWS, _COLUMNS = 256, 4096

# How many times as long as a pair of a block takes a pair that was found by a band, and how many
# times as long as a thumbnail in a product of matrices takes one that is picked by its index.
_LOOKUP, _GATHER = 32, 64


def make_thumbnail(image: Image.Image) -> Array:
    """The small grey picture that stands for an image: uint8 (16, 16)."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small)


def find_pairs(first: PreparedThumbnails, second: PreparedThumbnails) -> Array:
    """Thumbnails of `first` and for each a nearly equal one of `second`: (n, 2) indices, sorted.

    Each is named once: frames of a film are all like each other, and to list who is like whom would
    take the square of their number.
    """
    partner = np.full(len(first.hashes), -1)
    for mirrored in (False, True):
        hashes = first.mirrored if mirrored else first.hashes
        every = len(hashes) * len(second.hashes)
        by_bands = _LOOKUP * _shared(hashes, second.hashes) < every
        match = _match_bands if by_bands else _match_blocks
        partner = match(hashes, partial(first.unit, mirrored=mirrored), second, partner)
    with_partner = np.flatnonzero(partner >= 0)
    return np.stack([first.indices[with_partner], second.indices[partner[with_partner]]], axis=1)


def _match_bands(hashes: Array, unit: _Unit, other: PreparedThumbnails, partner: Array) -> Array:
    """A partner in `other` for each photo without one, from the pairs that share a band.

    `partner` holds those found before, -1 for none. A photo that has one is not compared any more.
    """
    partner = partner.copy()
    for band, other_band in zip(_bands(hashes), _bands(other.hashes), strict=True):
        order = np.argsort(other_band, kind="stable")
        # Where each of the values that 16 bits may have begins in that order.
        begin = np.searchsorted(other_band[order], np.arange((1 << 16) + 1))
        for flip in _FLIPS:
            alone = np.flatnonzero(partner < 0)
            start = begin[band[alone] ^ flip]
            many = begin[(band[alone] ^ flip) + 1] - start
            for position, right in _spread(start, many, order):
                left = alone[position]
                close = np.bitwise_count(hashes[left] ^ other.hashes[right]) <= BITS
                left, right = left[close], right[close]
                for portion in _portions(len(left)):
                    matched, partners = _correlated(
                        left[portion], right[portion], unit, other, partner
                    )
                    partner[matched] = partners
    return partner


def _match_blocks(hashes: Array, unit: _Unit, other: PreparedThumbnails, partner: Array) -> Array:
    """The same from all pairs, block by block."""
    partner = partner.copy()
    for begin in range(0, len(other.hashes), _COLUMNS):
        columns = np.arange(begin, min(begin + _COLUMNS, len(other.hashes)))
        other_values = other.unit(columns).reshape(-1, SIDE * SIDE).T
        for first in range(0, len(hashes), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(hashes)))
            rows = rows[partner[rows] < 0]
            close = np.bitwise_count(hashes[rows, None] ^ other.hashes[columns]) <= BITS
            if _GATHER * np.count_nonzero(close) < close.size:
                left, right = np.nonzero(close)
                for portion in _portions(len(left)):
                    matched, partners = _correlated(
                        rows[left[portion]], right[portion] + begin, unit, other, partner
                    )
                    partner[matched] = partners
                continue
            correlation = unit(rows).reshape(-1, SIDE * SIDE) @ other_values
            alike = close & (correlation >= CORRELATION)
            has_match = alike.any(axis=1)
            partner[rows[has_match]] = begin + alike[has_match].argmax(axis=1)
    return partner


def _portions(count: int) -> Iterator[slice]:
    for begin in range(0, count, _SLICE):
        yield slice(begin, begin + _SLICE)


def _correlated(
    left: Array, right: Array, unit: _Unit, other: PreparedThumbnails, partner: Array
) -> tuple[Array, Array]:
    """Of pairs whose hashes are close, those whose thumbnails correlate.

    Photos that have a partner already are left out.
    """
    alone = partner[left] < 0
    left, right = left[alone], right[alone]
    alike = np.einsum("nij,nij->n", unit(left), other.unit(right)) >= CORRELATION
    return left[alike], right[alike]


class PreparedThumbnails:
    """Thumbnails, uint8 (any number, 16, 16), made ready for comparison.

    Args:
        thumbnails: the array, which is not copied.
        chosen: which of them; None for all.

    Attributes:
        indices: of those that have enough contrast, among the chosen; others are left out below.
        hashes, mirrored: uint64, of the photo and of its mirror image.
    """

    def __init__(self, thumbnails: Array, chosen: Array | None = None) -> None:
        self._thumbnails = thumbnails.reshape(-1, SIDE, SIDE)
        rows = np.arange(len(self._thumbnails)) if chosen is None else chosen
        parts = [rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE)]
        stands_out = [self._has_contrast(part) for part in parts]
        self.indices = np.flatnonzero(np.concatenate([*stands_out, np.zeros(0, bool)]))
        self._rows = rows[self.indices]
        self.hashes, self.mirrored = np.zeros((2, len(self._rows)), np.uint64)
        basis = _cosines()
        odd = np.where(np.arange(_LOW) % 2, -1, 1).astype(np.float32)
        for first in range(0, len(self._rows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            frequencies = basis @ self.unit(part) @ basis.T
            self.hashes[part] = _pack_bits(frequencies)
            self.mirrored[part] = _pack_bits(frequencies * odd)

    def unit(self, which: Array | slice, *, mirrored: bool = False) -> Array:
        """Some of them as float32 of mean 0 and length 1, so that a product is a correlation."""
        values = self._thumbnails[self._rows[which]].astype(np.float32)
        values -= values.mean(axis=(1, 2), keepdims=True)
        values /= np.linalg.norm(values, axis=(1, 2), keepdims=True)
        return values[:, :, ::-1] if mirrored else values

    def _has_contrast(self, rows: Array) -> Array:
        enough: Array = self._thumbnails[rows].std(axis=(1, 2)) >= LEAST_CONTRAST
        return enough


def _cosines() -> Array:
    """The lowest rows of the DCT-II of `SIDE` values."""
    rows, columns = np.mgrid[:_LOW, :SIDE]
    basis: Array = np.cos(np.pi * rows * (2 * columns + 1) / (2 * SIDE)).astype(np.float32)
    return basis


def _pack_bits(frequencies: Array) -> Array:
    values = frequencies.reshape(len(frequencies), _LOW * _LOW)[:, 1:]  # without the mean
    bits = values > np.median(values, axis=1, keepdims=True)
    padded = np.pad(bits, ((0, 0), (1, 0)))
    hashes: Array = np.packbits(padded, axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return hashes


def _bands(hashes: Array) -> Iterator[Array]:
    """The 16 bits of each band of each hash, a band at a time: int32 (hashes)."""
    for band in range(_BANDS):
        yield (hashes >> np.uint64(16 * band)).astype(np.uint16).astype(np.int32)


def _shared(first: Array, second: Array) -> int:
    """Pairs that share a band but for one bit; one that shares several bands counts each time."""
    total = 0
    values = np.arange(1 << 16)
    for bands in zip(_bands(first), _bands(second), strict=True):
        many, others = (np.bincount(band, minlength=1 << 16) for band in bands)
        total += sum(int(many @ others[values ^ flip]) for flip in _FLIPS)
    return total


def _spread(start: Array, many: Array, order: Array) -> Iterator[tuple[Array, Array]]:
    """Runs of `many[i]` entries of `order` from `start[i]` on, as pairs (i, entry).

    They come in portions of about `_CHUNK` pairs, which bounds the memory they take.
    """
    total = np.concatenate([[0], np.cumsum(many)])
    portions = np.searchsorted(total, np.arange(0, total[-1], _CHUNK))
    for begin, end in pairwise([*portions.tolist(), len(many)]):
        left = np.repeat(np.arange(begin, end), many[begin:end])
        within = np.arange(total[begin], total[end]) - total[left]
        yield left, order[start[left] + within]
