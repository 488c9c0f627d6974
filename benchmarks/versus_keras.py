"""tlcli against what one would do instead: head and fine-tuning, and a second experiment.

    python benchmarks/versus_keras.py --photos DATA --weights FILE [--base VGG16] [--size 150]
        [--train 160] [--epochs 2] [--rounds 3] [--torch PYTHON] [--sides tlcli keras ...]

DATA has train, val and test folders of two classes. The sides, tlcli and those of `sides.py`, take
turns; each turn is a process of its own that trains a head for `--epochs` epochs, then fine-tunes
the last block for as many. tlcli starts with an empty feature store, then runs a second experiment
(another head) with the store as it is then. tlcli chooses its precision (`precision: auto`); sides
with `-32` or `-16` compute in float32 or bfloat16, the others in float32.

Training on everything for `--full` epochs takes hours, so by default `--train` photos (and val and
test in proportion) train for few epochs, and the table scales the seconds: time that depends on the
photos by their number, the later epochs by theirs, and the rest (start, compiling) as it is. What
is scaled is marked so. `--train 0` takes all photos, and `--epochs 30` makes the table plain
measurement. The accuracies are those of the epochs that were really run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from harness import (
    Bench,
    Measured,
    absolute_weights,
    child,
    parser,
    scratch,
    some_photos,
    spread,
    tlcli,
)
from sides import (
    BATCH_SIZE,
    BOUNDARIES,
    DROPOUT,
    HEAD_RATE,
    HIDDEN,
    ROTATION,
    SHIFT,
    TUNE_RATE,
    ZOOM,
)

SIDES = Path(__file__).with_name("sides.py")
NAMES = {
    "tlcli": "tlcli",
    "tlcli-32": "tlcli in float32",
    "keras": "(a) Keras' guide",
    "keras-16": "(a) in mixed_bfloat16",
    "plain": "(a) with jit_compile=False",
    "generator": "(b) ImageDataGenerator",
    "features": "(c) features by hand",
    "torch": "(d) PyTorch",
    "torch-16": "(d) with autocast to bfloat16",
}
#: What the end of a side's name says of its precision.
PRECISIONS = {"32": "float32", "16": "mixed_bfloat16"}
RECIPE = f"""
data: {{{{dir: {{data}}}}}}
base: {{{{name: {{base}}, weights: {{weights}}, image_size: {{size}}}}}}
precision: {{precision}}
head: {{{{hidden: [{{hidden}}], dropout: {{dropout}}}}}}
augment:
  views: {{views}}
  rotation_range: {ROTATION}
  width_shift_range: {SHIFT}
  height_shift_range: {SHIFT}
  zoom_range: {ZOOM}
  horizontal_flip: true
stages:
{{stages}}
batch_size: {BATCH_SIZE}
"""


def recipe_text(
    *, data: Path, base: str, weights: str, size: int, hidden: int | str, dropout: float,
    views: int, stages: str, precision: str = "auto",
) -> str:  # fmt: skip
    """The recipe of a turn of tlcli; `stages` are lines of its YAML."""
    return RECIPE.format(
        data=data, base=base, weights=weights, size=size, hidden=hidden, dropout=dropout,
        views=views, stages=stages, precision=precision,
    )  # fmt: skip


def main() -> None:
    """Measure, and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random", help="a file, or random [random]")
    options.add_argument("--base", choices=BOUNDARIES, default="VGG16")
    options.add_argument("--size", type=int, default=150)
    options.add_argument(
        "--views", type=int, default=3, help="augmented views that tlcli keeps [3]"
    )
    options.add_argument("--train", type=int, default=160, help="training photos; 0: all [160]")
    options.add_argument("--epochs", type=int, default=2, help="of each stage, really run [2]")
    options.add_argument("--full", type=int, default=30, help="epochs that are scaled to [30]")
    options.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torchvision")
    options.add_argument("--sides", nargs="+", choices=NAMES, help="some of them only")
    arguments = options.parse_args()
    arguments.weights = absolute_weights(arguments.weights)
    wanted = arguments.sides or list(NAMES)
    if not arguments.torch:
        wanted = [name for name in wanted if not name.startswith("torch")]
    elif arguments.base != "VGG16" and arguments.weights != "random":
        options.error(f"PyTorch's {arguments.base} has random weights: leave out --weights")
    train = len(list((arguments.photos / "train").glob("*/*")))
    with scratch() as folder:
        counts = some_photos(arguments.photos, folder / "photos", arguments.train)
        settings = {
            "base": arguments.base, "pixels": arguments.size, "views": arguments.views,
            "epochs": arguments.epochs, "scaled to": arguments.full, **counts, "of": train,
        }  # fmt: skip
        name = f"versus_keras-{arguments.base}-{arguments.size}"
        bench = Bench.open(name, settings, arguments)
        sides: dict[str, Callable[[], Measured]] = {}
        for side in wanted:
            if side.startswith("tlcli"):
                sides[side] = lambda side=side: ours(side, arguments, folder)
            else:
                sides[side] = lambda side=side: theirs(side, arguments, folder)
        bench.run(sides, arguments.rounds)
    table(bench, wanted, train / counts["train"])


def theirs(side: str, arguments: argparse.Namespace, folder: Path, *words: str) -> Measured:
    """One turn of an alternative."""
    side, _, bits = side.partition("-")
    python = arguments.torch if side == "torch" else sys.executable
    if side == "plain":
        side, words = "keras", ("--no-xla", *words)
    ran = child(
        [python, SIDES, side, folder / "photos", "--base", arguments.base,
         "--weights", arguments.weights, "--size", str(arguments.size),
         "--epochs", str(arguments.epochs), "--precision", PRECISIONS[bits or "32"], *words],
    )  # fmt: skip
    measured: Measured = json.loads(ran.stdout.strip().split("\n")[-1])
    return {**measured, "wall": ran.seconds, "peak MB": ran.peak / 1e6}


