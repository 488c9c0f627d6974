"""Print how far views are from those of Keras' ImageDataGenerator, as the table in docs.

    python scripts/differences.py

One smooth square photo, each setting fixed at a value and its opposite, every fill mode: the most
they differ in grey levels of 0..255, between `geometry.warp` and the generator's `apply_transform`.
For `constant` and `wrap`, which treat the border otherwise, the second figure leaves out the pixels
that show a place less than a pixel from the border or beyond it. Colours: a photo of random
colours.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tlcli.images import color_jitter, geometry
from tlcli.networks.framework import keras

SIDE = 96
MODES = ("nearest", "reflect", "constant", "wrap")

#: Label, what is fixed here, and the same in the words of the generator.
GEOMETRIES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (f"rotation {sign:+.0f} degrees", {"theta": sign}, {"theta": sign}) for sign in (25.0, -25.0)
]
GEOMETRIES += [
    (f"width shift {sign:+g} px", {"columns": sign}, {"tx": sign}) for sign in (9.5, -9.5)
]
GEOMETRIES += [(f"height shift {s:+g} px", {"rows": s}, {"ty": s}) for s in (9.5, -9.5)]
GEOMETRIES += [(f"shear {s:+g} degrees", {"shear": s}, {"shear": s}) for s in (15.0, -15.0)]
GEOMETRIES += [(f"zoom {s:g}", {"zx": s, "zy": s}, {"zx": s, "zy": s}) for s in (0.8, 1.25)]
GEOMETRIES += [
    ("horizontal flip", {"flip_horizontal": True}, {"flip_horizontal": True}),
    ("vertical flip", {"flip_vertical": True}, {"flip_vertical": True}),
    (
        "all of them",
        {"theta": 25.0, "columns": -9.5, "rows": 9.5, "shear": 15.0, "zx": 0.8, "zy": 1.25,
         "flip_horizontal": True},
        {"theta": 25.0, "tx": -9.5, "ty": 9.5, "shear": 15.0, "zx": 0.8, "zy": 1.25,
         "flip_horizontal": True},
    ),
]  # fmt: skip

COLOURS: list[tuple[str, dict[str, float], dict[str, float]]] = [
    (f"brightness {v:g}", {"brightness": v}, {"brightness": v}) for v in (0.7, 1.3)
]
COLOURS += [
    (f"channel shift {v:+g}", {"channel_shift": v}, {"channel_shift_intensity": v})
    for v in (30.0, -30.0)
]


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore")  # the generator calls a scipy namespace that is going away
    photo = smooth()
    print("| setting | " + " | ".join(MODES) + " |\n|---" + "|---" * len(MODES) + "|")
    for label, settings, legacy_settings in GEOMETRIES:
        print(
            f"| {label} | "
            + " | ".join(cell(photo, settings, legacy_settings, m) for m in MODES)
            + " |"
        )
    print("\n| setting | difference |\n|---|---|")
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype("float32")
    pixels[0, 0], pixels[0, 1] = 0, 255
    for label, colours, legacy_settings in COLOURS:
        change = np.abs(coloured(pixels, colours) - legacy(pixels, legacy_settings, "nearest"))
        print(f"| {label} | {change.max():.2g} |")


def smooth() -> Any:
    """A photo without edges, in whose resampling nothing but the method matters."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype("float32")
    channels = [127 + 100 * np.sin(rows / 9 + p) * np.cos(columns / 11 - p) for p in range(3)]
    return np.stack(channels, -1).astype("float32")


def cell(photo: Any, settings: dict[str, Any], legacy_settings: dict[str, Any], mode: str) -> str:
    """The largest difference, and for two fill modes that away from the border."""
    plain = {"theta": 0.0, "rows": 0.0, "columns": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0}
    values = {**plain, "flip_horizontal": False, "flip_vertical": False, **settings}
    drawn = geometry.GeometryDraws(
        **{name: np.array([value]) for name, value in values.items()},
        rows_in_pixels=True,
        columns_in_pixels=True,
    )
    (matrix,) = geometry.compose(drawn, SIDE, SIDE)
    view = geometry.warp(photo, matrix, mode, 0.0).transpose(1, 2, 0)
    difference = np.abs(view - legacy(photo, legacy_settings, mode)).max(axis=2)
    if mode in ("nearest", "reflect"):
        return f"{difference.max():.0e}"
    return f"{difference.max():.2g}; inside {difference[inside(matrix)].max():.0e}"


def inside(matrix: Any) -> Any:
    """Which pixels of a view show a place a pixel or more from the border."""
    y, x = np.mgrid[:SIDE, :SIDE]
    whole = np.append(matrix, 1).reshape(3, 3).astype(np.float64)
    places = whole @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    within = (places[:2] > 1) & (places[:2] < SIDE - 2)
    return within.all(axis=0).reshape(SIDE, SIDE)


def legacy(photo: Any, parameters: dict[str, Any], mode: str) -> Any:
    """What the generator makes of the photo."""
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(fill_mode=mode)
    return generator.apply_transform(photo, parameters)


def coloured(pixels: Any, values: dict[str, float]) -> Any:
    """What `colour` makes of the photo."""
    plain = {
        "brightness": 1.0, "channel_shift": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0,
        "grey": False, "sigma": 0.0,
    }  # fmt: skip
    drawn = color_jitter.ColorDraws(**{n: np.array([v]) for n, v in {**plain, **values}.items()})
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return color_jitter.change_colours(planes, drawn, 0).transpose(1, 2, 0)


if __name__ == "__main__":
    main()
