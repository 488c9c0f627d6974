"""What are the photos worth that `tlcli suggest` chooses? Rounds of labelling, on four sets.

    python benchmarks/suggest.py --photos cats_dogs --weights FILE [--seeds 5] [--cache DIR]

Each simulation begins with two labelled training photos of every class, drawn by its seed, and
doubles the labels again and again: with the photos that `tlcli suggest` names (as it is, and
typical ones alone), with those of the smallest margin, and at random. A logistic regression of
scikit-learn (C = 0.1, standardised features), which had no part in the choice, is fitted on the
labels and judged on held-out photos; its score is the mean recall of the classes.

Sets: the first 400 training photos of each class of cats_dogs at 150 px, judged on its test photos;
the handwritten digits of scikit-learn at 64 px, judged on those for validation and test; and of the
photos to label of both a part in which classes are rare (cats 1 to 10 of dogs; each digit three
quarters of the one before). Features are means over space at the top of VGG16.

A simulation is on the disk as soon as it is done (RESULTS/suggest.json) and not repeated. Writes
RESULTS/suggest.md, and with `--picture` the curves that docs/suggest.md shows.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import line, say, scratch, set_parser
from labels import write_digits

Array = npt.NDArray[Any]

#: The photos of a set: features and classes of those to label, and of those to judge on.
PhotoSet = tuple[Array, Array, Array, Array]

#: What chooses: features of labelled photos, their classes, features of others, how many.
Chooser = Callable[[Array, Array, Array, int, np.random.Generator], list[int]]

DOUBLINGS = 6

#: Photos to label of each class at most.
MOST = 400


def suggested(
    labelled: Array, labels: Array, others: Array, count: int, random: np.random.Generator
) -> list[int]:
    """As `tlcli suggest`."""
    from tlcli.audits.photo_choice import choose_photos

    return [photo.position for photo in choose_photos(labelled, labels, others, count)]


def typical(
    labelled: Array, labels: Array, others: Array, count: int, random: np.random.Generator
) -> list[int]:
    """As `tlcli suggest`, whatever the classifier is unsure of."""
    from tlcli.audits.photo_choice import choose_photos

    return [photo.position for photo in choose_photos(labelled, labels, others, count, power=0)]


def least_sure(
    labelled: Array, labels: Array, others: Array, count: int, random: np.random.Generator
) -> list[int]:
    """Those with the smallest margin, alike or not."""
    from tlcli.audits.photo_choice import class_scores

    ranked = np.sort(class_scores(labelled, labels, others), axis=1)
    return np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")[:count].tolist()


def at_random(
    labelled: Array, labels: Array, others: Array, count: int, random: np.random.Generator
) -> list[int]:
    """Each photo as likely as any other."""
    return random.choice(len(others), count, replace=False).tolist()


CHOOSERS: dict[str, Chooser] = {
    "suggest": suggested, "typical alone": typical, "least sure alone": least_sure,
    "random": at_random,
}  # fmt: skip


def load_features(
    folder: Path, size: int, weights: str, cache: Path, judged: tuple[str, ...]
) -> PhotoSet:
    """Pooled features at the top of VGG16, from the store where it has them.

    `judged` are the splits of the photos to judge on.
    """
    from tlcli.commands.options import plan_from_options
    from tlcli.features.pooled import pool_features
    from tlcli.images.loader import View
    from tlcli.pretrained.weight_access import WeightsAccess
    from tlcli.training.plan import choose_precision
    from tlcli.training.preparation import load_network

    with scratch() as own:
        recipe = own / "set.yaml"
        recipe.write_text(
            f"name: set\ndata: {{dir: {folder.absolute()}, duplicates: allow}}\n"
            f"base: {{name: VGG16, weights: {weights}, image_size: {size}}}\n",
            encoding="utf-8",
        )
        access = WeightsAccess.from_options()
        plan = choose_precision(plan_from_options(recipe, (), cache, access, run=False))
    items = list({i.digest: i for i in plan.index.items if i.split in judged}.values())
    for label in range(len(plan.index.classes)):
        of_class = [i for i in plan.index.of("train") if i.label == label]
        items += of_class[:MOST]
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    views = [View(item.file, item.digest) for item in items]
    (rows,) = pool_features(network, plan.recipe, views, [plan.row.top.name], cache).rows.values()
    labels = np.array([item.label for item in items])
    train = np.array([item.split == "train" for item in items])
    return rows[train], labels[train], rows[~train], labels[~train]


def unbalanced(photos: PhotoSet, shares: list[float]) -> PhotoSet:
    """The set with a share of each class of the photos to label, the first ones."""
    rows, labels, *judged = photos
    kept = np.concatenate([
        np.flatnonzero(labels == label)[: round(share * (labels == label).sum())]
        for label, share in enumerate(shares)
    ])  # fmt: skip
    return rows[kept], labels[kept], *judged


def simulate(photos: PhotoSet, choose: Chooser, seed: int) -> list[tuple[int, float]]:
    """Labels and score after each doubling."""
    rows, labels, *judged = photos
    random = np.random.default_rng(seed)
    known = np.concatenate([
        random.choice(np.flatnonzero(labels == label), 2, replace=False)
        for label in np.unique(labels)
    ])  # fmt: skip
    scores = [(len(known), score(rows[known], labels[known], *judged))]
    for _ in range(DOUBLINGS):
        hidden = np.setdiff1d(np.arange(len(labels)), known)
        if len(known) > 0.7 * len(hidden):
            break
        picks = choose(rows[known], labels[known], rows[hidden], len(known), random)
        known = np.concatenate([known, hidden[picks]])
        scores.append((len(known), score(rows[known], labels[known], *judged)))
    return scores


def score(rows: Array, labels: Array, judged: Array, truth: Array) -> float:
    """The mean recall of a logistic regression that is fitted on some photos."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return float(balanced_accuracy_score(truth, model.fit(rows, labels).predict(judged)))


