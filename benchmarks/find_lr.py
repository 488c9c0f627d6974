"""Is `tlcli find-lr` right? Its suggestions beside the best rate of a grid, cell by cell.

    python benchmarks/find_lr.py --photos cats_dogs --weights FILE [--size 64] [--cells A,B]

A cell is a base, a set of photos, a seed and a stage: the head, or the tuning of the default
boundary after a head. The grid trains the stage at each rate, from the same weights, and its best
rate is that with the least validation loss of the best epoch: what a run would hand on. Rates of
the grid are half a power of ten apart; `near` are those whose loss is within 2 % of the best.

A cell is on the disk as soon as it is done (RESULTS/find_lr/CELL.json), with the losses of the
tests, and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from advise import digits
from harness import RESULTS, line, machine, say, scratch

from tlcli.errors import TlcliError
from tlcli.features.open_store import open_store
from tlcli.recipe.load import load_recipe
from tlcli.recipe.stage_settings import Schedule
from tlcli.search.find_rate import SilentStage, train_stages_before
from tlcli.search.rate_curve import join_tests
from tlcli.search.rate_sweep import sweep_rates
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import Position, run_stage
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import fill_store, load_network

#: Rates of the head and of tuning, and the epochs of each.
HEAD_RATES, HEAD_EPOCHS = np.geomspace(1e-5, 1, 11), 20
TUNING_RATES, TUNING_EPOCHS = np.geomspace(1e-6, 1e-2, 9), 4

#: Training photos of each class, and digits.
TRAIN, DIGITS = 150, 60

#: A loss so much above the best is as good.
NEAR = 1.02

RECIPE = """
seed: {seed}
data: {{dir: {photos}}}
base: {{name: {base}, weights: {weights}, image_size: {size}}}
head: {{hidden: [64]}}
stages:
  - {{name: head, epochs: {head_epochs}, learning_rate: 1.0e-3}}
  - {{name: tuning, freeze_until: {boundary}, epochs: {tuning_epochs}, learning_rate: 1.0e-5}}
