"""Small photos that any classifier can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

#: Colours that any classifier can tell apart.
COLOURS = {"blue": (40, 60, 210), "green": (50, 190, 60), "red": (210, 50, 40)}


def paint(path: Path, colour: tuple[int, int, int], seed: int, side: int = 48) -> None:
    """Write a PNG of one colour under noise; the seed decides every pixel."""
    noise = np.random.default_rng(seed).normal(0, 30, (side, side, 3))
    pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def paint_classes(folder: Path, photos: int, first_seed: int) -> None:
    """A folder for each colour, with that many photos, all of them different."""
    for offset, (name, colour) in enumerate(COLOURS.items()):
        for number in range(photos):
            seed = first_seed + offset * photos + number
            paint(folder / name / f"{number:02d}.png", colour, seed)


def paint_splits(folder: Path, *, train: int = 8, val: int = 3, test: int = 2) -> Path:
    """Photos in train, val and test folders, so many of each class; returns the folder."""
    for split, number, first_seed in (("train", train, 0), ("val", val, 100), ("test", test, 200)):
        paint_classes(folder / split, number, first_seed)
    return folder
