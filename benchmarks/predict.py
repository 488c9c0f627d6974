"""`tlcli predict` cold and per photo, against loading the model with plain Keras.

    python benchmarks/predict.py --photos FOLDER [--base VGG16] [--weights FILE] [--size 150]
                                 [--many 200]

A small run is trained first. Then by turns, each a process of its own: importing TensorFlow and
Keras and loading the run's model, also with tlcli's shorter import; `tlcli predict` of one photo
and of many, with either engine; and plain Keras on the same many: `image_dataset_from_directory`
and `Model.predict`. At the end, how far the two engines are apart on the many.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness import Bench, Measured, Ran, child, parser, scratch, small_run, spread, tlcli

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
    options.add_argument("--base", default="VGG16")
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--many", type=int, default=200)
    arguments = options.parse_args()
    settings = {"pixels": arguments.size, "many": arguments.many, "base": arguments.base}
    bench = Bench.open("predict", settings, arguments)
    with scratch() as folder:
        run, many = small_run(arguments, folder, arguments.base)
        model = run / "model.keras"
        first = sorted(many.iterdir())[0]

        def timed(code: str, *words: Path) -> Measured:
            return measured(child([sys.executable, "-c", code, model, *words]))

        def ours(photos: Path, engine: str) -> Measured:
            return measured(tlcli("predict", "--run", model, "--engine", engine, photos))

        sides = {
            "import and load": lambda: timed(LOAD),
            "import and load as tlcli does": lambda: timed(SHORT),
            "tlcli, one photo": lambda: ours(first, "instant"),
            "tlcli, many": lambda: ours(many, "instant"),
            "tlcli with Keras, one photo": lambda: ours(first, "keras"),
            "tlcli with Keras, many": lambda: ours(many, "keras"),
            "Keras, many": lambda: timed(LOAD + MANY, many),
        }
        bench.run(sides, arguments.rounds)
        changed, largest = difference(model, many)
    loading = bench.median("import and load", "s")
    rows = []
    for side in sides:
        each = ""
        if side.endswith("many"):
            single = side.replace("many", "one photo")
            start = bench.median(single, "s") if side.startswith("tlcli") else loading
            left = arguments.many - (1 if side.startswith("tlcli") else 0)
            each = f"{1000 * (bench.median(side, 's') - start) / left:.0f} ms"
        rows.append(
            [side, spread(bench.values(side, "s")), str(bench.ratio("s", side, "import and load")),
             str(bench.ratio("s", side, "import and load as tlcli does")), each,
             f"{bench.median(side, 'MB'):.0f}"]
        )  # fmt: skip
    headers = ["", "seconds", "over import and load", "over the shorter way", "per photo", "MB"]
    apart = f"{changed} labels differ, probabilities by up to {largest:.2g}"
    bench.notes.append(f"both engines on {arguments.many} photos: {apart}")
    bench.report("Prediction", headers, rows)


def measured(ran: Ran) -> Measured:
    """The time of a process, and the most memory that it had."""
    return {"s": ran.seconds, "MB": ran.peak / 1e6}


def difference(model: Path, photos: Path) -> tuple[int, float]:
    """On how many photos the engines give other labels, and how far probabilities are apart."""
    answers = []
    for engine in ("instant", "keras"):
        words = ["--run", model, "--engine", engine, "--format", "jsonl", photos]
        lines = tlcli("predict", *words).stdout.splitlines()
        answers.append([json.loads(line) for line in lines])
    pairs = list(zip(*answers, strict=True))
    changed = sum(first["label"] != second["label"] for first, second in pairs)
    return changed, max(
        abs(first["probability"] - second["probability"]) for first, second in pairs
    )


if __name__ == "__main__":
    main()
