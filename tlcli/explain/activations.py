"""`tlcli visualize activations`: the activations of chosen layers for a photo, as pictures."""

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

#: The side of one channel on a sheet, in pixels: a small one is enlarged by a whole number to about
#: `LEGIBLE`, and one over `LARGEST` is reduced.
LEGIBLE, LARGEST = 48, 96

#: Channels in a row, where they do not all fit into one: numbers that are easily counted on.
ROUND = (1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64)

#: Room for the numbers at the left, and their colour.
GUTTER, FAINT = 34, (105, 105, 115)

#: The width of the tiles of one layer, in pixels, at most.
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
        """How many channels have the same value everywhere, and so say nothing of the photo."""
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


def chosen_layers(network: ExplainedModel, names: Sequence[str]) -> list[str]:
    """The named layers, or for no name the last one at each size of the grid, bottom to top.

    Pooling layers, and those that only preprocess raw pixels for the base, are left out. Raises
    `UnknownName` for a layer that the network does not have, or that has no grid.
    """
    if names:
        return [network.grid(name).name for name in dict.fromkeys(names)]
    last: dict[tuple[int, int], str] = {}
    for name in network.row.layers:
        layer = network.grids.get(name)
        if layer is None or isinstance(layer, (*_POOLING, keras.layers.ZeroPadding2D)):
            continue
        if layer.output.shape[-1] > 3 and min(layer.output.shape[1:3]) > 1:
            last[layer.output.shape[1:3]] = name
    # Padding and unpadded convolutions change the size a little: such sizes are no level of their
    # own.
    return [name for size, name in last.items() if not any(_near(size, other) for other in last)]


def _near(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether `other` is a little smaller than `size`: both are one level of the network."""
    return other != size and all(0.7 * a < b <= a for a, b in zip(size, other, strict=True))


def photo_activations(
    network: ExplainedModel, photo: Path, layers: Sequence[str]
) -> list[Channels]:
    """The activations of those layers for one photo; raises `ImageError` if it is none."""
    settings = network.pixel_settings
    pixels = decode.load_image(
        photo,
        height=settings.height,
        width=settings.width,
        resize=settings.resize,
        depth=settings.depth,
    )
    outputs = [network.grid(name).output for name in layers]
    inner = keras.Model(network.model.inputs[0], outputs)
    result = inner(pixels.astype(np.float32)[None], training=False)
    values = result if isinstance(result, list | tuple) else [result]
    return [
        Channels(name, np.asarray(value, np.float32)[0])
        for name, value in zip(layers, values, strict=True)
    ]


def draw_channels(network: ExplainedModel, photo: Path, layers: Sequence[Channels]) -> Image.Image:
    """One sheet: a grid of all channels for each layer, in order, each on its own scale.

    Raises `TlcliError` where the channels are too many for one picture.
    """
    cells = [
        contact_sheet.SheetCell([_tiles(channels.values)], [_caption(channels)])
        for channels in layers
    ]
    title = f"{photo.name}, {network.title}"
    footer = heatmap.draw_scale(600, "least", "most, in each channel")
    return contact_sheet.lay_out_cells(cells, 1, title=title, footer=footer)


def _caption(channels: Channels) -> str:
    rows, columns, count = channels.values.shape
    silent = f", {channels.silent:,} of them silent" if channels.silent else ""
    return f"{channels.layer}: {console.counted(count, 'channel')} of {columns} x {rows}{silent}"


def _tiles(values: Array) -> Image.Image:
    """Channels (height, width, n) as coloured tiles with a pixel between them.

    At the left of each row stands the number of its first channel; channels count from 0.
    """
    low: Array = values.min(axis=(0, 1))
    span: Array = np.ptp(values, axis=(0, 1))
    tiles = np.asarray((values - low) / np.where(span > 0, span, 1))
    rows, columns, count = tiles.shape
    side = max(rows, columns)
    factor = LARGEST / side if side > LARGEST else max(1, round(LEGIBLE / side))
    width, height = max(1, round(columns * factor)), max(1, round(rows * factor))
    across = _in_a_row(count, WIDTH // (width + 1))
    down = -(-count // across)
    size = (GUTTER + across * (width + 1) - 1, down * (height + 1) - 1)
    contact_sheet.check_size(*size, count)
    canvas = Image.new("RGB", size, contact_sheet.PAPER)
    # Enlarged without smoothing, so that every cell of the layer's grid is seen as it is.
    resample = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    for number in range(count):
        tile = Image.fromarray(heatmap.heat_colours(tiles[:, :, number]))
        place = (GUTTER + number % across * (width + 1), number // across * (height + 1))
        if number % across == 0:
            contact_sheet.draw_text(
                canvas, (0, place[1]), str(number), width=GUTTER - 4, size=11, colour=FAINT
            )
        canvas.paste(tile.resize((width, height), resample), place)
    return canvas


def _in_a_row(count: int, most: int) -> int:
    """Tiles in a row: a round number, so that channels are easily counted."""
    if count <= most:
        return count
    return max(number for number in ROUND if number <= most)


def write_activations(
    network: ExplainedModel, photo: Path, names: Sequence[str], target: Path
) -> tuple[str, dict[str, Any]]:
    """Write the sheet of chosen layers for a photo to `target`.

    Args:
        network: what to look into.
        photo: the path of the photo.
        names: of layers; for none, those of `chosen_layers`.
        target: the PNG.

    Returns:
        What is printed: text, and the value for `--json`. Raises as `chosen_layers`,
        `photo_activations` and `draw_channels` do.
    """
    channels = photo_activations(network, photo, chosen_layers(network, names))
    contact_sheet.save_sheet(draw_channels(network, photo, channels), target)
    value = {"sheet": str(target), "layers": [layer.as_dict() for layer in channels]}
    return _text(channels, target), value


def _text(layers: Sequence[Channels], target: Path) -> str:
    """A line for each layer, and where the sheet is."""
    rows = [
        (
            channels.layer,
            " x ".join(map(str, channels.values.shape)),
            channels.silent,
            f"{channels.values.mean():.4g}",
            f"{channels.values.max():.4g}",
        )
        for channels in layers
    ]
    headers = ("layer", "height x width x channels", "silent", "mean", "greatest")
    return f"{console.table(headers, rows)}\n\n{target}"
