"""Make the images that tell one decoder from another, `tlcli/images/decoder_probe.json`.

    python scripts/decoder_probe.py

They are encoded once and for all: other bytes would be another question. So the script refuses to
replace the file; delete it first, and put the hash that it prints into `decoder_identity.py`.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PROBE = Path(__file__).parents[1] / "tlcli" / "images" / "decoder_probe.json"


def encode(image: Image.Image, kind: str, **settings: Any) -> str:
    """An image as a file, in base64."""
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def paint(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Smooth colours with some noise, uint8 (height, width, channels): every code path has work."""
    rows, columns = np.mgrid[:height, :width]
    phases = np.arange(1, channels + 1)
    waves = np.sin(rows[..., None] / (3 + phases) + columns[..., None] / (5 - phases % 3))
    noise = np.random.default_rng(seed).normal(0, 20, (height, width, channels))
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def main() -> None:
    """Write the file, and print the identity of the decoder at hand."""
    if PROBE.exists():
        raise SystemExit(f"{PROBE} exists; delete it if the question shall change")
    rgb = Image.fromarray(paint(61, 83, 3, 1))
    deep = (paint(16, 24, 1, 2)[..., 0].astype(np.uint16) << 8) + paint(16, 24, 1, 3)[..., 0]
    files = {
        "jpeg": encode(rgb, "JPEG", quality=80, subsampling="4:2:0"),
        "progressive": encode(rgb, "JPEG", quality=90, subsampling="4:2:2", progressive=True),
        "grey jpeg": encode(rgb.convert("L"), "JPEG", quality=80),
        "cmyk": encode(Image.fromarray(paint(24, 32, 4, 4), "CMYK"), "JPEG", quality=80),
        "webp": encode(rgb, "WEBP", quality=80),
        "transparent": encode(Image.fromarray(paint(24, 32, 4, 5), "RGBA"), "PNG"),
        "deep": encode(Image.fromarray(deep), "PNG"),
        "lab": encode(Image.fromarray(paint(24, 32, 3, 6), "LAB"), "TIFF"),
    }
    PROBE.write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    from tlcli.images import decoder_identity

    print(decoder_identity.pixel_hash())


if __name__ == "__main__":
    main()
