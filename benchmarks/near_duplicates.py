"""How long `check` looks for near-duplicates across splits, by how much the photos look alike.

    python benchmarks/near_duplicates.py [--number 100000] [--rounds 3]

Thumbnails are made up: one picture of low frequencies, as all X-rays of one kind share it, and
noise of so many times its strength; at 99 nothing is left of the picture. 70 % of them are in one
split and 15 % in another. Among the first are 500 copies of some of the second, each grey value
changed by up to 2.
"""

from __future__ import annotations

import time

import numpy as np
from harness import Bench, Measured, parser, spread

from tlcli.data import near_duplicates
from tlcli.data.near_duplicates import SIDE

NOISE = (99.0, 0.4, 0.3, 0.2, 0.1)
COPIES = 500


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--number", type=int, default=100_000, help="photos in all [100000]")
    arguments = options.parse_args()
    number = arguments.number
    bench = Bench.open("near_duplicates", {"photos": number, "copies": COPIES}, arguments)
    sides = {f"{noise:g}": lambda noise=noise: measure(number, noise) for noise in NOISE}
    bench.run(sides, arguments.rounds)
    headers = ["noise", "seconds", "copies found", "others found"]
    rows = [
        [side, spread(bench.values(side, "seconds"), 1),
         *(f"{bench.median(side, what):,.0f}" for what in ("copies", "others"))]
        for side in sides
    ]  # fmt: skip
    bench.report("Near-duplicates across splits", headers, rows)


def measure(number: int, noise: float) -> Measured:
    """Seconds of one search, and what it finds."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(8, 8))
    test, train = (made_up(int(part * number), shared, noise, rng) for part in (0.15, 0.7))
    which = rng.choice(len(test), COPIES, replace=False)
    changed = test[which].astype(int) + rng.integers(-2, 3, (COPIES, SIDE, SIDE))
    train[:COPIES] = changed.clip(0, 255)
    first, second = (
        near_duplicates.PreparedThumbnails(train),
        near_duplicates.PreparedThumbnails(test),
    )
    start = time.perf_counter()
    first_of_pairs = near_duplicates.find_pairs(first, second)[:, 0]
    seconds = time.perf_counter() - start
    copies = int((first_of_pairs < COPIES).sum())
    return {"seconds": seconds, "copies": copies, "others": len(first_of_pairs) - copies}


def made_up(number: int, shared: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Thumbnails, uint8 (number, 16, 16), of `shared` frequencies and so much noise."""
    waves = np.arange(SIDE)
    basis = np.cos(np.pi * waves[:, None] * (2 * waves + 1) / (2 * SIDE))[: len(shared)]
    frequencies = shared + noise * rng.normal(size=(number, *shared.shape))
    frequencies[:, 0, 0] = 0  # of the mean
    pictures = basis.T @ frequencies @ basis
    return (128 + pictures * (45 / pictures.std())).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
