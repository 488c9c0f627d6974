"""Peak memory against the number of photos: planning, checking, extracting, training.

    python benchmarks/memory.py [--photos 1000 10000 100000] [--base VGG16] [--rounds 1]
    python benchmarks/memory.py --photos 1000000 --acts plan check

Photos are generated: grey PNGs of 16 px, every one of its own noise, in 20 class folders. `tlcli
finetune --dry-run` indexes and plans them, `tlcli check` decodes them; `tlcli extract` runs a base
with random weights at 32 px over them and keeps the rows of its top; `tlcli finetune` trains a head
on those for one epoch. Each command is a process of its own, and its peak is what the system
counted (ru_maxrss); libraries are mapped files, which it counts too as long as it keeps them, so
what is no file's stands beside it. The base says how long it takes, and what memory begins with;
what grows is the same for all.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from harness import Bench, Measured, parser, scratch, tlcli

CLASSES, SIDE = 20, 16
ACTS = {
    "plan": ["finetune", "--dry-run"],
    "check": ["check"],
    "extract": ["extract"],
    "finetune": ["finetune"],
}
RECIPE = """
data: {{dir: {photos}}}
base: {{name: {base}, weights: random, image_size: 32}}
head: {{hidden: [16]}}
stages: [{{name: head, epochs: 1}}]
"""


def generate(folder: Path, count: int) -> None:
    """Write `count` different PNGs into class folders."""
    for label in range(CLASSES):
        (folder / f"class-{label:02d}").mkdir(parents=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        path = folder / f"class-{number % CLASSES:02d}" / f"{number:06d}.png"
        path.write_bytes(encode_png(rng.integers(0, 256, (SIDE, SIDE), np.uint8)))


def encode_png(pixels: np.ndarray) -> bytes:
    """A grey picture, uint8 (side, side), as the bytes of a PNG that compresses nothing."""
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each begins with its filter, which is none
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=1)
    options.add_argument("--photos", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options.add_argument("--base", default="VGG16", help="[VGG16]")
    options.add_argument("--acts", nargs="+", choices=ACTS, default=["plan", "extract", "finetune"])
    arguments = options.parse_args()
    settings = {"photos": arguments.photos, "base": arguments.base, "pixels": 32}
    settings["acts"] = arguments.acts
    bench = Bench.open("memory", settings, arguments)

    def measure(count: int) -> Measured:
        with scratch() as folder:
            generate(folder / "photos", count)
            recipe = folder / "recipe.yaml"
            text = RECIPE.format(photos=folder / "photos", base=arguments.base)
            recipe.write_text(text, encoding="utf-8")
            kept = {"TLCLI_CACHE": str(folder / "cache"), "TLCLI_RUNS": str(folder / "runs")}
            words = ("--config", recipe, "--quiet")
            measured: Measured = {}
            for name in arguments.acts:
                ran = tlcli(*ACTS[name], *words, **kept)
                measured[f"{name} MB"] = round(ran.peak / 1e6, 1)
                measured[f"{name} own MB"] = round(ran.own / 1e6, 1)
                measured[f"{name} s"] = round(ran.seconds, 1)
            return measured

    sides = {str(count): lambda count=count: measure(count) for count in arguments.photos}
    bench.run(sides, arguments.rounds)
    least = str(min(arguments.photos))
    rows = []
    for count in map(str, arguments.photos):
        row = [f"{int(count):,}"]
        for act in arguments.acts:
            row.append(f"{bench.median(count, f'{act} MB'):,.0f}")
            row.append(f"{bench.ratio(f'{act} MB', count, least).value:.2f}")
            row.append(f"{bench.median(count, f'{act} own MB'):,.0f}")
            row.append(f"{bench.median(count, f'{act} s'):,.0f}")
        rows.append(row)
    headers = ["photos"]
    for act in arguments.acts:
        headers += [f"{act}, MB", "ratio", "of it no file's", "s"]
    bench.report("Peak memory", headers, rows)


if __name__ == "__main__":
    main()