def table(name: str, kept: dict[str, Any]) -> list[str]:
    """The medians of a set, with the least and the most; how few labels reach those of random."""
    of_set = {
        chooser: [runs for key, runs in kept.items() if key.startswith(f"{name} | {chooser} | ")]
        for chooser in CHOOSERS
    }
    numbers = [number for number, _ in of_set["random"][0]]
    medians = {
        chooser: [statistics.median(run[at][1] for run in runs) for at in range(len(numbers))]
        for chooser, runs in of_set.items()
    }
    lines = [f"\n{name}\n", line(["labels", *CHOOSERS, "labels that reach random"])]
    lines.append(line(["---"] * (len(CHOOSERS) + 2)))
    for at, number in enumerate(numbers):
        cells = []
        for chooser, runs in of_set.items():
            values = [run[at][1] for run in runs]
            cells.append(f"{medians[chooser][at]:.3f} ({min(values):.3f} to {max(values):.3f})")
        needed = labels_needed(numbers, medians["suggest"], medians["random"][at])
        share = f"{needed:.0f} ({needed / number:.2f})" if at and needed else ""
        lines.append(line([f"{number:,}", *cells, share]))
    return lines


def labels_needed(numbers: list[int], scores: list[float], asked: float) -> float | None:
    """How many labels reach a score, on a line between the logarithms of what was measured."""
    for at in range(1, len(numbers)):
        if scores[at] >= asked:
            low, high = scores[at - 1], scores[at]
            part = 0.0 if low >= asked else (asked - low) / (high - low)
            return float(numbers[at - 1] * (numbers[at] / numbers[at - 1]) ** part)
    return None


def draw(kept: dict[str, Any], names: list[str], path: Path) -> None:
    """The curves of all sets: medians over the seeds, and for two of them the whole range."""
    from matplotlib.figure import Figure

    from tlcli.evaluation.colours import BLUE, ORANGE
    from tlcli.evaluation.figures import picture_style, save_figure

    looks = {
        "suggest": (BLUE.light, "o-", True), "random": (ORANGE.light, "s-", True),
        "typical alone": ("#777777", ":", False), "least sure alone": ("#777777", "--", False),
    }  # fmt: skip
    with picture_style():
        figure = Figure(figsize=(10, 7.2), layout="constrained")
        for axes, name in zip(figure.subplots(2, 2).flat, names, strict=False):
            for chooser, (colour, form, shaded) in looks.items():
                runs = [r for key, r in kept.items() if key.startswith(f"{name} | {chooser} | ")]
                numbers = [number for number, _ in runs[0]]
                values = np.array([[value for _, value in run] for run in runs])
                axes.plot(numbers, np.median(values, axis=0), form, color=colour, label=chooser)
                if shaded:
                    axes.fill_between(numbers, values.min(axis=0), values.max(axis=0),
                                      color=colour, alpha=0.12, linewidth=0)  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
            axes.minorticks_off()
            axes.set_title(name)
            axes.set_xlabel("labelled photos")
            axes.set_ylabel("mean recall on held-out photos")
        figure.axes[0].legend(loc="lower right", frameon=False)
        save_figure(figure, path)


def main() -> None:
    """Simulate what is missing, and write the table and the curves."""
    options = set_parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--cache", type=Path, help="a feature store to use [one for this run]")
    options.add_argument("--picture", type=Path, help="a file for the curves")
    options.add_argument("--again", action="store_true", help="forget what is there")
    arguments = options.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / "suggest.json"
    kept = json.loads(path.read_text()) if path.exists() and not arguments.again else {}
    names = ["cats_dogs", "digits", "cats_dogs, unbalanced", "digits, unbalanced"]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    with scratch() as folder:
        os.environ["TLCLI_RUNS"] = str(folder / "runs")
        cache = arguments.cache or folder / "cache"
        write_digits(folder / "digits")
        weights = arguments.weights
        cats = load_features(arguments.photos, 150, weights, cache, ("test",))
        digits = load_features(folder / "digits", 64, weights, cache, ("val", "test"))
    sets = dict(zip(names, (
        cats, digits, unbalanced(cats, [0.1, 1]), unbalanced(digits, [0.75**k for k in range(10)])
    ), strict=True))  # fmt: skip
    for name, photos in sets.items():
        for chooser, choose in CHOOSERS.items():
            for seed in seeds:
                key = f"{name} | {chooser} | {seed}"
                if key not in kept:
                    kept[key] = simulate(photos, choose, seed)
                    path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            say(f"{name}, {chooser}: {kept[key][-1]}")
    text = "\n".join(row for name in names for row in table(name, kept)) + "\n"
    (arguments.results / "suggest.md").write_text(text, encoding="utf-8")
    if arguments.picture:
        draw(kept, names, arguments.picture)
    say(text)


if __name__ == "__main__":
    main()
