"""`tlcli visualize activations`: what the channels of chosen layers make of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.explain import heatmap
from tlcli.explain.explained_model import ExplainedModel
from tlcli.images import contact_sheet, decode
from tlcli.networks.framework import keras
from tlcli.system import console

Array = npt.NDArray[Any]

#: Pixels on a side of one channel on a sheet: its own size within these bounds.
SMALLEST, LARGEST = 24, 96

#: How wide the channels of one layer are laid, in pixels.
WIDTH = 1200

_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True)
class Channels:
    """The activations of one layer for one photo.

    Attributes:
        layer: its name.
        values: float32, shape (height, width, channels).
    """

    layer: str
    values: Array

    @property
    def silent(self) -> int:
        """How many channels say nothing: the same number everywhere."""
        return int((np.ptp(self.values, axis=(0, 1)) == 0).sum())

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `--json`."""
        return {
            "layer": self.layer,
            "shape": list(self.values.shape),
            "silent": self.silent,
            "mean": float(self.values.mean()),
            "greatest": float(self.values.max()),
        }


def chosen(subject: ExplainedModel, names: Sequence[str]) -> list[str]:
    """The layers asked for, or else the last one at each size of the grid, bottom to top.

    Pooling layers and what only turns raw pixels into the base's own are passed over. Raises
    `UnknownName` for a layer that is not there or has no grid.
    """
    if names:
        return [subject.grid(name).name for name in dict.fromkeys(names)]
    last: dict[tuple[int, int], str] = {}
    for name in subject.row.layers:
        layer = subject.grids.get(name)
        if layer is None or isinstance(layer, (*_POOLING, keras.layers.ZeroPadding2D)):
            continue
        if layer.output.shape[-1] > 3 and min(layer.output.shape[1:3]) > 1:
            last[layer.output.shape[1:3]] = name
    # Sizes that padding or valid convolutions pass through on the way are of no interest.
    return [name for size, name in last.items() if not any(_near(size, other) for other in last)]


def _near(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether `other` is a little smaller than `size`, of the same level of the network."""
    return other != size and all(0.7 * a < b <= a for a, b in zip(size, other, strict=True))


def look(subject: ExplainedModel, photo: Path, layers: Sequence[str]) -> list[Channels]:
    """The activations of those layers for one photo; raises `ImageError` if it is none."""
    seen = subject.look
    pixels = decode.load_image(photo, height=seen.height, width=seen.width, resize=seen.resize)
    outputs = [subject.grid(name).output for name in layers]
    model = keras.Model(subject.model.inputs[0], outputs)
    found = model(pixels.astype(np.float32)[None], training=False)
    values = found if isinstance(found, list | tuple) else [found]
    return [
        Channels(name, np.asarray(value, np.float32)[0])
        for name, value in zip(layers, values, strict=True)
    ]


def draw(subject: ExplainedModel, photo: Path, found: Sequence[Channels]) -> Image.Image:
    """One sheet: a grid of all channels for each layer, in order, each on its own scale.

    Raises `TlcliError` where the channels are too many for one picture.
    """
    cells = [
        contact_sheet.SheetCell(
            [_grid(one.values)],
            [_words(one)],
        )
        for one in found
    ]
    title = f"{photo.name}, {subject.name}"
    footer = heatmap.scale(600, "least", "most, in each channel")
    return contact_sheet.lay(cells, 1, title=title, footer=footer)


def _words(one: Channels) -> str:
    rows, columns, count = one.values.shape
    silent = f", {one.silent:,} of them silent" if one.silent else ""
    return f"{one.layer}: {console.counted(count, 'channel')} of {columns} x {rows}{silent}"


def _grid(values: Array) -> Image.Image:
    """Channels (height, width, n) as coloured tiles with a pixel between them."""
    low: Array = values.min(axis=(0, 1))
    span: Array = np.ptp(values, axis=(0, 1))
    tiles = np.asarray((values - low) / np.where(span > 0, span, 1))
    rows, columns, count = tiles.shape
    factor = min(LARGEST, max(SMALLEST, rows, columns)) / max(rows, columns)
    width, height = max(1, round(columns * factor)), max(1, round(rows * factor))
    across = min(count, WIDTH // (width + 1))
    down = -(-count // across)
    size = (across * (width + 1) - 1, down * (height + 1) - 1)
    contact_sheet.check_size(*size, count)
    canvas = Image.new("RGB", size, contact_sheet.PAPER)
    # Whole cells stay whole where a tile is enlarged: they are what the layer has.
    way = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    for number in range(count):
        tile = Image.fromarray(heatmap.colours(tiles[:, :, number]))
        place = (number % across * (width + 1), number // across * (height + 1))
        canvas.paste(tile.resize((width, height), way), place)
    return canvas


def text(found: Sequence[Channels], out: Path) -> str:
    """What is printed: a line for each layer, and where the sheet is."""
    rows = [
        (
            one.layer,
            " x ".join(map(str, one.values.shape)),
            one.silent,
            f"{one.values.mean():.4g}",
            f"{one.values.max():.4g}",
        )
        for one in found
    ]
    headers = ("layer", "height x width x channels", "silent", "mean", "greatest")
    return f"{console.table(headers, rows)}\n\n{out}"
