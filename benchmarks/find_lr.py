"""Is `tlcli find-lr` right? Its suggestions beside the best rate of a grid, cell by cell.

    python benchmarks/find_lr.py --photos cats_dogs --weights FILE [--stage tuning] [--size 32]

A cell is a base, a set of photos and a seed. The grid trains the stage at each rate from the same
weights: the head from its first ones, or tuning above `block4_pool` from where the head has ended.
The best rate is that with the least validation loss of the best epoch: what a run would hand on.
Several seeds of each base and set are trained. Rates whose loss is above the best one's by no more
than the standard deviation of the best rate's loss over the seeds are equally good: with other
seeds any of them might be the best. The factor between a suggestion and the best rate is told as it
is, and to the nearest of the rates that are equally good.

A base and set is on the disk as soon as it is done (RESULTS/find_lr/BASE-SET-STAGE-SIZE.json), with
the losses of the tests, and is not measured again. So other rules can be judged on the same
measurements.
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
from tlcli.networks.network import Network
from tlcli.recipe.load import load_recipe
from tlcli.runs.records import StepMethods
from tlcli.search.find_rate import train_stages_before
from tlcli.search.head_trials import HeadTrial, train_side_by_side
from tlcli.search.pooled_rows import PooledRows
from tlcli.search.rate_curve import RateCurve, join_tests
from tlcli.search.rate_sweep import sweep_rates
from tlcli.search.tuning_trial import TUNING_STEPS, enough_epochs
from tlcli.system import console
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import begin_stage
from tlcli.training.optimizers import Rate
from tlcli.training.order import Position, draw_picks
from tlcli.training.plan import Plan, choose_precision, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import fill_store, load_network
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step import Scorer, Trainer
from tlcli.training.step_methods import suitable_methods

#: Rates of the grid, a factor of 1.8 apart for the head, of 2.2 for tuning; and the tests of each.
RATES = {"head": np.geomspace(1e-4, 0.1, 13), "tuning": np.geomspace(1e-6, 1e-3, 10)}
TESTS = 3

#: Epochs of the head, and of tuning, or as many more as give enough steps.
EPOCHS, TUNING_EPOCHS = 30, 4

#: Photos of each class that judge the rates: with few, chance chooses the best one.
VAL = {"cats_dogs": 150, "digits": 60, "textures": 150}

#: What the suggestion is to be near to.
NEAR = 3.0

RECIPE = """
seed: {seed}
data: {{dir: '{photos}', duplicates: allow}}
base: {{name: {base}, weights: {weights}, image_size: {size}}}
stages:
  - {{name: head, epochs: {epochs}, learning_rate: 1.0e-3}}
