"""`tlcli predict` cold and per photo, against loading the model with plain Keras.

    python benchmarks/predict.py --photos FOLDER [--weights FILE] [--size 150] [--many 200]

A small run is trained first. Then by turns, each a process of its own: importing TensorFlow and
Keras and loading the run's model, also with tlcli's shorter import; `tlcli predict` of one photo;
of many; and plain Keras on the same many: `image_dataset_from_directory` and `Model.predict`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from harness import Bench, Measured, child, parser, scratch, some_photos, spread, tlcli

LOAD = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, tensorflow
model = keras.saving.load_model(sys.argv[1], compile=False)
"""
# Without scikit-learn and matplotlib, which Keras imports where they are installed.
SHORT = """
import sys
from tlcli.networks.framework import keras, tf
model = keras.saving.load_model(sys.argv[1], compile=False)
"""
MANY = """
photos = keras.utils.image_dataset_from_directory(
    sys.argv[2], labels=None, image_size=model.input_shape[1:3], shuffle=False, verbose=False
)
model.predict(photos, verbose=0)
"""


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--many", type=int, default=200)
    arguments = options.parse_args()
    settings = {"pixels": arguments.size, "many": arguments.many, "base": "VGG16"}
    bench = Bench.open("predict", settings, arguments)
    with scratch() as folder:
        model, many = prepared(arguments, folder)
        first = sorted(many.iterdir())[0]

        def timed(code: str, *words: Path) -> Measured:
            return {"s": child([sys.executable, "-c", code, model, *words]).seconds}

        def ours(photos: Path) -> Measured:
            return {"s": tlcli("predict", "--run", model, photos).seconds}

        sides = {
            "import and load": lambda: timed(LOAD),
            "import and load as tlcli does": lambda: timed(SHORT),
            "tlcli, one photo": lambda: ours(first),
            "tlcli, many": lambda: ours(many),
            "Keras, many": lambda: timed(LOAD + MANY, many),
        }
        bench.run(sides, arguments.rounds)
    loading = bench.median("import and load", "s")
    rows = []
    for side in sides:
        each = ""
        if side.endswith("many"):
            start = bench.median("tlcli, one photo", "s") if side.startswith("tlcli") else loading
            left = arguments.many - (1 if side.startswith("tlcli") else 0)
            each = f"{1000 * (bench.median(side, 's') - start) / left:.0f} ms"
        rows.append(
            [side, spread(bench.values(side, "s")), str(bench.ratio("s", side, "import and load")),
             str(bench.ratio("s", side, "import and load as tlcli does")), each]
        )  # fmt: skip
    headers = ["", "seconds", "over import and load", "over the shorter way", "per photo"]
    bench.report("Prediction", headers, rows)


def prepared(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """A model of tlcli, and a folder of many photos."""
    some_photos(arguments.photos, folder / "data", 32)
    weights = arguments.weights
    if weights != "random":
        weights = str(Path(weights).absolute())
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"data: {{dir: {folder / 'data'}}}\n"
        f"base: {{name: VGG16, weights: {weights}, image_size: {arguments.size}}}\n"
        "stages: [{name: head, epochs: 1}]\n",
        encoding="utf-8",
    )
    out = folder / "run"
    tlcli("finetune", "--config", recipe, "--out", out, "--cache-dir", folder / "cache")
    many = folder / "many"
    many.mkdir()
    for number, path in enumerate(sorted(arguments.photos.glob("*/*/*"))[: arguments.many]):
        shutil.copyfile(path, many / f"{number:05d}{path.suffix}")
    return out / "model.keras", many


if __name__ == "__main__":
    main()
