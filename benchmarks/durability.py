"""What keeping the same bits costs: determinism, and a checkpoint after every epoch.

    python benchmarks/durability.py --photos DATA --weights FILE [--train 160] [--epochs 3]

By turns `finetune` with `deterministic: true` and `false` from one store; and, with the arrays of
VGG16's last block, the seconds of a checkpoint (written, flushed, read back) beside those of an
epoch on all photos.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
from harness import Bench, Measured, absolute_weights, parser, scratch, some_photos
from versus_keras import finetune, recipe_text

from tlcli.runs.checkpoints import Checkpoint, Checkpoints

#: Parameters of VGG16 above block4_pool with a head of 256 units; each is kept with two moments.
PARAMETERS = 7_211_009


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--train", type=int, default=160, help="training photos; 0: all [160]")
    options.add_argument("--epochs", type=int, default=3)
    arguments = options.parse_args()
    arguments.weights = absolute_weights(arguments.weights)
    whole = len(list((arguments.photos / "train").glob("*/*")))
    with scratch() as folder:
        counts = some_photos(arguments.photos, folder / "photos", arguments.train)
        stages = (
            f"  - {{name: head, epochs: {arguments.epochs}, learning_rate: 1.0e-3}}\n"
            f"  - {{name: tune, freeze_until: block4_pool, epochs: {arguments.epochs}, "
            "learning_rate: 1.0e-5}"
        )
        recipe = folder / "recipe.yaml"
        recipe.write_text(
            recipe_text(
                data=folder / "photos", base="VGG16", weights=arguments.weights, hidden="256",
                size=arguments.size, dropout=0.5, views=3, stages=stages,
            ),
            encoding="utf-8",
        )  # fmt: skip
        settings = {"pixels": arguments.size, "epochs": arguments.epochs, **counts, "of": whole}
        bench = Bench.open("durability", settings, arguments)

        def turn(deterministic: str) -> Measured:
            shutil.rmtree(folder / "run", ignore_errors=True)
            words = ("--set", f"deterministic={deterministic}")
            measured = finetune(recipe, folder / "cache", folder / "run", *words)
            return {**measured, "checkpoint": checkpoint(folder / "checkpoints")}

        turn("true")  # fills the store
        bench.run({"true": lambda: turn("true"), "false": lambda: turn("false")}, arguments.rounds)
    rows = [
        [
            f"deterministic: {side}",
            *(f"{bench.median(side, f'{stage} epoch'):.2f} s" for stage in ("head", "tune")),
            *(str(bench.ratio(f"{stage} epoch", side, "false")) for stage in ("head", "tune")),
        ]
        for side in ("true", "false")
    ]
    seconds, epoch = bench.median("true", "checkpoint"), bench.median("true", "tune epoch")
    share = seconds / (epoch * whole / counts["train"])
    bench.notes.append(
        f"a checkpoint of VGG16's last block takes {seconds:.2f} s, {share:.1%} of an epoch on "
        f"{whole:,} photos"
    )
    headers = ["", "head, an epoch", "block 5, an epoch", "head, x", "block 5, x"]
    bench.report("The cost of the same bits", headers, rows)


def checkpoint(folder: Path) -> float:
    """Seconds of one checkpoint with weights and two moments of every parameter."""
    arrays = {str(number): np.ones(PARAMETERS, np.float32) for number in range(3)}
    shutil.rmtree(folder, ignore_errors=True)
    kept = Checkpoints(folder)
    started = time.monotonic()
    kept.write(Checkpoint(1, {"best": 1}, arrays))
    return time.monotonic() - started


if __name__ == "__main__":
    main()
