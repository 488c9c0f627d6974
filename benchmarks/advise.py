"""Is `tlcli advise` right? Its plan beside an exhaustive grid, on eight sets of photos.

    python benchmarks/advise.py --photos cats_dogs --weights FILE [--size 64] [--sets A,B]

The grid trains the head alone, and the head with a tuning stage above each of some boundaries; all
with the stages that `advise` writes, but for the epochs of tuning (`--epochs`). Its best plan is
chosen by validation accuracy (of equal ones the lower loss), and only then are test scores looked
at. The seconds of `advise` are those of its measurements, the seconds of the grid those of its
runs, each with a feature store of its own, in one process, on the same machine. They are seconds of
processor, which other work on the machine changes little.

A set is on the disk as soon as it is done (RESULTS/advise/SET.json), and is not measured again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from harness import RESULTS, line, machine, say, scratch
from PIL import Image

from tlcli.cli import main as tlcli
from tlcli.evaluation.intervals import wilson_interval

#: Photos of each class for validation and test at most, where a set has so many.
VAL, TEST = 40, 150

GRID = ("block4_pool", "block3_pool", "block2_pool", "block1_pool")

STAGE = "{{name: {name}, {frozen}epochs: {epochs}, learning_rate: {rate}, early_stopping: 8}}"


def cats_dogs(source: Path, folder: Path, counts: dict[str, int]) -> None:
    """The first photos of each class in the folders of the set."""
    for name, number in counts.items():
        for split, most in (("train", number), ("val", VAL), ("test", TEST)):
            for photo in sorted((source / split / name).iterdir())[:most]:
                target = folder / split / name / photo.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo, target)


def digits(folder: Path, number: int, *, coloured: bool = False) -> None:
    """Handwritten digits of scikit-learn, 8 x 8 enlarged to 64; each in two colours of its own."""
    from sklearn.datasets import load_digits

    data, random = load_digits(), np.random.default_rng(0)
    for digit in range(10):
        images = data.images[data.target == digit]
        parts = np.split(images, [number, number + 20, number + 60])
        for split, part in zip(("train", "val", "test"), parts, strict=False):
            for position, image in enumerate(part):
                ink = np.asarray(Image.fromarray(np.uint8(image * 255 / 16)).resize((64, 64), 3))
                share = ink[..., None] / 255
                colours = random.uniform(0, 255, (2, 3)) if coloured else np.array([[0], [255]])
                pixels = (1 - share) * colours[0] + share * colours[1]
                save(np.broadcast_to(pixels, (64, 64, 3)), folder, split, str(digit), position)


def textures(folder: Path, number: int) -> None:
    """Gratings: four classes of direction and width, with random phase, contrast and noise."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[:64, :64]
    classes = {"flat wide": (0.1, 8), "flat narrow": (0.1, 5), "steep wide": (1.2, 8),
               "steep narrow": (1.2, 5)}  # fmt: skip
    for name, (angle, width) in classes.items():
        for split, count in (("train", number), ("val", VAL // 2), ("test", TEST // 2)):
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


def sets(source: Path) -> dict[str, Callable[[Path], None]]:
    """The sets by name, each with what makes its folder; the largest last."""
    return {
        "digits 10": lambda folder: digits(folder, 10),
        "cats_dogs 20": lambda folder: cats_dogs(source, folder, {"cats": 20, "dogs": 20}),
        "textures 25": lambda folder: textures(folder, 25),
        "cats_dogs 100": lambda folder: cats_dogs(source, folder, {"cats": 100, "dogs": 100}),
        "cats 120 dogs 15": lambda folder: cats_dogs(source, folder, {"cats": 120, "dogs": 15}),
        "digits 10 coloured": lambda folder: digits(folder, 10, coloured=True),
        "digits 50": lambda folder: digits(folder, 50),
        "cats_dogs 700": lambda folder: cats_dogs(source, folder, {"cats": 700, "dogs": 700}),
    }


def command(*words: object) -> Any:
    """The JSON that a command of tlcli prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        tlcli(["--quiet", *map(str, words), "--json"], standalone_mode=False)
    return json.loads(out.getvalue())


def measure(arguments: argparse.Namespace, make: Callable[[Path], None]) -> dict[str, Any]:
    """Advice, its plan and the grid for one set."""
    with scratch() as folder:
        os.environ["TLCLI_RUNS"], os.environ["TLCLI_INSTANT"] = str(folder / "runs"), "0"
        make(folder / "photos")
        recipe = folder / "set.yaml"
        recipe.write_text(text(arguments, folder, []), encoding="utf-8")
        advised = folder / "advised.yaml"
        own, grid = folder / "own", folder / "grid"
        started = time.process_time()
        advice = command("advise", "--config", recipe, "--out", advised, "--cache-dir", own)
        seconds = time.process_time() - started
        head = enough(30, 300, folder)
        stages = [("head", "", head, "1.0e-3")]
        plans = {"head": train(arguments, folder, grid, "head", stages)}
        for boundary in GRID:
            frozen = f"freeze_until: {boundary}, "
            tuned = ("tuning", frozen, enough(arguments.epochs, 60, folder), "5.0e-5")
            plans[boundary] = train(arguments, folder, grid, boundary, [*stages, tuned])
        words = ["finetune", "--config", advised, "--out", folder / "runs" / "advised"]
        if advice["freeze_until"]:
            words += ["--set", f"stages.1.epochs={enough(arguments.epochs, 60, folder)}"]
        started = time.process_time()
        done = command(*words, "--cache-dir", own)
        return {
            "strategy": advice["strategy"], "freeze_until": advice["freeze_until"],
            "expected": advice["expected"], "reasons": advice["evidence"]["reasons"],
            "advise seconds": seconds, "spent": advice["spent"],
            "advised": {**score(done), "seconds": time.process_time() - started}, "grid": plans,
            "photos": len(list((folder / "photos/train").glob("*/*"))),
        }  # fmt: skip


def enough(epochs: int, steps: int, folder: Path) -> int:
    """The epochs that `advise` writes for so many photos."""
    from tlcli.search.tuning_trial import enough_epochs

    return enough_epochs(epochs, steps, len(list((folder / "photos/train").glob("*/*"))), 32)


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


def train(
    arguments: argparse.Namespace, folder: Path, cache: Path, name: str, stages: list[Any]
) -> dict[str, float]:
    """One plan of the grid."""
    recipe = folder / f"{name}.yaml"
    recipe.write_text(text(arguments, folder, stages), encoding="utf-8")
    started = time.process_time()
    done = command(
        "finetune", "--config", recipe, "--out", folder / "runs" / name, "--cache-dir", cache
    )
    return {**score(done), "seconds": time.process_time() - started}


def score(done: dict[str, Any]) -> dict[str, float]:
    last = done["stages"][-1]
    return {
        "val_accuracy": last["val_accuracy"], "val_loss": last["val_loss"],
        "test": done["test"]["accuracy"], "n": done["test"]["n"],
    }  # fmt: skip


def row(name: str, found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    grid = found["grid"]
    best = max(grid, key=lambda plan: (grid[plan]["val_accuracy"], -grid[plan]["val_loss"]))
    ours, theirs = found["advised"]["test"], grid[best]["test"]
    n = int(grid[best]["n"])
    low, high = wilson_interval(round(theirs * n), n)
    near = "yes" if ours >= theirs - 0.005 else "interval" if ours >= low else "no"
    total = sum(plan["seconds"] for plan in grid.values())
    plan = found["strategy"] + (f" ({found['freeze_until']})" if found["freeze_until"] else "")
    return [
        name, str(found["photos"]), plan, f"{ours:.3f}",
        f"{best} {theirs:.3f} ({low:.3f} to {high:.3f})", near,
        f"{found['advise seconds']:.0f} s, {total:.0f} s",
        f"{found['advise seconds'] / total:.2f}",
        ", ".join(f"{plan} {values['test']:.3f}" for plan, values in grid.items()),
    ]  # fmt: skip


def main() -> None:
    """Measure what is missing and write the table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--photos", type=Path, required=True, help="cats_dogs: train, val, test")
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--epochs", type=int, default=5, help="of tuning, at most [5]")
    options.add_argument("--sets", default="", help="names, separated by commas [all]")
    options.add_argument("--results", type=Path, default=RESULTS)
    arguments = options.parse_args()
    folder = arguments.results / "advise"
    folder.mkdir(parents=True, exist_ok=True)
    known = sets(arguments.photos)
    chosen = [name for name in arguments.sets.split(",") if name] or [*known]
    for name in chosen:
        path = folder / f"{name}.json"
        if not path.exists():
            say(f"{name} ...")
            found = measure(arguments, known[name])
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
            say(line(row(name, found)))
    headers = ["set", "photos", "advised", "test", "best of the grid by validation, test",
               "within 0.5", "advise, grid, CPU", "share", "test scores of the grid"]  # fmt: skip
    rows = [
        row(name, json.loads((folder / f"{name}.json").read_text("utf-8")))
        for name in known
        if (folder / f"{name}.json").exists()
    ]
    table = [line(headers), line(["---"] * len(headers)), *map(line, rows), "", str(machine())]
    (folder / "table.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
