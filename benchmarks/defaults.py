"""Are the defaults of a head right? Variants of them beside a linear probe on the same features.

    python benchmarks/defaults.py --photos cats_dogs --weights FILE [--resize squash,crop]

Sets of photos, each with a pool of photos that are used as they are, without random views. A seed
draws the training and validation photos out of the pool, the weights of the head, its dropout and
its order; the test photos are the same. Every variant trains on the same draws, so that differences
are those of pairs.

One training without an end gives all choices of epochs, patience and monitor: they follow from the
validation scores of its epochs (`StageProgress`, as in a run), and the test score is that of the
epoch chosen. The linear probe is the README's: scikit-learn's logistic regression on the
standardised features of the training photos, not augmented.

Rows of a set (RESULTS/defaults/SET-RESIZE.npz) and scores (SET.json) are kept as soon as they are
known, and not computed again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from advise import save
from harness import line, machine, say, scratch, set_parser
from PIL import Image, ImageDraw

#: Height and width of the photos that are drawn.
DRAWN = 72, 96

#: Epochs of every training; the longest that a variant may have.
MOST_EPOCHS = 100

#: The defaults: a head, how it is trained, and which of its epochs is kept.
HEAD = {"hidden": [256], "rate": 1e-3}
STOP = {"epochs": 30, "patience": 8, "monitor": "val_loss"}

#: Other heads and trainings, by name; what they leave out is as in `HEAD`.
HEADS: dict[str, dict[str, Any]] = {
    "hidden: []": {"hidden": []},
    "hidden: [64]": {"hidden": [64]},
    "learning_rate: 3e-3": {"rate": 3e-3},
    "hidden: [], learning_rate: 1e-2": {"hidden": [], "rate": 1e-2},
}

#: Other ends of a training, by name; what they leave out is as in `STOP`.
STOPS: dict[str, dict[str, Any]] = {
    "monitor: val_accuracy": {"monitor": "val_accuracy"},
    "early_stopping: 4": {"patience": 4},
    "early_stopping: 15": {"patience": 15},
    "no early_stopping": {"patience": None},
    "epochs: 60": {"epochs": 60},
    "epochs: 60, early_stopping: 15": {"epochs": 60, "patience": 15},
    "epochs: 100, early_stopping: 25": {"epochs": 100, "patience": 25},
    "epochs: 100, early_stopping: 15": {"epochs": 100, "patience": 15},
    "epochs: 100, no early_stopping": {"epochs": 100, "patience": None},
}


@dataclass(frozen=True)
class PhotoSet:
    """A set of photos.

    Attributes:
        make: writes the pool and the test photos into folders of class folders, train and test.
        train, val: photos of each class that a seed draws out of the pool.
        size: pixels of the base's input.
    """

    make: Callable[[Path], None]
    train: int
    val: int
    size: int = 64


def photo_sets(source: Path) -> dict[str, PhotoSet]:
    """The sets by name; those with the same first word have the same photos."""
    return {
        "cats_dogs 246": PhotoSet(lambda folder: cats_dogs(source, folder), 123, 26, 150),
        "cats_dogs 80": PhotoSet(lambda folder: cats_dogs(source, folder), 40, 9, 150),
        "digits 150": PhotoSet(digits, 15, 3),
        "digits 50": PhotoSet(digits, 5, 2),
        "textures 100": PhotoSet(textures, 25, 6),
        "textures 40": PhotoSet(textures, 10, 4),
        "shapes 100": PhotoSet(shapes, 20, 5),
        "shapes 40": PhotoSet(shapes, 8, 3),
    }


def cats_dogs(source: Path, folder: Path) -> None:
    """400 photos of each class, and all test photos."""
    for split, most in (("train", 400), ("test", None)):
        for name in ("cats", "dogs"):
            for photo in sorted((source / split / name).iterdir())[:most]:
                target = folder / split / name / photo.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo, target)


def digits(folder: Path) -> None:
    """Handwritten digits of scikit-learn, 48 pixels high, somewhere near the middle of a photo."""
    from sklearn.datasets import load_digits

    data, random = load_digits(), np.random.default_rng(0)
    height, width = DRAWN
    for digit in range(10):
        parts = np.split(data.images[data.target == digit], [25, 50])
        for split, part in zip(("train", "test"), parts, strict=False):
            for position, image in enumerate(part):
                ink = np.asarray(Image.fromarray(np.uint8(image * 255 / 16)).resize((48, 48), 3))
                share = np.zeros((height, width))
                top = round(np.clip(random.normal((height - 48) / 2, 6), 0, height - 48))
                left = round(np.clip(random.normal((width - 48) / 2, 12), 0, width - 48))
                share[top : top + 48, left : left + 48] = ink / 255
                pixels = np.broadcast_to(255 * share[..., None], (*DRAWN, 3))
                save(pixels, folder, split, str(digit), position)


def textures(folder: Path) -> None:
    """Gratings: four classes of direction and width, with random phase, contrast and noise."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[: DRAWN[0], : DRAWN[1]]
    classes = {"flat wide": (0.1, 8), "flat narrow": (0.1, 5), "steep wide": (1.2, 8),
               "steep narrow": (1.2, 5)}  # fmt: skip
    for name, (angle, width) in classes.items():
        for split, count in (("train", 40), ("test", 60)):
            for position in range(count):
                turn = angle + random.normal(0, 0.15)
                wave = np.cos(turn) * across + np.sin(turn) * down
                period = width * random.uniform(0.8, 1.25)
                phase = random.uniform(0, 2 * np.pi)
                values = 128 + random.uniform(15, 60) * np.sin(2 * np.pi * wave / period + phase)
                save(values[..., None] + random.normal(0, 40, (*DRAWN, 3)), folder, split, name,
                     position)  # fmt: skip


