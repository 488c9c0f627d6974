"""How an image is stored, and how it is turned upright: the EXIF tag of orientation."""

from __future__ import annotations

from PIL import Image

from tlcli.images.truncation import JPEGS

#: Left, top, right, bottom, in pixels.
Box = tuple[float, float, float, float]

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What lies on its side, and where the stored top left corner then comes from.
_ON_THEIR_SIDE = tuple(_ORIENTATIONS[number] for number in (5, 6, 7, 8))
_FROM_THE_RIGHT = tuple(_ORIENTATIONS[number] for number in (2, 3, 6, 7))
_FROM_BELOW = tuple(_ORIENTATIONS[number] for number in (3, 4, 7, 8))


def find_turn(image: Image.Image) -> Image.Transpose | None:
    """What puts an image upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken EXIF says nothing about the pixels
        return None
    return _ORIENTATIONS.get(orientation) if isinstance(orientation, int) else None


def find_turn_by_header(image: Image.Image) -> Image.Transpose | None:
    """The same before pixels are loaded, where Pillow can tell: for a PNG, it would load them."""
    return find_turn(image) if image.format in (*JPEGS, "TIFF") else None


def swaps_sides(turn: Image.Transpose | None) -> bool:
    """Whether a turn makes width of height."""
    return turn in _ON_THEIR_SIDE


def find_extent(
    upright: Image.Image, wide: float, high: float, turn: Image.Transpose | None
) -> Box:
    """Where the top left `wide` x `high` pixels of a stored image lie once it is upright."""
    if turn in _ON_THEIR_SIDE:
        wide, high = high, wide
    left = upright.width - wide if turn in _FROM_THE_RIGHT else 0.0
    top = upright.height - high if turn in _FROM_BELOW else 0.0
    return left, top, min(left + wide, upright.width), min(top + high, upright.height)
