"""What a technique is worth: test accuracy and log loss over the default, paired over seeds.

    python benchmarks/techniques.py --config cats_dogs.yaml --out DIR --family head \\
        [--photos 40 200 700] [--seeds 0 1 2 3 4] [--set KEY=VALUE ...] [--cache-dir DIR]

A family is a set of variants that are compared with the first of them. Variants of the head train
one head stage from stored rows. Variants of tuning, and those of the family `gain`, share a seed's
head stage: it is trained once, and every variant goes on from its weights; `head alone` stops
there. A seed decides the head's weights, dropout, order, and,
where `--photos` says that only so many photos of a class are trained on, which these are; all
variants have the same ones. Validation and test photos are all there are.

Each training is written to `DIR/FAMILY/KEY.json` as it ends and is not done again. The table
has for every variant the mean over seeds, and the mean of the paired differences with its 95 %
interval (Student's t over seeds; of accuracy also over test photos, where a photo counts by its
mean over seeds). A difference whose interval holds 0 may be chance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import line, say

from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.networks.network import Network
from tlcli.networks.probabilities import class_logits
from tlcli.networks.temperature import fit_temperature, log_loss, log_probabilities
from tlcli.recipe.load import load_recipe
from tlcli.system import files
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import Unwatched, run_stage
from tlcli.training.order import Position
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import Preflight, preflight
from tlcli.training.preparation import fill_store, load_network
from tlcli.training.stage_plan import StagePlan
from tlcli.training.standardize import fold
from tlcli.training.step import Scorer

#: Of each family its variants, with the settings of each; the first is what others are compared
#: with. In those of `SHARED`, `stages.0` is shared.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "head": {
        "default": (),
        "normalize": ("head.normalize=true",),
        "normalize, no hidden layer": ("head.normalize=true", "head.hidden=[]", "head.dropout=0"),
        "no hidden layer": ("head.hidden=[]", "head.dropout=0"),
        "lbfgs": ("head.hidden=[]", "head.dropout=0", "stages.0={name: head, solver: lbfgs}"),
        "multi_layer": (
            "head.hidden=[]",
            "head.dropout=0",
            "head.multi_layer=true",
            "stages.0={name: head, solver: lbfgs}",
        ),
        "focal": ("stages.0.loss=focal",),
        "ema": ("stages.0.ema=0.99",),
        "average": ("stages.0.average=best 3",),
    },
    "imbalance": {
        "default": (),
        "class_weights": ("stages.0.class_weights=balanced",),
        "balanced": ("stages.0.sampler=balanced",),
        "focal": ("stages.0.loss=focal",),
    },
    "tuning": {
        "default": (),
        "layer_decay": ("stages.1.layer_decay=0.75",),
        "l2_sp": ("stages.1.l2_sp=0.01",),
        "ema": ("stages.1.ema=0.99",),
        "average": ("stages.1.average=best 3",),
        "clip_norm": ("stages.1.clip_norm=1",),
        "focal": ("stages.1.loss=focal",),
    },
    "gain": {
        "head alone": (),
        "tuned": (),
        "ema and average": ("stages.1.ema=0.99", "stages.1.average=best 3"),
        "third of the rate": ("stages.1.learning_rate=3e-6",),
        "thrice the rate": ("stages.1.learning_rate=3e-5",),
    },
}

#: Families whose variants go on from one head stage, and the variant that ends with it.
SHARED, HEAD_ALONE = ("tuning", "gain"), "head alone"

#: Of the classes of the family `imbalance`, the share of its photos that the first class keeps.
RARE = 0.1


@dataclass(frozen=True)
class Cell:
    """One training: what it is called, and what it takes."""

    family: str
    variant: str
    photos: int
    seed: int

    @property
    def key(self) -> str:
        """The name of its file."""
        return f"{self.variant.replace(' ', '_').replace(',', '')}-{self.photos}-{self.seed}"


def main() -> None:
    """Measure what is missing, then write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--variants", nargs="+", help="some of the family, the first one included")
    parser.add_argument("--photos", nargs="+", type=int, default=[0], help="of a class; 0: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--cache-dir", type=Path)
    given = parser.parse_args()
    folder = given.out / given.family
    folder.mkdir(parents=True, exist_ok=True)
    checked: Preflight | None = None
    for photos in given.photos:
        for seed in given.seeds:
            names = given.variants or list(FAMILIES[given.family])
            cells = [Cell(given.family, name, photos, seed) for name in names]
            missing = [cell for cell in cells if not (folder / f"{cell.key}.json").exists()]
            if not missing:
                continue
            checked = checked or preflight(
                load_recipe(given.config, given.overrides), cache=given.cache_dir, run=False
            )
            for cell, scores in measure(missing, given.config, given.overrides, checked):
                files.write_json(folder / f"{cell.key}.json", {**vars(cell), **scores})
                say(f"{cell.key}: {scores}")
    text = table(folder, given.family)
    files.write_text(given.out / f"{given.family}.md", text)
    say(text)