def shapes(folder: Path) -> None:
    """Filled shapes of any colour, size, place and turn, on noise of another colour."""
    random = np.random.default_rng(0)
    corners = {"circle": 40, "triangle": 3, "square": 4, "star": 10, "cross": 12}
    for name, count in corners.items():
        for split, photos in (("train", 40), ("test", 60)):
            for position in range(photos):
                back, ink = random.uniform(0, 255, (2, 3))
                image = Image.new("RGB", DRAWN[::-1], tuple(map(int, back)))
                radius = random.uniform(14, 26)
                middle = [random.uniform(radius, side - radius) for side in DRAWN[::-1]]
                outline = _outline(name, count) * radius @ _turn(random.uniform(0, 2 * np.pi))
                points = [tuple(map(float, point)) for point in outline + middle]
                ImageDraw.Draw(image).polygon(points, fill=tuple(map(int, ink)))
                noise = random.normal(0, 30, (*DRAWN, 3))
                save(np.asarray(image, float) + noise, folder, split, name, position)


def _outline(name: str, count: int) -> Any:
    """The corners of a shape in the unit circle, (count, 2)."""
    if name == "cross":
        x = [-1, 1, 1, 3, 3, 1, 1, -1, -1, -3, -3, -1]
        y = [3, 3, 1, 1, -1, -1, -3, -3, -1, -1, 1, 1]
        return np.stack([x, y], axis=1) / math.hypot(1, 3)
    angles = 2 * np.pi * np.arange(count) / count
    reach = np.where(np.arange(count) % 2, 0.4, 1.0) if name == "star" else np.ones(count)
    return reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _turn(angle: float) -> Any:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@dataclass(frozen=True)
class Rows:
    """Pooled rows of the pool and of the test photos, (n, channels), and their labels, (n,)."""

    pool: Any
    labels: Any
    test: Any
    test_labels: Any


def pooled_rows(photos: PhotoSet, resize: str, weights: str, path: Path) -> Rows:
    """The rows of a set, computed once."""
    if not path.exists():
        with scratch() as folder:
            photos.make(folder / "photos")
            rows = _computed(photos, resize, weights, folder)
        np.savez(path, **rows)
    with np.load(path) as stored:
        return Rows(**stored)


