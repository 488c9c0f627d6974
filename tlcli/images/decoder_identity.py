"""What tells one decoder from another: the pixels that it gives for a few fixed images.

The version of Pillow would tell too much: from 11.0 to 12.2 no pixel of 2,002 photos at three sizes
changed, with six versions of libjpeg-turbo; 13.0 computes the two passes of a resize in another
order for some shapes, and 8 % of the results differ, by one level of 255.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterator
from importlib import resources

import numpy as np
from PIL import Image

from tlcli.images import decode

#: The pixels of Pillow 13.0, and of `decode.DECODER_VERSION` where nothing else is said.
REFERENCE = "14fb09d692086379"

#: Shapes (width, height) that noise is resized from, and sides (height, width) that it is resized
#: to: larger and smaller, with both orders of the passes, with and without a reduction before.
_SHAPES = ((75, 100), (100, 75), (90, 90), (47, 211), (211, 47), (400, 300))
_SIDES = ((16, 16), (30, 30), (60, 60), (89, 91), (150, 150), (40, 80))
_RESIZES: tuple[decode.Resize, ...] = ("squash", "crop", "pad")


@functools.cache
def decoder_identity() -> int | str:
    """What stands for the decoder in an address: its version, and where the pixels are not those of
    `REFERENCE`, what they are."""
    pixels = pixel_hash()
    return decode.DECODER_VERSION if pixels == REFERENCE else f"{decode.DECODER_VERSION}-{pixels}"


def pixel_hash() -> str:
    """A hash of the pixels that this Pillow gives for fixed files and sizes, 16 hex digits."""
    digest = hashlib.sha256()
    for pixels in _probe_pixels():
        digest.update(repr(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:16]


def _probe_pixels() -> Iterator[np.ndarray]:
    package = resources.files("tlcli.images")
    files = json.loads(package.joinpath("decoder_probe.json").read_text(encoding="utf-8"))
    for text in files.values():
        content = base64.b64decode(text)
        yield np.asarray(decode.decode(content))
        for side in (8, 20):  # a JPEG at an eighth and at a half
            yield decode.load_image(content, height=side, width=side, resize="squash")
    for shape in _SHAPES:
        image = Image.fromarray(_noise(*shape))
        for height, width in _SIDES:
            for resize in _RESIZES:
                yield np.asarray(decode.fit(image, height, width, resize))


def _noise(width: int, height: int) -> np.ndarray:
    """The same noise everywhere: NumPy may change its generators."""
    numbers = np.arange(width * height * 3, dtype=np.uint64)
    numbers = (numbers * np.uint64(6364136223846793005)) ^ (numbers >> np.uint64(3))
    return ((numbers >> np.uint64(24)) & np.uint64(255)).astype(np.uint8).reshape(height, width, 3)