"""
TUNING = (
    "  - {{name: tuning, freeze_until: block4_pool, epochs: {epochs}, learning_rate: 5.0e-5}}\n"
)

#: Suggestions to judge, by name.
RULES: dict[str, Callable[[RateCurve], float | None]] = {
    "suggested": RateCurve.suggested,
    "steepest": RateCurve.steepest,
    "valley": RateCurve.valley,
    "below rise": RateCurve.below_rise,
}


def sets(source: Path) -> dict[str, Callable[[Path], None]]:
    """The sets by name, each with what makes its folder."""

    def pets(cats: int, dogs: int) -> Callable[[Path], None]:
        counts = {"cats": cats, "dogs": dogs}
        return lambda folder: cats_dogs(source, folder, counts, val=VAL["cats_dogs"])

    return {
        "cats_dogs": pets(150, 150),
        "digits": lambda folder: digits(folder, 30, val=VAL["digits"]),
        "textures": lambda folder: textures(folder, 40, val=VAL["textures"]),
        "unbalanced": pets(150, 30),
        "coloured": lambda folder: digits(folder, 20, coloured=True, val=VAL["digits"]),
    }


def plan_of(given: argparse.Namespace, base: str, photos: Path, folder: Path, seed: int) -> Plan:
    """The plan of a cell, without photos for the test."""
    weights = given.weights.absolute() if base == "VGG16" else "random"
    path = folder / f"{base}-{seed}.yaml"
    text = RECIPE.format(
        seed=seed, photos=photos, base=base, size=given.size, weights=weights, epochs=EPOCHS
    )
    if given.stage == "tuning":
        count = len(list((photos / "train").glob("*/*")))
        epochs = enough_epochs(TUNING_EPOCHS, TUNING_STEPS, count, 32)
        text += TUNING.format(epochs=epochs)
    path.write_text(text, encoding="utf-8")
    plan = make_plan(preflight(load_recipe(path), cache=folder, run=False))
    kept = tuple(item for item in plan.index.items if item.split != "test")
    return choose_precision(replace(plan, index=replace(plan.index, items=kept)))


def measure(given: argparse.Namespace, base: str, photos: Path, folder: Path) -> dict[str, Any]:
    """The tests of each seed, and the validation loss at each rate of the grid."""
    plans = {seed: plan_of(given, base, photos, folder, seed) for seed in given.seeds}
    if given.stage == "tuning":
        cells = {str(seed): tuning_cell(plan) for seed, plan in plans.items()}
    else:
        rows = PooledRows(plans[given.seeds[0]])
        cells = {str(seed): head_cell(plan, rows) for seed, plan in plans.items()}
    rates = [float(rate) for rate in RATES[given.stage]]
    return {"rates": rates, "seeds": cells, **machine()}


def head_cell(plan: Plan, rows: PooledRows) -> dict[str, Any]:
    """The tests of the head, and its best validation loss at each rate, all rates side by side."""
    trials = []
    for rate in RATES["head"]:
        stage = plan.stages[0].stage.model_copy(update={"learning_rate": float(rate)})
        recipe = plan.recipe.model_copy(update={"stages": (stage,)})
        trials.append(HeadTrial(recipe, (replace(plan.stages[0], stage=stage),)))
    train_side_by_side(rows, trials)
    grid = [trial.stages[0].best.val_loss if not trial.failure else None for trial in trials]
    planned, top = plan.stages[0], plan.row.top.name
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    with open_store(network, plan.recipe, plan.cache, [top]) as opened:
        feed = StoredFeed(network, plan.recipe, opened.all_rows, top, plan.index.of("train"))
        methods = suitable_methods(network, [planned], plan.cache)
        tests = tests_of(network, plan, planned, feed, Position(0, 0), methods)
        return {"tests": tests, "grid": grid}


def tuning_cell(plan: Plan) -> dict[str, Any]:
    """The tests of tuning after its head, and its best validation loss at each rate."""
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    planned = plan.stages[1]
    cut, cuts = planned.cut.name, [stage.cut.name for stage in plan.stages]
    with open_store(network, plan.recipe, plan.cache, cuts) as opened:
        fill_store(network, plan.recipe, plan.index, opened)
        methods = suitable_methods(network, plan.stages[:2], plan.cache)
        position = Position(1, train_stages_before(network, plan, opened, 1, methods))
        feed, judged = (
            StoredFeed(network, plan.recipe, opened.all_rows, cut, plan.index.of(split))
            for split in ("train", "val")
        )
        tests = tests_of(network, plan, planned, feed, position, methods)
        variables = begin_stage(network, planned, plan.recipe, feed, position)
        trainer = Trainer(network, planned, plan.recipe, variables, methods=methods)
        scorer = Scorer(network, cut)
        changed = [*network.variables_above(cut), *trainer.state]
        start, grid = [variable.numpy() for variable in changed], []
        for rate in RATES["tuning"]:
            for variable, value in zip(changed, start, strict=True):
                variable.assign(value)
            stage = planned.stage.model_copy(update={"learning_rate": float(rate)})
            losses = []
            for epoch in range(stage.epochs):
                order = draw_picks(feed, plan.recipe.seed, position, epoch, planned.batch_size)
                steps = Rate(stage, planned.steps)
                with console.progress(len(feed.labels), "tuning") as bar:
                    trainer.train_epoch(feed, list(order), steps, epoch, bar)
                losses.append(scorer.score(judged).loss)
            grid.append(min(losses) if np.isfinite(losses).all() else None)
    return {"tests": tests, "grid": grid}


def tests_of(
    network: Network, plan: Plan, planned: StagePlan, feed: StoredFeed, position: Position,
    methods: StepMethods,
) -> list[list[float]]:  # fmt: skip
    """The range tests of a stage, as `find-lr` makes them."""
    seeds = [plan.recipe.seed + number for number in range(TESTS)]
    return sweep_rates(network, planned, plan.recipe, feed, position, seeds, methods)


def judge(grid: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each seed the best rate, those that are equally good, and the factor of each rule."""
    rates = np.array(grid["rates"])
    losses = {
        seed: np.array([np.inf if loss is None else loss for loss in cell["grid"]])
        for seed, cell in grid["seeds"].items()
    }
    rows = {}
    for seed, cell in grid["seeds"].items():
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
    options.add_argument("--stage", choices=[*RATES], default="head")
    options.add_argument("--seeds", default="0,1,2", help="of the runs [0,1,2]")
    options.add_argument("--cells", default="VGG16-cats_dogs,VGG16-digits,VGG16-textures,"
                         "VGG16-unbalanced,VGG16-coloured",
                         help="BASE-SET; bases other than VGG16 have random weights")  # fmt: skip
    options.add_argument("--results", type=Path, default=RESULTS)
    given = options.parse_args()
    given.seeds = [int(seed) for seed in given.seeds.split(",")]
    folder = given.results / "find_lr"
    folder.mkdir(parents=True, exist_ok=True)
    rows, known = {}, sets(given.photos)
    for cell in given.cells.split(","):
        base, name = cell.split("-")
        path = folder / f"{cell}-{given.stage}-{given.size}.json"
        if not path.exists():
            with scratch() as temporary:
                os.environ["TLCLI_RUNS"] = str(temporary / "runs")
                known[name](temporary / name)
                grid = measure(given, base, temporary / name, temporary)
            path.write_text(json.dumps(grid), encoding="utf-8")
        for seed, row in judge(json.loads(path.read_text(encoding="utf-8"))).items():
            rows[f"{cell}-{seed}"] = row
        say("\n".join(table(rows)))
    lines = table(rows)
    (given.results / f"find_lr-{given.stage}.md").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