def _computed(photos: PhotoSet, resize: str, weights: str, folder: Path) -> dict[str, Any]:
    from tlcli.pretrained.weight_access import WeightsAccess
    from tlcli.recipe.load import load_recipe
    from tlcli.search.pooled_rows import PooledRows
    from tlcli.training.plan import make_plan
    from tlcli.training.preflight import preflight

    # The store of a search has no test photos: here they are validation photos as well.
    lines = ["path,label,split"]
    for path in sorted((folder / "photos").glob("*/*/*")):
        split = "train" if path.parts[-3] == "train" else "val"
        lines.append(f"{path.relative_to(folder)},{path.parts[-2]},{split}")
    (folder / "table.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    recipe = folder / "defaults.yaml"
    recipe.write_text(
        f"data: {{csv: table.csv, duplicates: allow}}\n"
        f"base: {{name: VGG16, weights: {weights}, image_size: {photos.size}, resize: {resize}}}\n"
        "stages: [{name: head}]\n",
        encoding="utf-8",
    )
    access = WeightsAccess.from_options(offline=True, folder=None)
    loaded = load_recipe(recipe, ())
    checked = preflight(loaded, cache=folder / "cache", access=access, run=False)
    pooled = PooledRows(make_plan(checked))
    train, held = pooled.photos(loaded, "train"), pooled.photos(loaded, "val")
    return {
        "pool": train.rows.numpy(), "labels": train.labels.numpy(),
        "test": held.rows.numpy(), "test_labels": held.labels.numpy(),
    }  # fmt: skip


def drawn(labels: Any, photos: PhotoSet, seed: int) -> tuple[Any, Any]:
    """Positions of the training and of the validation photos of a seed."""
    random = np.random.default_rng([seed, photos.train])
    parts: tuple[list[Any], list[Any]] = ([], [])
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        parts[0].append(members[: photos.train])
        parts[1].append(members[photos.train : photos.train + photos.val])
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def epochs_of_heads(
    rows: Rows, photos: PhotoSet, seeds: int, variant: dict[str, Any]
) -> list[list[list[float]]]:
    """For each seed and epoch: loss and accuracy of its validation photos, accuracy of the test.

    The heads of all seeds train side by side, as in `tlcli tune`.
    """
    from tlcli.networks.framework import tf
    from tlcli.networks.heads import build_head
    from tlcli.recipe.settings import Head
    from tlcli.recipe.stage_settings import Optimizer
    from tlcli.search.stacked_heads import HeadOptions, HeadStack, HeadState
    from tlcli.training.order import epoch_order

    settings = {**HEAD, **variant}
    head = Head(hidden=tuple(settings["hidden"]))
    classes, channels = int(rows.labels.max()) + 1, rows.pool.shape[1]
    states = [
        HeadState.of(build_head((1, 1, channels), head, classes, seed=seed), len(head.hidden))
        for seed in range(seeds)
    ]
    options = [HeadOptions.of(head, 0.0, (1.0,) * classes)] * seeds
    pool, labels = tf.constant(rows.pool), tf.constant(rows.labels)
    stack = HeadStack(states, options, Optimizer(), pool, labels)
    draws = [drawn(rows.labels, photos, seed) for seed in range(seeds)]
    held = [(tf.gather(pool, val), tf.gather(labels, val)) for _, val in draws]
    rates = np.full(seeds, settings["rate"], np.float32)
    scores: list[list[list[float]]] = [[] for _ in range(seeds)]
    test = tf.constant(rows.test), tf.constant(rows.test_labels)
    for epoch in range(MOST_EPOCHS):
        orders = [
            train[epoch_order(seed, 0, epoch, len(train))] for seed, (train, _) in enumerate(draws)
        ]
        for start in range(0, len(orders[0]), 32):
            stack.train_step(np.stack([order[start : start + 32] for order in orders]), rates)
        tested = stack.score(*test)
        for seed, own in enumerate(held):
            validated = stack.score(*own)[seed]
            scores[seed].append([validated.loss, validated.accuracy, tested[seed].accuracy])
    return scores


def probe_score(rows: Rows, photos: PhotoSet, seed: int) -> float:
    """The test accuracy of the linear probe on the training photos of a seed."""
    positions, _ = drawn(rows.labels, photos, seed)
    train = rows.pool[positions], rows.labels[positions]
    return linear_probe(*train, rows.test, rows.test_labels)


def linear_probe(features: Any, labels: Any, test: Any, test_labels: Any) -> float:
    """The test accuracy of the README's classifier of features, (n, channels)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(features, labels).score(test, test_labels))


def kept_score(epochs: list[list[float]], stop: dict[str, Any]) -> float:
    """The test accuracy of the epoch that a stage with these settings keeps."""
    from tlcli.networks.bases import BASES
    from tlcli.recipe.stage_settings import Stage
    from tlcli.training.progress import StageProgress, make_epoch
    from tlcli.training.stage_plan import StagePlan
    from tlcli.training.step import Means

    settings = {**STOP, **stop}
    raw = {"name": "head", "epochs": settings["epochs"], "monitor": settings["monitor"],
           "early_stopping": settings["patience"]}  # fmt: skip
    stage = Stage.model_validate(raw)
    progress = StageProgress(StagePlan(stage, BASES["VGG16"].top, 0, 0, (), 32, 1, ()))
    for number, (loss, accuracy, _) in enumerate(epochs):
        validated = Means(loss, accuracy, 1)
        progress.add(make_epoch("head", number, Means(0.0, 0.0, 1), validated, 0.0, 0.0))
        if progress.ended:
            break
    return epochs[progress.best.epoch - 1][2]


def measure(name: str, photos: PhotoSet, arguments: argparse.Namespace, folder: Path) -> Any:
    """The scores of all variants on a set: by name, one for each seed."""
    scores: dict[str, list[float]] = {}
    for resize in arguments.resize.split(","):
        stem = f"{name.partition(' ')[0]}-{resize}"
        rows = pooled_rows(photos, resize, arguments.weights, folder / f"{stem}.npz")
        say(f"{name}, {resize}: {len(rows.pool)} photos in the pool, {len(rows.test)} to test")
        also = "" if resize == "squash" else ", crop"
        probes = [probe_score(rows, photos, seed) for seed in range(arguments.seeds)]
        scores[f"linear probe{also}"] = probes
        epochs = epochs_of_heads(rows, photos, arguments.seeds, {})
        scores[f"defaults{also}"] = [kept_score(each, {}) for each in epochs]
        if resize == "squash":
            for stop, values in STOPS.items():
                scores[stop] = [kept_score(each, values) for each in epochs]
            for head, values in HEADS.items():
                epochs = epochs_of_heads(rows, photos, arguments.seeds, values)
                scores[head] = [kept_score(each, {}) for each in epochs]
                more = {"epochs": 100, "patience": 15}
                scores[f"{head}, epochs: 100, early_stopping: 15"] = [
                    kept_score(each, more) for each in epochs
                ]
    return scores


def interval(differences: Any) -> tuple[float, float, float]:
    """The mean of paired differences and its 95% interval by Student's t."""
    from scipy import stats

    mean, n = float(np.mean(differences)), len(differences)
    half = stats.t.ppf(0.975, n - 1) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def table(results: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """Lines of the table: the mean of each set, and the difference to the defaults over all."""
    yield line(["variant", *results, "points beside the defaults (95%)"])
    yield line(["---"] * (2 + len(results)))
    for variant in next(iter(results.values())):
        scores = {name: np.array(by_variant[variant]) for name, by_variant in results.items()}
        pairs = [100 * (scores[name] - results[name]["defaults"]) for name in results]
        mean, low, high = interval(np.concatenate(pairs))
        beside = "" if variant == "defaults" else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
        yield line([variant, *(f"{values.mean():.3f}" for values in scores.values()), beside])


def main() -> None:
    """Measure what is missing and write the table."""
    options = set_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--resize", default="squash", help="or squash,crop [squash]")
    options.add_argument("--sets", default="", help="names, separated by commas [all]")
    options.add_argument("--size", type=int, help="pixels of the input [that of the set]")
    arguments = options.parse_args()
    folder = arguments.results / "defaults"
    folder.mkdir(parents=True, exist_ok=True)
    known = photo_sets(arguments.photos)
    results = {}
    for name in [name for name in arguments.sets.split(",") if name] or [*known]:
        path = folder / f"{name}.json"
        if not path.exists():
            photos = replace(known[name], size=arguments.size or known[name].size)
            scores = measure(name, photos, arguments, folder)
            path.write_text(json.dumps(scores, indent=1), encoding="utf-8")
        results[name] = json.loads(path.read_text("utf-8"))
    lines = [*table(results), "", str(machine())]
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
