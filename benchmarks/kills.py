"""Kills with no warning: a worker of Ray, a node of Ray, the command itself, and `cache merge`.

    python benchmarks/kills.py [--rounds 10] [--kinds worker node command merge] [--by rows|time]
        [--photos PHOTOS --weights FILE]

An extraction with the first blocks of VGG16 is killed once in each round, later in one round than
in another. Rounds divide the rows that are stored by then, or with `--by time` the seconds that it
takes undisturbed, most of which are amid no rows. What is killed is a worker on a cluster of this
machine alone; all processes of one of two nodes; and the command, which is given again, as is
`cache merge`. Afterwards every row must be there once, with the bits of one process.

A kill is `amid` the rows where some are stored, and not all; else it is no moment of rows, and
another one is tried. `stored` are the rows at the time of the kill, `repeated` the batches that a
warning names. Without `--photos` small ones are painted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from harness import Bench, Measured, absolute_weights, parser, say, scratch, some_photos
from killed_commands import KINDS, KilledCommands
from moments import row_moment, time_moment
from PIL import Image

RECIPE = """
data: {{dir: photos}}
base: {{name: VGG16, weights: '{weights}', image_size: {size}}}
precision: float32
augment: {{views: {views}, rotation_range: 20}}
stages: [{{name: top, freeze_until: {boundary}}}]
"""

#: Kills of one moment of which none was amid the rows, until the round says so.
MOST_TRIES = 3


def main() -> None:
    """Kill and write the table; ends with 1 where a row is lost or has other bits."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--by", choices=("rows", "time"), default="rows")
    options.add_argument("--photos", type=Path, help="folder of train, val and test; else painted")
    options.add_argument("--weights", default="random")
    options.add_argument("--train", type=int, default=100, help="training photos [100]")
    options.add_argument("--views", type=int, default=11)
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--boundary", default="block2_pool", help="where rows are [block2_pool]")
    arguments = options.parse_args()
    names = ("by", "train", "views", "size", "boundary")
    settings = {name: getattr(arguments, name) for name in names}
    settings |= {"moments": arguments.rounds, "painted": arguments.photos is None}
    with scratch() as folder:
        write_recipe(folder, arguments)
        bench = Bench.open("kills", settings, arguments)
        commands = KilledCommands(folder)
        bench.run(sides(bench, commands, arguments), arguments.rounds)
        commands.end_orphans()
    report(bench)
    if any(not done["same"] for turn in bench.rounds for done in turn.values()):
        raise SystemExit("some rows were lost or changed")
    if not all(done["hit"] for turn in bench.rounds for done in turn.values()):
        raise SystemExit("some kills met nothing that lived")


def write_recipe(folder: Path, arguments: argparse.Namespace) -> None:
    """The photos and the recipe of all extractions."""
    if arguments.photos is None:
        paint(folder / "photos", arguments.train)
    else:
        some_photos(arguments.photos, folder / "photos", arguments.train)
    weights = absolute_weights(arguments.weights)
    text = RECIPE.format(**{**vars(arguments), "weights": weights})
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def report(bench: Bench) -> None:
    """The table of all kinds that were killed."""
    rows = []
    for kind in KINDS:
        if not (killed := bench.values(kind, "killed")):
            continue
        stored, seconds = bench.values(kind, "stored"), bench.values(kind, "seconds")
        shares = [sum(bench.values(kind, name)) for name in ("same", "amid")]
        rows.append(
            [
                kind,
                *(f"{share:.0f} of {len(killed)}" for share in shares),
                ", ".join(f"{number:,.0f}" for number in sorted(stored)),
                f"{min(bench.values(kind, 'rows')):,.0f}",
                f"{max(bench.values(kind, 'repeated')):.0f}",
                f"{min(killed):.1f} to {max(killed):.1f}",
                f"{min(seconds):.0f} to {max(seconds):.0f}",
            ]
        )
    headers = ["killed", "all rows, same bits", "amid the rows", "rows stored then", "rows at last"]
    bench.report("Kills", [*headers, "most batches repeated", "after, s", "in all, s"], rows)


def sides(
    bench: Bench, commands: KilledCommands, arguments: argparse.Namespace
) -> dict[str, Callable[[], Measured]]:
    """What is killed, each a function that kills it once, later in every round."""
    undisturbed: dict[str, float] = {}

    def at_rows(kind: str) -> Measured:
        number = len(bench.values(kind, "killed"))
        moment = row_moment(number, arguments.rounds, len(commands.truth))
        return try_until("amid", kind, lambda: commands.kill(kind, moment))

    def at_time(kind: str) -> Measured:
        if kind not in undisturbed:
            undisturbed[kind] = commands.undisturbed(kind)
        number = len(bench.values(kind, "killed"))
        moment = time_moment(number, arguments.rounds, undisturbed[kind])
        return try_until("hit", kind, lambda: commands.kill(kind, moment))

    side = {"rows": at_rows, "time": at_time}[arguments.by]
    return {kind: partial(side, kind) for kind in arguments.kinds}


def try_until(wanted: str, kind: str, kill: Callable[[], Measured]) -> Measured:
    """The first of a few kills that is what is wanted, or that loses rows; else the last one."""
    for number in range(1, MOST_TRIES + 1):
        done = kill()
        say(
            f"{kind}: killed with {done['stored']:,.0f} rows stored; {done['rows']:,.0f} at last, "
            f"{done['identical']:,.0f} with the bits of one process; "
            f"batches repeated: {done['repeated']:.0f}"
        )
        if done[wanted] or not done["same"]:
            break
        what = "not amid the rows" if done["hit"] else "nothing lived that could be killed"
        say(f"{kind}: {what}, does not count (try {number} of {MOST_TRIES})")
    return done


def paint(folder: Path, photos: int) -> None:
    """Photos of two classes, all of them different, all for training but a few."""
    generator = np.random.default_rng(0)
    for number in range(photos):
        split = "train" if number >= 8 else ("val", "test")[number % 2]
        place = folder / split / ("even", "odd")[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:04d}.png")


if __name__ == "__main__":
    main()