def measure(
    cells: Sequence[Cell], config: Path, overrides: Sequence[str], checked: Preflight
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Train the cells of one seed and number of photos; what each comes to."""
    shared: tuple[int, list[Any]] | None = None  # epochs and weights of the stage that all share
    for cell in cells:
        settings = [*overrides, f"seed={cell.seed}", *FAMILIES[cell.family][cell.variant]]
        plan = plan_cell(replace(checked, recipe=load_recipe(config, settings)), cell)
        network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        with open_store(network, plan.recipe, plan.cache, [c.name for c in plan.cuts]) as opened:
            fill_store(network, plan.recipe, plan.index, opened)
            epochs = 0
            if cell.family in SHARED:
                if shared is None:
                    epochs = train_stage(network, plan, opened, 0, 0)
                    shared = epochs, [v.numpy() for v in network.head.variables]
                epochs, weights = shared
                for variable, value in zip(network.head.variables, weights, strict=True):
                    variable.assign(value)
            if cell.variant != HEAD_ALONE:
                train_stage(network, plan, opened, len(plan.stages) - 1, epochs)
            yield cell, judge(network, plan, opened)


def plan_cell(checked: Preflight, cell: Cell) -> Plan:
    """The plan of a recipe with so many training photos of each class, drawn by the seed."""
    generator = np.random.default_rng([cell.seed, cell.photos])
    assert checked.index is not None
    train = checked.index.of("train")
    dropped = set()
    for label in range(len(checked.index.classes)):
        members = [item.path for item in train if item.label == label]
        kept = cell.photos or len(members)
        if cell.family == "imbalance" and label == 0:
            kept = round(RARE * kept)
        dropped |= {members[k] for k in generator.permutation(len(members))[kept:]}
    return make_plan(replace(checked, index=checked.index.without(dropped)))


def train_stage(network: Network, plan: Plan, opened: OpenedStore, number: int, before: int) -> int:
    """Train one stage from the store; how many epochs it has had."""
    planned: StagePlan = plan.stages[number]
    place = (network, plan.recipe, opened.all_rows, planned.cut.name)
    train = StoredFeed(*place, plan.index.of("train"), plan.recipe.augment.kept_views)
    val = StoredFeed(*place, plan.index.of("val"))
    position = Position(number, before)
    outcome = run_stage(network, planned, plan.recipe, train, val, position, Unwatched())
    return len(outcome.history)


def judge(network: Network, plan: Plan, opened: OpenedStore) -> dict[str, Any]:
    """What the saved network says of the test photos, raw and calibrated on the validation ones.

    `correct` has a 1 for every test photo whose class it names, else a 0.
    """
    cut, folded = plan.stages[-1].cut.name, fold(network, plan.recipe)
    logits, labels = {}, {}
    for split in ("val", "test"):
        feed = StoredFeed(network, plan.recipe, opened.all_rows, cut, plan.index.of(split))
        logits[split] = class_logits(Scorer(folded, cut).logits(feed).astype(np.float64))
        labels[split] = feed.labels
    temperature = fit_temperature(logits["val"], labels["val"])
    test, truth = logits["test"], labels["test"]
    raw, calibrated = (np.exp(log_probabilities(test, t)) for t in (1.0, temperature))
    right = test.argmax(axis=1) == truth
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[truth == c].mean() for c in np.unique(truth)])),
        "log_loss": log_loss(test, truth),
        "calibration_error": expected_calibration_error(raw, truth),
        "calibrated_log_loss": log_loss(test, truth, temperature),
        "calibrated_error": expected_calibration_error(calibrated, truth),
        "correct": "".join("01"[int(each)] for each in right),
    }


def paired(values: Sequence[float], base: Sequence[float]) -> tuple[float, float]:
    """The mean difference, and half of its 95 % interval by Student's t."""
    from scipy import stats

    differences = np.subtract(values, base)
    if len(differences) < 2:
        return float(differences.mean()), float("nan")
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return float(differences.mean()), float(half)


def table(folder: Path, family: str) -> str:
    """What was measured, as Markdown: a table for each number of photos."""
    results: dict[int, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for path in sorted(folder.glob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        by_seed = results.setdefault(cell["photos"], {}).setdefault(cell["variant"], {})
        by_seed[cell["seed"]] = cell
    parts = []
    for photos, variants in sorted(results.items()):
        parts += [f"{photos or 'all'} photos of a class", "", *_lines(variants, family), ""]
    return "\n".join(parts)


def _lines(variants: Mapping[str, Mapping[int, Mapping[str, Any]]], family: str) -> Iterator[str]:
    first = next(iter(FAMILIES[family]))
    measures = ["accuracy", "log_loss", "calibration_error", "calibrated_log_loss"]
    if family == "imbalance":
        measures[2] = "balanced_accuracy"
    heads = [part for name in measures for part in (name.replace("_", " "), "difference")]
    heads.insert(2, "over photos")
    yield line(["variant", "seeds", *heads])
    yield line(["---"] * (2 + len(heads)))
    for variant in (name for name in FAMILIES[family] if name in variants):
        seeds = sorted(variants[variant].keys() & variants.get(first, {}).keys())
        cells = [variant, str(len(seeds))]
        for name in measures:
            values = [variants[variant][seed][name] for seed in seeds]
            base = [variants[first][seed][name] for seed in seeds]
            mean, half = paired(values, base)
            cells += [f"{np.mean(values):.4f}"]
            cells += ["" if variant == first else f"{mean:+.4f} ± {half:.4f}"]
            if name == "accuracy":
                over = [_by_photo(variants[each], seeds) for each in (variant, first)]
                mean, half = paired(*over)
                cells += ["" if variant == first else f"{mean:+.4f} ± {half:.4f}"]
        yield line(cells)


def _by_photo(cells: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]) -> list[float]:
    """Of each test photo the share of seeds that were right about it."""
    each = [[int(bit) for bit in cells[seed]["correct"]] for seed in seeds]
    return [float(share) for share in np.mean(each, axis=0)]


if __name__ == "__main__":
    main()
