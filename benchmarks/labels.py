"""Does `tlcli audit labels` find wrong labels? Labels changed at random, on two sets of photos.

    python benchmarks/labels.py --photos cats_dogs --weights FILE [--seeds 5] [--cache DIR]

For each seed, 5% of the training labels are changed to another class, by a table beside the photos
(those for validation and test stay); and once none. Counted are the changed labels among the
suspects (recall), the suspects whose label was changed (precision; some suspects may have been
wrong before), the label errors that the audit estimates, and the seconds of the command in a
running process with all features stored. Sets: cats_dogs at 150 px, and the handwritten digits of
scikit-learn, enlarged to 64 px.

A seed of a set is on the disk as soon as it is done (RESULTS/labels.json) and not measured again.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from advise import command, save
from harness import line, machine, say, scratch, set_parser

from tlcli.system.files import write_table

#: The share of the training labels that is changed.
SHARE = 0.05

SPLITS = ("train", "val", "test")

#: A photo: path, label and split.
Row = tuple[Path, str, str]


def folder_rows(folder: Path) -> list[Row]:
    """The photos in folders of splits and classes, in order."""
    return [
        (path.absolute(), path.parent.name, split)
        for split in SPLITS
        for path in sorted((folder / split).glob("*/*"))
    ]


def write_digits(folder: Path) -> None:
    """All digits of scikit-learn: of each, 20 for validation, 30 for the test, the others train."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for digit in range(10):
        parts = np.split(data.images[data.target == digit], [20, 50])
        for split, images in zip(("val", "test", "train"), parts, strict=True):
            for position, image in enumerate(images):
                ink = Image.fromarray(np.uint8(image * 255 / 16)).resize((64, 64), 3)
                save(np.asarray(ink.convert("RGB")), folder, split, str(digit), position)


def change_labels(rows: list[Row], seed: int | None) -> tuple[list[Row], set[str]]:
    """The rows with some training labels changed, none without a seed; and the paths of those."""
    if seed is None:
        return rows, set()
    random = np.random.default_rng(seed)
    classes = sorted({label for _, label, _ in rows})
    trained = [number for number, row in enumerate(rows) if row[2] == "train"]
    chosen = random.choice(trained, round(SHARE * len(trained)), replace=False)
    changed = list(rows)
    for number in sorted(chosen.tolist()):
        path, label, split = rows[number]
        changed[number] = (path, str(random.choice([c for c in classes if c != label])), split)
    return changed, {str(rows[number][0]) for number in chosen}


def audit(
    rows: list[Row], seed: int | None, size: int, weights: str, cache: Path
) -> dict[str, Any]:
    """One audit of the photos with the labels of a seed."""
    given, changed = change_labels(rows, seed)
    with scratch() as folder:
        os.environ["TLCLI_RUNS"] = str(folder / "runs")
        table, recipe = folder / "labels.csv", folder / "set.yaml"
        write_table(table, ("path", "label", "split"), given)
        recipe.write_text(
            f"name: set\ndata: {{csv: {table.name}, duplicates: allow}}\n"
            f"base: {{name: VGG16, weights: {weights}, image_size: {size}}}\n",
            encoding="utf-8",
        )
        started = time.monotonic()
        result = command("audit", "labels", "--config", recipe, "--cache-dir", cache)
        seconds = time.monotonic() - started
    paths = [suspect["path"] for suspect in result["suspects"]]
    hits = len(changed.intersection(paths))
    own = {str(path): label for path, label, _ in rows}
    right = sum(
        suspect["suggested"] == own[suspect["path"]]
        for suspect in result["suspects"]
        if suspect["path"] in changed
    )
    return {
        "photos": result["photos"], "changed": len(changed), "suspects": len(paths), "hits": hits,
        "recall": hits / len(changed) if changed else None,
        "precision": hits / len(paths) if paths else None,
        "suggested right": right, "wrong": result["wrong"], "false_alarms": result["false_alarms"],
        "boundaries": result["boundaries"], "images": result["images"], "seconds": seconds,
        "first": [Path(path).name for path in paths[:20]],
    }  # fmt: skip


def table_row(name: str, which: str, results: list[dict[str, Any]]) -> str:
    """A line of the table: means over seeds, with the least and the most."""

    def spread(key: str, form: str) -> str:
        values = [entry[key] for entry in results if entry[key] is not None]
        if not values:
            return ""
        middle = f"{statistics.mean(values):{form}}"
        return middle + (
            f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
        )

    low = min(entry["wrong"]["low"] for entry in results)
    high = max(entry["wrong"]["high"] for entry in results)
    estimate = statistics.mean(entry["wrong"]["estimate"] for entry in results)
    cells = [
        name, which, f"{results[0]['photos']:,}", spread("recall", ".2f"),
        spread("precision", ".2f"), spread("suspects", ".0f"),
        f"{estimate:.0f} ({low} to {high})", spread("seconds", ".1f"),
    ]  # fmt: skip
    return line(cells)


def main() -> None:
    """Measure what is missing and write the table."""
    options = set_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--sets", default="cats_dogs,digits", help="names, separated by commas")
    options.add_argument("--cache", type=Path, help="a feature store to use [one for this run]")
    options.add_argument("--again", action="store_true", help="forget what is there")
    arguments = options.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / "labels.json"
    kept = json.loads(path.read_text()) if path.exists() and not arguments.again else {}
    with scratch() as folder:
        cache = arguments.cache or folder / "cache"
        write_digits(folder / "digits")
        sets = {"cats_dogs": (arguments.photos, 150), "digits": (folder / "digits", 64)}
        for name in arguments.sets.split(","):
            photos, size = sets[name]
            rows = folder_rows(photos)
            for seed in (None, *range(arguments.seeds)):
                key = f"{name} {'as they are' if seed is None else seed}"
                if key not in kept:
                    say(f"{key} ...")
                    result = audit(rows, seed, size, arguments.weights, cache)
                    if result["images"]:  # so that the seconds are those of a warm store
                        result = audit(rows, seed, size, arguments.weights, cache)
                    kept[key] = result
                    path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    lines = [
        machine(), "",
        line(["set", "labels", "photos", "recall", "precision", "suspects", "wrong, estimated",
              "seconds"]),
        line(["---"] * 8),
    ]  # fmt: skip
    for name in arguments.sets.split(","):
        seeds = [kept[key] for key in kept if key.startswith(f"{name} ") and key[-1].isdigit()]
        lines.append(table_row(name, "as they are", [kept[f"{name} as they are"]]))
        lines.append(table_row(name, f"{SHARE:.0%} changed, {len(seeds)} seeds", seeds))
    text = "\n".join(map(str, lines)) + "\n"
    (arguments.results / "labels.md").write_text(text, encoding="utf-8")
    say(text)


if __name__ == "__main__":
    main()
