"""Ten heads on one base: tlcli, whose features are kept, against Keras' guide, begun ten times.

    python benchmarks/heads.py --photos DATA --weights FILE [--train 160] [--epochs 3] [--full 30]

tlcli begins with an empty store; ten recipes differ in their heads. Of Keras' guide one head is
trained, and counted ten times. Photos and epochs are scaled as in `versus_keras.py`.
"""

from __future__ import annotations

import argparse
import shutil
from itertools import product
from pathlib import Path

from harness import Bench, Measured, absolute_weights, parser, scratch, some_photos
from versus_keras import finetune, recipe_text, theirs

HEADS = list(product(([], [64], [128], [256], [256, 64]), (0.0, 0.5)))


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--base", default="VGG16")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--train", type=int, default=160, help="training photos; 0: all [160]")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--full", type=int, default=30, help="epochs that are scaled to [30]")
    arguments = options.parse_args()
    arguments.torch = None
    arguments.weights = absolute_weights(arguments.weights)
    whole = len(list((arguments.photos / "train").glob("*/*")))
    with scratch() as folder:
        counts = some_photos(arguments.photos, folder / "photos", arguments.train)
        settings = {
            "base": arguments.base, "pixels": arguments.size, "epochs": arguments.epochs,
            "scaled to": arguments.full, **counts, "of": whole,
        }  # fmt: skip
        bench = Bench.open("heads", settings, arguments)
        sides = {
            "tlcli": lambda: ours(arguments, folder),
            "keras": lambda: theirs("keras", arguments, folder, "--head-only"),
        }
        bench.run(sides, arguments.rounds)
    scale = whole / counts["train"]
    for done in bench.rounds:
        for turn in done.values():
            heads = len(HEADS)
            compiling = max(turn["head first"] - turn["head epoch"], 0.0)
            epoch = scale * turn["head epoch"] + turn.get("head beside", 0.0)
            trained = compiling + arguments.full * epoch
            turn["ten"] = heads * (turn["setup"] + trained) + scale * turn.get("extract", 0.0)
    names = {"tlcli": "tlcli", "keras": "(a) Keras' guide"}
    rows = [
        [name, f"{bench.median(side, 'ten'):,.0f} s", str(bench.ratio("ten", side, "tlcli"))]
        for side, name in names.items()
    ]
    bench.notes.append("scaled to all photos and epochs, as in `versus_keras.py`")
    bench.report("Ten heads", ["", f"{len(HEADS)} heads, {arguments.full} epochs", "x"], rows)


def ours(arguments: argparse.Namespace, folder: Path) -> Measured:
    """Ten processes, the first of which fills the store; the medians of what a head takes."""
    for path in (folder / "runs", folder / "cache"):
        shutil.rmtree(path, ignore_errors=True)
    recipe = folder / "recipe.yaml"
    turns = []
    for number, (hidden, dropout) in enumerate(HEADS):
        text = recipe_text(
            data=folder / "photos", base=arguments.base, weights=arguments.weights,
            size=arguments.size, hidden=", ".join(map(str, hidden)), dropout=dropout, views=3,
            stages=f"  - {{name: head, epochs: {arguments.epochs}, learning_rate: 1.0e-3}}",
        )  # fmt: skip
        recipe.write_text(text, encoding="utf-8")
        turns.append(finetune(recipe, folder / "cache", folder / "runs" / str(number)))
    middle = {key: sorted(turn[key] for turn in turns)[len(turns) // 2] for key in turns[0]}
    return {**middle, "extract": sum(turn["extract"] for turn in turns)}


if __name__ == "__main__":
    main()
