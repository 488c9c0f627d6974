"""What the feature store takes and moves: bytes on the disk, written and read, per row.

    python benchmarks/store_bytes.py --photos DATA [--train 64] [--size 150]

`tlcli extract` fills an empty store with rows of VGG16's `block4_pool` and `block5_pool`, in
float32 and float16. On the disk are blocks as the system counts them, index and all; written is
what the process handed to the disk (as `getrusage` counts it), journals included; an epoch reads
each row that it trains on once.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path

from harness import Bench, Measured, parser, scratch, some_photos, tlcli

from tlcli.networks.bases import BASES

BOUNDARIES = ("block4_pool", "block5_pool")
NUMBERS = {"float32": 4, "float16": 2}


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=1)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--train", type=int, default=64, help="training photos; 0: all [64]")
    options.add_argument("--size", type=int, default=150)
    arguments = options.parse_args()
    with scratch() as folder:
        counts = some_photos(arguments.photos, folder / "photos", arguments.train)
        settings = {"base": "VGG16", "pixels": arguments.size, "photos": sum(counts.values())}
        bench = Bench.open("store_bytes", settings, arguments)
        sides = {
            f"{boundary}, {dtype}": lambda b=boundary, d=dtype: measure(b, d, arguments, folder)
            for boundary in BOUNDARIES
            for dtype in NUMBERS
        }
        bench.run(sides, arguments.rounds)
    rows = []
    for side in sides:
        boundary, dtype = side.split(", ")
        shape = BASES["VGG16"].boundary(boundary).shape(arguments.size, arguments.size)
        row = math.prod(shape) * NUMBERS[dtype]
        values = [f"{value:,.0f}" for value in
                (row, bench.median(side, "disk"), bench.median(side, "written"))]  # fmt: skip
        rows.append([side, " x ".join(map(str, shape)), *values])
    headers = ["", "activations", "bytes of a row, read in an epoch", "on the disk per row",
               "written per row"]  # fmt: skip
    bench.report("The feature store in bytes", headers, rows)


def measure(boundary: str, dtype: str, arguments: argparse.Namespace, folder: Path) -> Measured:
    """Fill an empty store with the rows of one boundary."""
    recipe, cache = folder / "recipe.yaml", folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    recipe.write_text(
        f"data: {{dir: {folder / 'photos'}}}\n"
        f"base: {{name: VGG16, weights: random, image_size: {arguments.size}}}\n"
        f"features: {{dtype: {dtype}}}\n",
        encoding="utf-8",
    )
    words = ("--config", recipe, "--cache-dir", cache, "--boundary", boundary, "--json")
    ran = tlcli("extract", *words)
    rows = json.loads(ran.stdout)["computed"][boundary]
    files = [path for path in (cache / "features").rglob("*") if path.is_file()]
    used = sum(path.stat().st_blocks * 512 for path in files)
    return {"disk": used / rows, "written": ran.written / rows}


if __name__ == "__main__":
    main()
