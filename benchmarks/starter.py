"""Is the recipe that `tlcli init` writes right? Its runs beside a linear probe on its features.

    python benchmarks/starter.py --photos cats_dogs --weights FILE [--variants init,crop]

The sets of photos are those of `defaults.py`. A seed draws the training and validation photos, the
weights of the head, its dropout and its order; the test photos are the same. `init` is the recipe
as it is written, trained by `tlcli.finetune` from its first stage to its last, but for the size of
the base's input, the views of digits, which are not mirrored (as its comment says), and the epochs
of tuning (`--tuning`). A variant changes some settings. The linear probe is the README's: logistic
regression on the standardised features of the training photos, without augmented views.

Each run is on the disk as soon as it is done (RESULTS/starter/SET-VARIANT-SEED.json) and is not
trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from defaults import PhotoSet, drawn, interval, linear_probe, photo_sets
from harness import line, machine, say, scratch, set_parser

#: Variants of the recipe, by name; what they leave out is as `init` writes it.
VARIANTS: dict[str, dict[str, Any]] = {
    "init": {},
    "30 epochs": {"stages.0.epochs": 30, "stages.0.early_stopping": 8},
    "crop": {"base.resize": "crop"},
    "no views": {"augment.views": 0},
    "tuning 1e-4": {"stages.1.learning_rate": 1e-4},
}


def main() -> None:
    """Measure what is missing and write the table."""
    options = set_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--sets", default="", help="names, separated by commas [all]")
    options.add_argument("--variants", default="init", help=f"of {', '.join(VARIANTS)} [init]")
    options.add_argument("--tuning", type=int, default=30, help="epochs of tuning; 0: none [30]")
    options.add_argument("--size", type=int, help="pixels of the input [that of the set]")
    options.add_argument("--cache-dir", type=Path, help="a feature store to keep")
    arguments = options.parse_args()
    folder = arguments.results / "starter"
    folder.mkdir(parents=True, exist_ok=True)
    known = photo_sets(arguments.photos)
    names = [name for name in arguments.sets.split(",") if name] or [*known]
    for name in names:
        for seed in range(arguments.seeds):
            for variant in arguments.variants.split(","):
                path = folder / f"{name}-{variant}-{seed}.json"
                if not path.exists():
                    accuracies = measure(known[name], name, variant, seed, arguments)
                    path.write_text(json.dumps(accuracies, indent=1), encoding="utf-8")
                    say(f"{path.stem}: {accuracies}")
    lines = [*table(folder, names), "", str(machine())]
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def measure(
    photos: PhotoSet, name: str, variant: str, seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """The test accuracies of a seed: of the probe, after the head, and after tuning."""
    import tlcli
    from tlcli.data.starter_recipe import write_starter

    with scratch() as folder:
        draw(photos, seed, folder)
        recipe = folder / "starter.yaml"
        write_starter(folder / "photos", out=recipe)
        settings: dict[str, Any] = {
            "seed": seed, "data.duplicates": "allow",
            "base.image_size": arguments.size or photos.size, "base.weights": arguments.weights,
            "augment.horizontal_flip": not name.startswith("digits"), **VARIANTS[variant],
        }  # fmt: skip
        loaded = tlcli.load_recipe(recipe, settings)
        if arguments.tuning:
            loaded = tlcli.load_recipe(loaded, {"stages.1.epochs": arguments.tuning})
        else:
            loaded = tlcli.load_recipe(loaded, {"stages": loaded.resolved()["stages"][:1]})
        cache = arguments.cache_dir or folder / "cache"
        begun = time.process_time()
        done = tlcli.finetune(
            loaded, out=folder / "run", instant=False, cache_dir=cache, offline=True
        )
        seconds = time.process_time() - begun
        features = tlcli.extract_features(
            loaded, boundary="block5_pool", cache_dir=cache, offline=True
        )
        stages = done.summary.stages
        return {
            "probe": linear_probe(*features.of("train"), *features.of("test")),
            **{stage.name: stage.test.accuracy for stage in stages if stage.test},
            **{f"{stage.name} epochs": stage.epochs for stage in stages},
            "seconds": seconds,
        }


def draw(photos: PhotoSet, seed: int, folder: Path) -> None:
    """Write the photos of a seed into `photos/train`, `photos/val` and `photos/test`."""
    photos.make(folder / "pool")
    pool = sorted((folder / "pool" / "train").glob("*/*"))
    labels = np.array([path.parent.name for path in pool])
    for split, positions in zip(("train", "val"), drawn(labels, photos, seed), strict=True):
        for position in positions:
            path = pool[position]
            target = folder / "photos" / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (folder / "pool" / "test").rename(folder / "photos" / "test")


def table(folder: Path, names: list[str]) -> Iterator[str]:
    """A line for each set and variant, and one for each variant over all sets.

    Differences are paired over seeds, in percentage points, with the 95% interval of Student's t.
    """
    yield line(["set", "variant", "seeds", "linear probe", "after the head",
                "beside the probe (95%)", "after tuning", "beside the probe (95%)",
                "beside `init` (95%)"])  # fmt: skip
    yield line(["---"] * 9)
    for variant in VARIANTS:
        by_set = {name: runs_of(folder, name, variant) for name in names}
        by_set = {name: runs for name, runs in by_set.items() if runs}
        for name, runs in by_set.items():
            yield row(name, variant, [(run, runs_of(folder, name, "init").get(seed))
                                      for seed, run in runs.items()])  # fmt: skip
        if len(by_set) > 1:
            pairs = [(run, runs_of(folder, name, "init").get(seed))
                     for name, runs in by_set.items() for seed, run in runs.items()]  # fmt: skip
            yield row("all", variant, pairs)


def runs_of(folder: Path, name: str, variant: str) -> dict[int, dict[str, float]]:
    """What was measured of a set and a variant, by seed."""
    paths = sorted(folder.glob(f"{name}-{variant}-[0-9]*.json"))
    return {int(path.stem.rpartition("-")[2]): json.loads(path.read_text("utf-8"))
            for path in paths}  # fmt: skip


def row(
    name: str, variant: str, pairs: list[tuple[Mapping[str, float], Mapping[str, float] | None]]
) -> str:
    """A line of the table from the runs of a variant, each with that of `init` and the seed."""
    runs = [run for run, _ in pairs]
    tuned = all("fine-tune" in run for run in runs)
    last = "fine-tune" if tuned else "head"
    compared = [100 * (run[last] - init[last]) for run, init in pairs if init and last in init]
    return line([
        name, variant, str(len(runs)), mean(runs, "probe"), mean(runs, "head"),
        shown([100 * (run["head"] - run["probe"]) for run in runs]),
        mean(runs, "fine-tune") if tuned else "",
        shown([100 * (run["fine-tune"] - run["probe"]) for run in runs]) if tuned else "",
        shown(compared) if variant != "init" else "",
    ])  # fmt: skip


def mean(runs: list[Mapping[str, float]], key: str) -> str:
    """Over the seeds."""
    return f"{np.mean([run[key] for run in runs]):.3f}"


def shown(points: list[float]) -> str:
    """A mean of paired differences with its interval."""
    if len(points) < 2:
        return ""
    middle, low, high = interval(points)
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
