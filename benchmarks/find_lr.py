"""Is `tlcli find-lr` right? Its suggestions beside the best rate of a grid, cell by cell.

    python benchmarks/find_lr.py --photos cats_dogs --weights FILE [--size 32] [--cells A,B]

A cell is a base, a set of photos and a seed; the stage is the head. The grid trains the head at
each rate from the same weights, and the best rate is that with the least validation loss of the
best epoch: what a run would hand on. Three seeds of each base and set are trained. Rates whose loss
is above the best one's by no more than the standard deviation of the best rate's loss over the
seeds are equally good: with other seeds any of them might be the best. The factor between a
suggestion and the best rate is told as it is, and to the nearest of the rates that are equally
good.

A base and set is on the disk as soon as it is done (RESULTS/find_lr/BASE-SET.json), with the losses
of the tests, and is not measured again. So other rules can be judged on the same measurements.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from advise import cats_dogs, digits, textures
from harness import RESULTS, line, machine, say, scratch

from tlcli.features.open_store import open_store
from tlcli.recipe.load import load_recipe
from tlcli.search.head_trials import HeadTrial, train_side_by_side
from tlcli.search.pooled_rows import PooledRows
from tlcli.search.rate_curve import RateCurve, join_tests
from tlcli.search.rate_sweep import sweep_rates
from tlcli.training.batches import StoredFeed
from tlcli.training.order import Position
from tlcli.training.plan import Plan, choose_precision, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network

#: Rates of the grid, a factor of 1.8 apart, the epochs of each, the seeds, and the tests of each.
RATES, EPOCHS, SEEDS, TESTS = np.geomspace(1e-4, 0.1, 13), 30, (0, 1, 2), 3

#: What the suggestion is to be near to.
NEAR = 3.0

RECIPE = """
seed: {seed}
data: {{dir: '{photos}', duplicates: allow}}
base: {{name: {base}, weights: {weights}, image_size: {size}}}
stages:
  - {{name: head, epochs: {epochs}, learning_rate: 1.0e-3}}
"""

#: Suggestions to judge, by name.
RULES: dict[str, Callable[[RateCurve], float | None]] = {
    "suggested": RateCurve.suggested,
    "steepest": RateCurve.steepest,
    "valley": RateCurve.valley,
}


def sets(source: Path) -> dict[str, Callable[[Path], None]]:
    """The sets by name, each with what makes its folder."""
    return {
        "cats_dogs": lambda folder: cats_dogs(source, folder, {"cats": 150, "dogs": 150}),
        "digits": lambda folder: digits(folder, 30),
        "textures": lambda folder: textures(folder, 40),
        "unbalanced": lambda folder: cats_dogs(source, folder, {"cats": 150, "dogs": 30}),
        "coloured": lambda folder: digits(folder, 20, coloured=True),
    }


def plan_of(given: argparse.Namespace, base: str, photos: Path, folder: Path, seed: int) -> Plan:
    """The plan of a cell."""
    weights = given.weights.absolute() if base == "VGG16" else "random"
    path = folder / f"{base}-{seed}.yaml"
    path.write_text(
        RECIPE.format(
            seed=seed, photos=photos, base=base, size=given.size, weights=weights, epochs=EPOCHS
        ),
        encoding="utf-8",
    )
    return choose_precision(make_plan(preflight(load_recipe(path), cache=folder, run=False)))


def measure(given: argparse.Namespace, base: str, photos: Path, folder: Path) -> dict[str, Any]:
    """The tests of each seed, and the validation loss at each rate of the grid."""
    plans = {seed: plan_of(given, base, photos, folder, seed) for seed in SEEDS}
    rows = PooledRows(plans[0])
    cells = {}
    for seed, plan in plans.items():
        trials = []
        for rate in RATES:
            stage = plan.stages[0].stage.model_copy(update={"learning_rate": float(rate)})
            recipe = plan.recipe.model_copy(update={"stages": (stage,)})
            planned = replace(plan.stages[0], stage=stage)
            trials.append(HeadTrial(recipe, (planned,)))
        train_side_by_side(rows, trials)
        grid = [trial.stages[0].best.val_loss if not trial.failure else None for trial in trials]
        cells[str(seed)] = {"tests": tests_of(plan), "grid": grid}
    return {"rates": [float(rate) for rate in RATES], "seeds": cells, **machine()}


def tests_of(plan: Plan) -> list[list[float]]:
    """The range tests of the head, as `find-lr` makes them."""
    planned, top = plan.stages[0], plan.row.top.name
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    with open_store(network, plan.recipe, plan.cache, [top]) as opened:
        feed = StoredFeed(network, plan.recipe, opened.all_rows, top, plan.index.of("train"))
        seeds = [plan.recipe.seed + number for number in range(TESTS)]
        return sweep_rates(network, planned, plan.recipe, feed, Position(0, 0), seeds)


def judge(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each seed the best rate, those that are equally good, and the factor of each rule."""
    rates = np.array(found["rates"])
    losses = {
        seed: np.array([np.inf if loss is None else loss for loss in cell["grid"]])
        for seed, cell in found["seeds"].items()
    }
    rows = {}
    for seed, cell in found["seeds"].items():
        best = int(losses[seed].argmin())
        noise = float(np.std([values[best] for values in losses.values()], ddof=1))
        good = rates[losses[seed] <= losses[seed][best] + noise]
        curve = join_tests(cell["tests"])
        row: dict[str, Any] = {
            "best": rates[best], "loss": losses[seed][best], "noise": noise,
            "low": good.min(), "high": good.max(),
        }  # fmt: skip
        for name, rule in RULES.items():
            rate = rule(curve)
            row[name] = rate
            if rate is not None:
                row[f"{name}: best"] = factor(rate, rates[best], rates[best])
                row[f"{name}: good"] = factor(rate, good.min(), good.max())
                row[f"{name}: loss"] = np.interp(np.log(rate), np.log(rates), losses[seed])
        rows[seed] = row
    return rows