def ours(side: str, arguments: argparse.Namespace, folder: Path) -> Measured:
    """One turn of tlcli: from an empty store, then another head with the store warm."""
    recipe = folder / "recipe.yaml"
    rest = f"epochs: {arguments.epochs}"
    boundary = BOUNDARIES[arguments.base]
    _, _, bits = side.partition("-")
    text = recipe_text(
        data=folder / "photos", base=arguments.base, weights=arguments.weights,
        size=arguments.size, hidden=HIDDEN, dropout=DROPOUT, views=arguments.views,
        precision=PRECISIONS.get(bits, "auto"),
        stages=f"  - {{name: head, {rest}, learning_rate: {HEAD_RATE}}}\n"
        f"  - {{name: tune, freeze_until: {boundary}, {rest}, learning_rate: {TUNE_RATE}}}",
    )  # fmt: skip
    recipe.write_text(text, encoding="utf-8")
    runs, cache = folder / "runs", folder / "cache"
    for path in (runs, cache):
        shutil.rmtree(path, ignore_errors=True)
    first = finetune(recipe, cache, runs / "first")
    again = finetune(recipe, cache, runs / "second", "--set", "head.hidden=[128]")
    return {**first, **{f"second {name}": value for name, value in again.items()}}


def finetune(recipe: Path, cache: Path, run: Path, *words: str) -> Measured:
    """One `tlcli finetune`, and what its run directory says of it."""
    ran = tlcli("finetune", "--config", recipe, "--cache-dir", cache, "--out", run, *words)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    seconds = summary["seconds"]
    measured: Measured = {
        "extract": seconds["extract"], "wall": ran.seconds, "peak MB": ran.peak / 1e6,
    }  # fmt: skip
    stages = [stage["name"] for stage in summary["stages"]]
    measured |= {
        f"{stage['name']} accuracy": stage["test"]["accuracy"] for stage in summary["stages"]
    }
    for stage in stages:
        times = [epoch["seconds"] for epoch in epochs if epoch["stage"] == stage]
        later = sorted(times[1:] or times)[len(times[1:] or times) // 2]
        # Checkpoints, and building the step, which is counted with every epoch as they are.
        beside = (seconds[f"stage {stage}"] - sum(times)) / len(times)
        measured |= {
            f"{stage} first": times[0], f"{stage} epoch": later, f"{stage} beside": beside
        }  # fmt: skip
    # Import, planning, loading, testing, saving: what a process costs whatever it trains.
    trained = sum(seconds[f"stage {stage}"] for stage in stages)
    measured["setup"] = ran.seconds - seconds["extract"] - trained
    return measured


def table(bench: Bench, sides: list[str], scale: float) -> None:
    """Seconds of whole experiments, scaled, and how many times as fast tlcli is."""
    full = bench.settings["scaled to"]
    acts = ("head", "tune", "both", "again head", "again both")
    for done in bench.rounds:
        for turn in done.values():
            second = {key.removeprefix("second "): value for key, value in turn.items()
                      if key.startswith("second ")}  # fmt: skip
            turn |= scaled(turn, scale, full)
            # An alternative begins a second experiment as it began the first, save for features
            # kept by hand; whoever keeps them has to see that they still fit.
            later = scaled(second or {**turn, "extract": 0.0}, scale, full)
            turn |= {"again head": later["head"], "again both": later["both"]}
    rows = []
    for side in sides:
        row = [NAMES[side]]
        for act in acts:
            cell = f"{bench.median(side, act):,.0f} s"
            if side != "tlcli" and "tlcli" in sides:
                cell += f", x {bench.ratio(act, side, 'tlcli')}"
            row.append(cell)
        after = [spread(bench.values(side, f"{stage} accuracy"), 3) for stage in ("head", "tune")]
        rows.append([*row, *after])
    headers = ["", f"head, {full} epochs", f"tuning, {full} epochs", "both",
               "second experiment, head", "second experiment, both",
               "test accuracy after the head", "and after tuning"]  # fmt: skip
    photos, epochs = bench.settings["train"], bench.settings["epochs"]
    if scale > 1 or epochs < full:
        bench.notes.append(
            f"scaled: {photos} of {bench.settings['of']} training photos and {epochs} of {full} "
            "epochs were run; accuracies are of those"
        )
    bench.notes.append("x: how many times as long as tlcli, with the least and the most of a round")
    title = f"{bench.settings['base']} at {bench.settings['pixels']} px"
    bench.report(title, headers, rows)


def scaled(turn: Measured, scale: float, full: int) -> Measured:
    """Seconds of a whole head stage, of tuning after it, and of both from the start.

    The first epoch of a stage is a later one and what compiling costs, which does not grow; what an
    epoch costs beside its steps does not grow with the photos.
    """

    def stage(name: str) -> float:
        compiling = max(turn[f"{name} first"] - turn[f"{name} epoch"], 0.0)
        beside = full * turn.get(f"{name} beside", 0.0)
        return compiling + full * scale * turn[f"{name} epoch"] + beside

    once = scale * turn.get("extract", 0.0)
    head, tune = turn["setup"] + once + stage("head"), stage("tune")
    return {"head": head, "tune": tune, "both": head + tune}


if __name__ == "__main__":
    main()
