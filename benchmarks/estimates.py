"""How well `finetune --dry-run` predicts the seconds of a plan.

    python benchmarks/estimates.py --photos DATA [--train 160] [--epochs 3] [--rounds 3]
        [--bases VGG16 ResNet50] [--precisions float32 mixed_bfloat16]

By turns: the estimate, then the run, of several bases and sizes in both precisions, with random
weights and an empty store. The table has what came true over what was estimated, for extraction and
for each stage; 1 is a perfect estimate.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from harness import Bench, Measured, parser, scratch, some_photos, spread, tlcli
from versus_keras import recipe_text

#: Base, pixels, boundary of the fine-tuning stage.
PLANS = (
    ("VGG16", 64, "block4_pool"),
    ("VGG16", 150, "block4_pool"),
    ("ResNet50", 150, "conv4_block6_out"),
    ("InceptionV3", 150, "mixed7"),
    ("MobileNetV2", 224, "block_12_add"),
    ("EfficientNetB0", 224, "block5c_add"),
    ("MobileNetV3Small", 224, "expanded_conv_7_add"),
)
PRECISIONS = ("float32", "mixed_bfloat16")
ACTS = ("extract", "head", "tune")


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--train", type=int, default=160, help="training photos; 0: all [160]")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--bases", nargs="+", default=[name for name, _, _ in PLANS])
    options.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    arguments = options.parse_args()
    with scratch() as folder:
        counts = some_photos(arguments.photos, folder / "photos", arguments.train)
        settings = {"epochs": arguments.epochs, **counts, "views": 1}
        bench = Bench.open("estimates", settings, arguments)
        sides = {
            f"{base} at {size} px, {precision}": lambda plan=plan, precision=precision: measure(
                plan, precision, arguments, folder
            )
            for plan in PLANS
            for base, size, _ in [plan]
            for precision in arguments.precisions
            if base in arguments.bases
        }
        bench.run(sides, arguments.rounds)
    rows = []
    for side in sides:
        row = [side]
        for act in ACTS:
            pairs = zip(
                bench.values(side, act), bench.values(side, f"{act} estimated"), strict=True
            )
            row += [
                spread(bench.values(side, act), 1),
                spread([real / estimate for real, estimate in pairs]),
            ]
        rows.append(row)
    headers = [""]
    for act in ACTS:
        headers += [f"{act}, s", "over estimate"]
    bench.report("Seconds of plans against their estimates", headers, rows)


def measure(
    plan: tuple[str, int, str], precision: str, arguments: argparse.Namespace, folder: Path
) -> Measured:
    """One plan: what was estimated, and what it took."""
    base, size, boundary = plan
    recipe, cache, run = folder / "recipe.yaml", folder / "cache", folder / "run"
    for path in (cache, run):
        shutil.rmtree(path, ignore_errors=True)
    epochs = f"epochs: {arguments.epochs}"
    text = recipe_text(
        data=folder / "photos", base=base, weights="random", size=size, hidden=256, dropout=0.5,
        views=1, precision=precision, stages=f"  - {{name: head, {epochs}}}\n"
        f"  - {{name: tune, freeze_until: {boundary}, {epochs}, learning_rate: 1.0e-5}}",
    )  # fmt: skip
    recipe.write_text(text, encoding="utf-8")
    words = ("--config", recipe, "--cache-dir", cache)
    estimate = json.loads(tlcli("finetune", *words, "--dry-run", "--json").stdout)["estimate"]
    tlcli("finetune", *words, "--out", run)
    seconds = json.loads((run / "summary.json").read_text(encoding="utf-8"))["seconds"]
    seconds_of: Measured = {"extract": seconds["extract"], "extract estimated": estimate["extract"]}
    for stage in estimate["stages"]:
        name = stage["name"]
        seconds_of[name], seconds_of[f"{name} estimated"] = (
            seconds[f"stage {name}"],
            stage["seconds"],
        )
    return seconds_of


if __name__ == "__main__":
    main()
