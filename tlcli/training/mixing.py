"""Mixup and cutmix: photos of a training batch blended or pasted into each other.

Mixup (Zhang et al., 2017) blends two photos of a batch; on stored activations it is manifold mixup
(Verma et al., 2018) at the boundary. Cutmix (Yun et al., 2019) pastes a rectangle of one into the
other and needs pixels. Either way the label is shared in the same proportion. Where both are asked
for, every batch takes one of them, each with a chance of a half.

What a batch does is drawn from (seed, stage, epoch, number of the batch) and nothing else, so that
training that goes on at some epoch does what it would have done.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """Which batch of a training: the training seed, the stage's name, epoch and batch from 0."""

    seed: int
    stage: str
    epoch: int
    batch: int

    def generator(self) -> np.random.Generator:
        """Random numbers that belong to the batch."""
        text = f"{self.seed}:{self.epoch}:{self.batch}:{self.stage}".encode()
        key = hashlib.blake2b(text, digest_size=16, person=b"tlcli mixing").digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


@dataclass(frozen=True, eq=False)
class Mix:
    """How the n photos of a batch are mixed.

    Attributes:
        partners: for each photo the position of the one it is mixed with, a permutation, (n,).
        shares: what is left of each photo, and of its label, 0 to 1, float32 (n,).
        boxes: for cutmix the rectangle that comes from the partner, in pixels: top, left, bottom,
            right, (n, 4).
    """

    partners: NDArray[np.int64]
    shares: NDArray[np.float32]
    boxes: NDArray[np.int64] | None = None

    def apply(self, values: Array) -> NDArray[np.float32]:
        """The batch, shape (n, ...), of pixels (n, height, width, 3) for cutmix, after mixing."""
        values = np.asarray(values, np.float32)
        if self.boxes is None:
            shares = self.shares.reshape(-1, *[1] * (values.ndim - 1))
            return shares * values + (1 - shares) * values[self.partners]
        mixed = values.copy()
        for position, (top, left, bottom, right) in enumerate(self.boxes):
            pasted = values[self.partners[position], top:bottom, left:right]
            mixed[position, top:bottom, left:right] = pasted
        return mixed


def mixes_photos(settings: Augment) -> bool:
    """Whether training batches are mixed at all."""
    return bool(settings.mixup or settings.cutmix)


def draw_mix(settings: Augment, step: Step, count: int, shape: tuple[int, int]) -> Mix:
    """What happens to a batch of `count` photos of `shape` = (height, width) pixels.

    The share of each photo is drawn from Beta(alpha, alpha). The rectangle of cutmix has the rest
    of the area and the shape of the photo, its centre is uniform, and what reaches beyond the
    border is cut off and does not count.
    """
    generator = step.generator()
    heads = generator.random() < 0.5
    paste = heads if settings.mixup and settings.cutmix else bool(settings.cutmix)
    partners = generator.permutation(count)
    alpha = settings.cutmix if paste else settings.mixup
    shares = generator.beta(alpha, alpha, count)
    if not paste:
        return Mix(partners, shares.astype(np.float32))
    half = np.sqrt(1 - shares)[:, None] / 2
    centres = generator.random((count, 2))
    corners = np.clip(np.concatenate([centres - half, centres + half], axis=1), 0, 1)
    boxes = np.rint(corners * (*shape, *shape)).astype(np.int64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = 1 - areas / (shape[0] * shape[1])
    return Mix(partners, left.astype(np.float32), boxes)
