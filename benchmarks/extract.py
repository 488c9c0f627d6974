"""`extract` on JPEG files against the bare forward pass on tensors in memory, side by side.

    python benchmarks/extract.py --photos PHOTOS [--weights FILE] [--images 320] [--size 150]

Both run VGG16 up to its top with the same batch size in one process, by turns, after a warm-up.
`extract` reads, decodes and resizes every file, runs the network and commits rows of two boundaries
to an empty store.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, Measured, absolute_weights, parser, scratch, spread

from tlcli.data.folders import list_tree
from tlcli.data.hashing import hash_file
from tlcli.features import addresses, extraction
from tlcli.features.store import TrunkRows
from tlcli.images import decode
from tlcli.images.loader import View
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network, compile_forward, forward_batch
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weights import find_weights, load_weights
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe

BOUNDARIES = ("block4_pool", "block5_pool")


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--images", type=int, default=320)
    options.add_argument("--size", type=int, default=150)
    arguments = options.parse_args()
    with scratch() as folder:
        settings = {"base": "VGG16", "pixels": arguments.size, "photos": arguments.images}
        bench = Bench.open("extract", settings, arguments)
        bench.run(sides(arguments, folder), arguments.rounds)
    rows = [[side, spread(bench.values(side, "images/s"), 1)] for side in ("bare", "extract")]
    rows[1].append(str(bench.ratio("images/s", "extract", "bare")))
    bench.report("Extraction", ["", "images/s", "of the bare pass"], [[*rows[0], ""], rows[1]])


def sides(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both ways, warm: each is a function that measures one turn."""
    recipe = _recipe(arguments, folder)
    paths = list_tree(arguments.photos).photos[: arguments.images]
    views = [View(str(path), hash_file(path)) for path in paths]
    row = BASES[recipe.base.name]
    network = build_network(row, recipe.base.image_size, recipe.head, 2, seed=0)
    load_weights(
        network.base,
        network.row,
        find_weights(
            network.row,
            recipe.base.weights,
            recipe.where("base", "weights"),
            WeightsAccess.from_options(),
        ),
    )
    pixels = _pixels(recipe, paths)
    size = forward_batch()
    forward = compile_forward(network.trunk(list(BOUNDARIES)), size)

    def measured(work: Any) -> Measured:
        started = time.perf_counter()
        work()
        return {"images/s": len(views) / (time.perf_counter() - started)}

    def bare() -> None:
        for start in range(0, len(pixels), size):
            forward(pixels[start : start + size])

    def extract() -> None:
        store = folder / f"store-{time.monotonic_ns()}"
        _run_extract(network, recipe, views, store)

    forward(pixels[:size])
    _run_extract(network, recipe, views[:size], folder / "warm-up")
    return {"bare": lambda: measured(bare), "extract": lambda: measured(extract)}


def _recipe(arguments: argparse.Namespace, folder: Path) -> Recipe:
    path = folder / "bench.yaml"
    text = f"data: {{dir: .}}\nbase: {{name: VGG16, image_size: {arguments.size}}}\n"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, [f"base.weights={absolute_weights(arguments.weights)}"])


def _pixels(recipe: Recipe, paths: list[Path]) -> Any:
    height, width = recipe.base.image_size
    loaded = [
        decode.load_image(path, height=height, width=width, resize="squash") for path in paths
    ]
    return np.stack(loaded).astype(np.float32)


def _run_extract(network: Any, recipe: Recipe, views: list[View], folder: Path) -> None:
    folder.mkdir()
    rows = {
        name: TrunkRows(folder, addresses.trunk_address(network.row, recipe, name, checksum))
        for name, checksum in network.checksums(BOUNDARIES).items()
    }
    extraction.extract(network, recipe, views, rows)
    for opened in rows.values():
        opened.close()


if __name__ == "__main__":
    main()
