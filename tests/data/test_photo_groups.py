"""What must stay together in folds: groups of the data, copies, and near copies."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tlcli.data.dataset import Item
from tlcli.data.near_duplicates import make_thumbnail
from tlcli.data.photo_groups import group_photos


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)


def test_groups_copies_and_near_copies_stay_together():
    """Photos 0 to 8, of which 0 and 8 are nearly the same, and 3 is 5 mirrored."""
    pictures = [picture(seed) for seed in range(9)]
    pictures[8] = pictures[0].resize((50, 50))
    pictures[3] = pictures[5].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    groups = ["", "a", "", "", "a", "", "", "", ""]
    items = [
        Item(f"{n}.png", 0, "train", f"{n if n != 7 else 6:064x}", groups[n]) for n in range(9)
    ]  # photo 7 has the bytes of 6
    thumbnails = {
        item.digest: make_thumbnail(picture).tobytes()
        for item, picture in zip(items, pictures, strict=True)
    }
    names = group_photos(items, thumbnails)
    assert [int(name, 16) for name in names] == [0, 1, 2, 3, 1, 3, 6, 6, 0]


def test_photos_without_thumbnails_are_apart():
    items = [Item(f"{n}.png", 0, "train", f"{n:064x}") for n in range(3)]
    assert group_photos(items, {}) == [item.digest for item in items]
