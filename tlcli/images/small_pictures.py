"""Photos as small pictures for contact sheets."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from tlcli.images import loader
from tlcli.images.bit_depth import Depth
from tlcli.images.loader import BATCH_SIZE, PixelSettings, View
from tlcli.system import console


def small_pictures(
    views: Iterable[View], side: int, depth: Depth | None
) -> dict[Path, Image.Image]:
    """Square pictures of photos, by path; what cannot be read is left out, with a warning.

    `depth` is the recipe's `data.depth`.
    """
    settings = PixelSettings(side, side, "pad", depth=depth)
    chunks = loader.split_into_chunks(views, BATCH_SIZE)
    pictures = {}
    with closing(loader.load_batches(chunks, settings)) as batches:
        for batch in batches:
            for problem in batch.errors.values():
                console.warn(f"{problem}; left out of the sheet")
            pixels = np.rint(np.asarray(batch.pixels)).astype(np.uint8)
            for view, values in zip(batch.readable, pixels, strict=True):
                pictures[view.path] = Image.fromarray(values)
    return pictures