def factor(rate: float, low: float, high: float) -> float:
    """How many times a rate is below or above a range, 1 within."""
    return float(max(low / rate, rate / high, 1.0))


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The cells as a table, and how often each rule is near."""
    heads = ["cell", "best rate", "equally good", "val loss", *RULES]
    lines = [line(heads), line(["---"] * len(heads))]
    for cell, row in rows.items():
        cells = [cell, f"{row['best']:.2g}", f"{row['low']:.2g} to {row['high']:.2g}",
                 f"{row['loss']:.3f}"]  # fmt: skip
        for name in RULES:
            cells.append(
                "none"
                if row[name] is None
                else f"{row[name]:.2g}: {row[f'{name}: best']:.1f}, {row[f'{name}: good']:.1f}"
            )
        lines.append(line(cells))
    lines += ["", "A suggestion with its factors to the best rate, and to those equally good.", ""]
    for name in RULES:
        best, good = (
            sum(row.get(f"{name}: {kind}", np.inf) <= NEAR for row in rows.values())
            for kind in ("best", "good")
        )
        lines.append(
            f"- {name}: within a factor of {NEAR:g} of the best rate in {best} of {len(rows)}, of "
            f"one equally good in {good}"
        )
    return lines


def main() -> None:
    """Measure what has no result, and print the table of all."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--photos", type=Path, required=True, help="the cats_dogs folder")
    options.add_argument("--weights", type=Path, required=True, help="of VGG16, without top")
    options.add_argument("--size", type=int, default=32)
    options.add_argument("--cells", default="VGG16-cats_dogs,VGG16-digits,VGG16-textures,"
                         "VGG16-unbalanced,VGG16-coloured",
                         help="BASE-SET; bases other than VGG16 have random weights")  # fmt: skip
    options.add_argument("--results", type=Path, default=RESULTS)
    given = options.parse_args()
    folder = given.results / "find_lr"
    folder.mkdir(parents=True, exist_ok=True)
    rows, known = {}, sets(given.photos)
    for cell in given.cells.split(","):
        base, name = cell.split("-")
        path = folder / f"{cell}.json"
        if not path.exists():
            with scratch() as temporary:
                os.environ["TLCLI_RUNS"] = str(temporary / "runs")
                known[name](temporary / name)
                found = measure(given, base, temporary / name, temporary)
            path.write_text(json.dumps(found), encoding="utf-8")
        for seed, row in judge(json.loads(path.read_text(encoding="utf-8"))).items():
            rows[f"{cell}-{seed}"] = row
        say("\n".join(table(rows)))
    lines = table(rows)
    (given.results / "find_lr.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