"""

BASES = {"VGG16": "block4_pool", "MobileNetV3Small": "expanded_conv_7_add"}


def copy_photos(source: Path, folder: Path) -> None:
    """The first training photos of each class, and all for validation."""
    for split, most in (("train", TRAIN), ("val", None)):
        for photo in (p for name in sorted((source / split).iterdir())
                      for p in sorted(name.iterdir())[:most]):  # fmt: skip
            target = folder / split / photo.parent.name / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, target)


def plan_cell(cell: str, photos: Path, weights: Path, size: int, cache: Path) -> Plan:
    """The plan of BASE-SET-SEED."""
    base, name, seed = cell.split("-")
    path = cache / f"{cell}.yaml"
    path.write_text(
        RECIPE.format(
            seed=seed, photos=photos / name, base=base, size=size, boundary=BASES[base],
            weights=weights if base == "VGG16" else "random", head_epochs=HEAD_EPOCHS,
            tuning_epochs=TUNING_EPOCHS,
        ),
        encoding="utf-8",
    )  # fmt: skip
    return make_plan(preflight(load_recipe(path), cache=cache, run=False))


def measure(plan: Plan, number: int) -> dict[str, Any]:
    """The tests of a stage, and the best validation loss at each rate of the grid."""
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    planned = plan.stages[number]
    train, val, cut = plan.index.of("train"), plan.index.of("val"), planned.cut.name
    cuts = [stage.cut.name for stage in plan.stages[: number + 1]]
    with open_store(network, plan.recipe, plan.cache, cuts) as opened:
        fill_store(network, plan.recipe, plan.index, opened)
        epochs = train_stages_before(network, plan, opened, number)
        feed = StoredFeed(network, plan.recipe, opened.all_rows, cut, train)
        judged = StoredFeed(network, plan.recipe, opened.all_rows, cut, val)
        position = Position(number, epochs)
        seeds = [plan.recipe.seed + i for i in range(3)]
        tests = sweep_rates(network, planned, plan.recipe, feed, position, seeds)
        variables = network.variables_above(cut)
        kept, grid = [variable.numpy() for variable in variables], {}
        for rate in TUNING_RATES if number else HEAD_RATES:
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)
            grid[f"{rate:.3g}"] = _loss_at(
                network, planned, plan, feed, judged, position, float(rate)
            )
    return {"tests": tests, "grid": grid, **machine()}


def _loss_at(
    network: Any, planned: Any, plan: Plan, feed: Any, judged: Any, position: Any, rate: float
) -> float | None:
    """The validation loss of the best epoch; None where the loss stops being a number."""
    from dataclasses import replace

    stage = planned.stage.model_copy(update={"learning_rate": rate, "schedule": Schedule()})
    try:
        outcome = run_stage(
            network, replace(planned, stage=stage), plan.recipe, feed, judged, position,
            SilentStage(),
        )  # fmt: skip
    except TlcliError:
        return None
    return outcome.best.val_loss


def judge(result: dict[str, Any]) -> dict[str, Any]:
    """The best rate of the grid, those near it, and how far the suggestions are from them."""
    losses = {float(rate): loss for rate, loss in result["grid"].items() if loss is not None}
    best = min(losses, key=lambda rate: losses[rate])
    near = [rate for rate, loss in losses.items() if loss <= NEAR * losses[best]]
    curve = join_tests(result["tests"])
    row: dict[str, Any] = {"best": best, "low": min(near), "high": max(near), "loss": losses[best]}
    for name, rate in (("valley", curve.valley()), ("steepest", curve.steepest())):
        row[name] = rate
        row[f"{name}_factor"] = None if rate is None else max(rate / best, best / rate)
        nearest = None if rate is None else min(losses, key=lambda r: abs(math.log(r / rate)))
        row[f"{name}_loss"] = None if nearest is None else losses[nearest]
    return row


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The cells as a table, and how many suggestions are within a factor of 3."""
    heads = ["cell", "best rate", "near", "val loss", "valley", "factor", "loss there",
             "steepest", "factor", "loss there"]  # fmt: skip
    lines = [line(heads), line(["---"] * len(heads))]
    for cell, row in rows.items():
        cells = [cell, f"{row['best']:.2g}", f"{row['low']:.2g} to {row['high']:.2g}",
                 f"{row['loss']:.4f}"]  # fmt: skip
        for name in ("valley", "steepest"):
            if row[name] is None:
                cells += ["-", "-", "-"]
            else:
                cells += [f"{row[name]:.2g}", f"{row[f'{name}_factor']:.1f}",
                          f"{row[f'{name}_loss']:.4f}"]  # fmt: skip
        lines.append(line(cells))
    for name in ("valley", "steepest"):
        factors = [row[f"{name}_factor"] for row in rows.values()]
        hits = sum(factor is not None and factor <= 3 for factor in factors)
        lines.append(f"\n{name}: within a factor of 3 of the best rate in {hits} of {len(rows)}")
    return lines


def main() -> None:
    """Measure every cell that has no result, and print the table of all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--photos", type=Path, required=True, help="the cats_dogs folder")
    options.add_argument("--weights", type=Path, required=True, help="of VGG16, without top")
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--cells", default="VGG16-cats_dogs-0,VGG16-digits-0,VGG16-cats_dogs-1,"
                         "VGG16-digits-1,MobileNetV3Small-digits-0,MobileNetV3Small-digits-1",
                         help="BASE-SET-SEED, both stages of each")  # fmt: skip
    options.add_argument("--results", type=Path, default=RESULTS)
    given = options.parse_args()
    folder = given.results / "find_lr"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    with scratch() as temporary:
        os.environ["TLCLI_RUNS"] = str(temporary / "runs")
        copy_photos(given.photos, temporary / "cats_dogs")
        digits(temporary / "digits", DIGITS)
        for cell in given.cells.split(","):
            for number, stage in enumerate(("head", "tuning")):
                path = folder / f"{cell}-{stage}.json"
                if not path.exists():
                    plan = plan_cell(
                        cell, temporary, given.weights.absolute(), given.size, temporary
                    )
                    path.write_text(json.dumps(measure(plan, number)), encoding="utf-8")
                rows[path.stem] = judge(json.loads(path.read_text(encoding="utf-8")))
                say(f"{path.stem}: {rows[path.stem]}")
    lines = table(rows)
    (given.results / "find_lr.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    say("\n".join(lines))


if __name__ == "__main__":
    main()
