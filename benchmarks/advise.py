"""Is `tlcli advise` right? Its plan beside an exhaustive grid, on sets of photos.

    python benchmarks/advise.py --photos cats_dogs --weights FILE [--size 64]
        [--sets "digits 10,cats_dogs 100"]

The grid trains the head alone, and the head with a tuning stage above the end of each block but
the first, and of everything; all with the stages that `advise` writes, but for the epochs of tuning
(`--epochs`). Its best plan is chosen by validation accuracy (of equal ones the lower loss), and
only then are test scores looked at. The seconds of `advise` are those of its measurements, with a
feature store of its own; the seconds of the grid are those of its runs, which share another store.
All are seconds of processor, in one process that has loaded TensorFlow before: other work on the
machine changes them little. An advised plan that is one of the grid is not trained again.

The sets are eight; with `--sets` any others of their kinds, of another number of photos.

Each plan is on the disk as soon as it is done (RESULTS/advise/SET-grid.json, SET-advice.json), and
is not measured again; a changed rule of `advise` needs the second of these files removed.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from harness import line, machine, say, scratch, set_parser
from PIL import Image

from tlcli.cli import main as tlcli
from tlcli.evaluation.intervals import wilson_interval
from tlcli.search.advised_recipe import HEAD_EPOCHS
from tlcli.search.tuning_trial import HEAD_STEPS, TUNING_STEPS, enough_epochs

#: Photos of each class for validation and test at most, where a set has so many.
VAL, TEST = 30, 150

#: Boundaries of the tuning stages of the grid, the lowest first, so that the rows of one give those
#: of the next. The first block, with 0.3 % of the parameters, is tuned where everything is.
GRID = ("pixels", "block2_pool", "block3_pool", "block4_pool")
PLANS = (*GRID, "head")

#: The sets by default, the largest last; the number is that of training photos of a class.
SETS = ("textures 25", "cats_dogs 20", "digits 10", "cats 120 dogs 15", "digits 10 coloured",
        "cats_dogs 100", "digits 50", "cats_dogs 700")  # fmt: skip

#: Sets of more photos are tuned for fewer epochs, so that the grid ends in an hour.
LARGE, FEWER_EPOCHS = 400, 2

STAGE = "{{name: {name}, {frozen}epochs: {epochs}, learning_rate: {rate}, early_stopping: 8}}"


def cats_dogs(source: Path, folder: Path, counts: dict[str, int], *, val: int = VAL) -> None:
    """The first photos of each class in the folders of the set."""
    for name, number in counts.items():
        for split, most in (("train", number), ("val", val), ("test", TEST)):
            for photo in sorted((source / split / name).iterdir())[:most]:
                target = folder / split / name / photo.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo, target)


def digits(folder: Path, number: int, *, coloured: bool = False, val: int = 10) -> None:
    """Handwritten digits of scikit-learn, 8 x 8 enlarged to 64; each in two colours of its own."""
    from sklearn.datasets import load_digits

    data, random = load_digits(), np.random.default_rng(0)
    for digit in range(10):
        # In their own order, those for the test would be of other writers than those for training.
        images = random.permutation(data.images[data.target == digit])
        parts = np.split(images, [number, number + val, number + val + 30])
        for split, part in zip(("train", "val", "test"), parts, strict=False):
            for position, image in enumerate(part):
                ink = np.asarray(Image.fromarray(np.uint8(image * 255 / 16)).resize((64, 64), 3))
                share = ink[..., None] / 255
                colours = random.uniform(0, 255, (2, 3)) if coloured else np.array([[0], [255]])
                pixels = (1 - share) * colours[0] + share * colours[1]
                save(np.broadcast_to(pixels, (64, 64, 3)), folder, split, str(digit), position)


def textures(folder: Path, number: int, *, val: int = VAL // 2) -> None:
    """Gratings: four classes of direction and width, with random phase, contrast and noise."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[:64, :64]
    classes = {"flat wide": (0.1, 8), "flat narrow": (0.1, 5), "steep wide": (1.2, 8),
               "steep narrow": (1.2, 5)}  # fmt: skip
    for name, (angle, width) in classes.items():
        for split, count in (("train", number), ("val", val), ("test", TEST // 2)):
            for position in range(count):
                turn = angle + random.normal(0, 0.15)
                wave = np.cos(turn) * across + np.sin(turn) * down
                period = width * random.uniform(0.8, 1.25)
                phase = random.uniform(0, 2 * np.pi)
                values = 128 + random.uniform(15, 60) * np.sin(2 * np.pi * wave / period + phase)
                noisy = values[..., None] + random.normal(0, 40, (64, 64, 3))
                save(noisy, folder, split, name, position)


def save(pixels: Any, folder: Path, split: str, name: str, position: int) -> None:
    path = folder / split / name / f"{position:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


#: What a set may be called, and what makes its folder from the numbers in its name.
KINDS: tuple[tuple[str, Callable[..., None]], ...] = (
    (r"textures (\d+)", lambda _, folder, n: textures(folder, n)),
    (r"digits (\d+)", lambda _, folder, n: digits(folder, n)),
    (r"digits (\d+) coloured", lambda _, folder, n: digits(folder, n, coloured=True)),
    (r"cats_dogs (\d+)", lambda src, folder, n: cats_dogs(src, folder, {"cats": n, "dogs": n})),
    (
        r"cats (\d+) dogs (\d+)",
        lambda src, folder, cats, dogs: cats_dogs(src, folder, {"cats": cats, "dogs": dogs}),
    ),
)


def make_set(name: str, source: Path, folder: Path) -> None:
    """Make the folder of a set; ends the program where it has no such name."""
    for pattern, make in KINDS:
        if match := re.fullmatch(pattern, name):
            make(source, folder, *map(int, match.groups()))
            return
    raise SystemExit(f"no set {name!r}: {', '.join(pattern for pattern, _ in KINDS)}")


def command(*words: object) -> Any:
    """The JSON that a command of tlcli prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        tlcli(["--quiet", *map(str, words), "--json"], standalone_mode=False)
    return json.loads(out.getvalue())


class Measured:
    """What is known of a set: a file that grows."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self.values: dict[str, Any] = {"settings": settings}
        if path.exists():
            self.values = json.loads(path.read_text(encoding="utf-8"))
            if self.values["settings"] != settings:
                raise SystemExit(f"{path}: measured with {self.values['settings']}; remove it")

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def keep(self, key: str, value: Any) -> None:
        """Write one more value."""
        self.values[key] = value
        self._path.write_text(json.dumps(self.values, indent=1), encoding="utf-8")


def measure(arguments: argparse.Namespace, name: str) -> None:
    """The grid and the advice for one set, less what is on the disk."""
    settings = {"size": arguments.size, "epochs": arguments.epochs}
    folder = arguments.results / "advise"
    grid = Measured(folder / f"{name}-grid.json", settings)
    advice = Measured(folder / f"{name}-advice.json", settings)
    with scratch() as place:
        os.environ["TLCLI_RUNS"], os.environ["TLCLI_INSTANT"] = str(place / "runs"), "0"
        make_set(name, arguments.photos, place / "photos")
        photos = len(list((place / "photos/train").glob("*/*")))
        if not arguments.advice_only:
            measure_grid(arguments, place, photos, grid)
        if not arguments.grid_only and "advised" not in advice:
            measure_advice(arguments, place, photos, advice, grid)


def tuning_epochs(arguments: argparse.Namespace, photos: int) -> int:
    """The epochs of tuning at most."""
    most = arguments.epochs if photos <= LARGE else min(FEWER_EPOCHS, arguments.epochs)
    return enough_epochs(most, TUNING_STEPS, photos, 32)


def measure_grid(arguments: argparse.Namespace, folder: Path, photos: int, grid: Measured) -> None:
    """Train the plans of the grid that are missing."""
    grid.keep("photos", photos)
    head = ("head", "", enough_epochs(HEAD_EPOCHS, HEAD_STEPS, photos, 32), "1.0e-3")
    for name in arguments.plans.split(","):
        if name in grid:
            continue
        tuned = ("tuning", f"freeze_until: {name}, ", tuning_epochs(arguments, photos), "5.0e-5")
        recipe = folder / f"{name}.yaml"
        stages = [head] if name == "head" else [head, tuned]
        recipe.write_text(text(arguments, folder, stages), encoding="utf-8")
        started = time.process_time()
        done = command(
            "finetune", "--config", recipe, "--out", folder / "runs" / name,
            "--cache-dir", folder / "grid",
        )  # fmt: skip
        grid.keep(name, {**score(done), "seconds": time.process_time() - started})
        say(f"  {name}: {grid.values[name]}")


def measure_advice(
    arguments: argparse.Namespace, folder: Path, photos: int, advice: Measured, grid: Measured
) -> None:
    """Ask for the advice, and train its plan unless it is one of the grid."""
    recipe, advised, own = folder / "set.yaml", folder / "advised.yaml", folder / "own"
    recipe.write_text(text(arguments, folder, []), encoding="utf-8")
    started = time.process_time()
    advice_json = command("advise", "--config", recipe, "--out", advised, "--cache-dir", own)
    advice.keep("seconds", time.process_time() - started)
    boundary = advice_json["freeze_until"]
    for key in ("strategy", "freeze_until", "expected", "spent"):
        advice.keep(key, advice_json[key])
    advice.keep("reasons", advice_json["evidence"]["reasons"])
    same = grid.values.get(boundary or "head")
    if same and "views: 0" in advice_json["recipe"]["text"]:
        advice.keep("advised", same)
        return
    words = ["finetune", "--config", advised, "--out", folder / "runs" / "advised"]
    if boundary:
        words += ["--set", f"stages.1.epochs={tuning_epochs(arguments, photos)}"]
    done = command(*words, "--cache-dir", own)
    advice.keep("advised", score(done))


def text(arguments: argparse.Namespace, folder: Path, stages: list[tuple[Any, ...]]) -> str:
    """A recipe for the photos in a folder."""
    lines = [
        "name: set",
        f"data: {{dir: {folder / 'photos'}, duplicates: allow}}",
        f"base: {{name: VGG16, weights: {arguments.weights}, image_size: {arguments.size}}}",
    ]
    if stages:
        lines.append("stages:")
    for name, frozen, epochs, rate in stages:
        lines.append("  - " + STAGE.format(name=name, frozen=frozen, epochs=epochs, rate=rate))
    return "\n".join([*lines, ""])


def score(done: dict[str, Any]) -> dict[str, float]:
    last = done["stages"][-1]
    return {
        "val_accuracy": last["val_accuracy"], "val_loss": last["val_loss"],
        "test": done["test"]["accuracy"], "n": done["test"]["n"],
    }  # fmt: skip


def row(name: str, grid: dict[str, Any], advice: dict[str, Any]) -> list[str]:
    """A line of the table.

    An advised plan is as good as the best one within half a point (`yes`), within the interval of
    the best one's accuracy (`interval`), or within that of their difference, taken as if other
    photos had judged each (`of the difference`), which is wider.
    """
    plans = {plan: grid[plan] for plan in PLANS if plan in grid}
    best = max(plans, key=lambda plan: (plans[plan]["val_accuracy"], -plans[plan]["val_loss"]))
    accuracy, best_accuracy = advice["advised"]["test"], plans[best]["test"]
    n = int(plans[best]["n"])
    low, high = wilson_interval(round(best_accuracy * n), n)
    apart = 1.96 * math.sqrt((accuracy * (1 - accuracy) + best_accuracy * (1 - best_accuracy)) / n)
    near = "no"
    if accuracy >= best_accuracy - 0.005:
        near = "yes"
    elif accuracy >= low:
        near = "interval"
    elif accuracy >= best_accuracy - apart:
        near = "of the difference"
    total = sum(plan["seconds"] for plan in plans.values())
    plan = advice["strategy"] + (f" ({advice['freeze_until']})" if advice["freeze_until"] else "")
    return [
        name, str(grid["photos"]), plan, f"{accuracy:.3f}",
        f"{best} {best_accuracy:.3f} ({low:.3f} to {high:.3f})", near,
        f"{advice['seconds']:.0f} s, {total:.0f} s", f"{advice['seconds'] / total:.2f}",
        ", ".join(f"{plan} {values['test']:.3f}" for plan, values in plans.items()),
    ]  # fmt: skip


def main() -> None:
    """Measure what is missing and write the table."""
    options = set_parser(__doc__)
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--epochs", type=int, default=15, help="of tuning, at most [15]")
    options.add_argument("--sets", default=",".join(SETS), help="names with commas [eight sets]")
    options.add_argument("--plans", default=",".join(PLANS), help="of the grid [all]")
    options.add_argument("--grid-only", action="store_true")
    options.add_argument("--advice-only", action="store_true")
    arguments = options.parse_args()
    folder = arguments.results / "advise"
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module("tensorflow")  # neither side is to pay for it
    names = arguments.sets.split(",")
    for name in names:
        say(f"{name} ...")
        measure(arguments, name)
    headers = ["set", "photos", "advised", "test", "best of the grid by validation, test",
               "as good", "advise, grid, CPU", "share",
               "test scores of the grid"]  # fmt: skip
    rows = []
    for name in names:
        parts = [folder / f"{name}-{part}.json" for part in ("grid", "advice")]
        if all(part.exists() for part in parts):
            grid, advice = (json.loads(part.read_text("utf-8")) for part in parts)
            if set(arguments.plans.split(",")) <= set(grid) and "advised" in advice:
                rows.append(row(name, grid, advice))
    table = [line(headers), line(["---"] * len(headers)), *map(line, rows), "", str(machine())]
    (folder / "table.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
