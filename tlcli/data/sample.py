"""`tlcli sample`: a small set of real labelled images to try things on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlcli.errors import DataError, Problem

#: Pixels a side. The scans are 8 x 8; they are enlarged to the smallest size that most bases take.
SIDE = 32


def write_digits(folder: Path) -> int:
    """Write 1,797 handwritten digits as PNG files, one folder a digit; returns their number.

    The images are the test part of the UCI set "Optical Recognition of Handwritten Digits"
    (E. Alpaydin, C. Kaynak, 1998, CC BY 4.0), which scikit-learn carries; values 0..16 become
    0..255. Raises `DataError` where `folder` exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(Problem(str(folder), "exists and is not empty", "name a new folder"))
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside it and renamed, so that an interrupted command leaves no half of a set.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        written = Path(temporary) / folder.name
        _write(written, digits)
        written.replace(folder)
    return len(digits.images)


def _write(folder: Path, digits: Any) -> None:
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        enlarged = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        enlarged.save(path)
