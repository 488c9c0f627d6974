"""What `head.normalize` is worth with few and many photos: heads of several seeds side by side.

    python benchmarks/normalize.py --config cats_dogs.yaml --out DIR [--photos 40 200 700] \\
        [--seeds 5] [--set KEY=VALUE ...] [--cache-dir DIR]

The head stage of the recipe is trained on stored rows, with and without, by the stacked heads of
`tlcli tune`, which train as runs do within rounding. A seed decides weights, dropout, order and
which photos of a class are trained on; both variants have the same. `lbfgs` is the head without a
hidden layer that `solver: lbfgs` finds. Test photos are scored by the epoch with the least
validation loss; log loss and calibration error raw, and log loss after the temperature that is
fitted on the validation photos. Differences are paired, with the 95 % interval of Student's t.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import line, say
from techniques import paired

from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.networks.probabilities import class_logits
from tlcli.networks.temperature import fit_temperature, log_loss, log_probabilities
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import Stage
from tlcli.search.pooled_rows import PooledRows
from tlcli.search.stacked_heads import HeadOptions, HeadStack, HeadState
from tlcli.system import files, stateless_random
from tlcli.system.machine import use_one_thread
from tlcli.training import solver
from tlcli.training.order import epoch_order
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.standardize import Moments, measure_moments

Array = Any
MEASURES = ("accuracy", "log_loss", "calibration_error", "calibrated_log_loss")


@dataclass(frozen=True)
class Photos:
    """Pooled rows, float32 (views, n, features), and labels, (n,)."""

    rows: Array
    labels: Array

    def standardized(self, moments: Moments) -> Photos:
        """The rows after `moments`."""
        rows = (self.rows - moments.mean) / moments.spread
        return Photos(rows.astype(np.float32), self.labels)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", nargs="+", type=int, default=[40, 200, 700])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--cache-dir", type=Path)
    given = parser.parse_args()
    recipe = load_recipe(given.config, given.overrides)
    pooled = PooledRows(make_plan(preflight(recipe, cache=given.cache_dir, run=False)))
    plain = recipe.model_copy(update={"head": recipe.head.model_copy(update={"normalize": False})})
    sets = {split: read(pooled, plain, split) for split in ("train", "val")}
    sets["test"] = read(pooled, plain, "test")
    parts = []
    for count in given.photos:
        chosen = [choose(sets["train"].labels, count, seed) for seed in range(given.seeds)]
        variants = {
            "default": train(pooled, plain, sets, chosen, normalize=False),
            "normalize": train(pooled, plain, sets, chosen, normalize=True),
            "lbfgs": [solve(sets, kept, seed) for seed, kept in enumerate(chosen)],
        }
        parts += [f"{count} photos of a class", "", *table(variants), ""]
        say("\n".join(parts[-8:]))
    files.write_text(given.out, "\n".join(parts))


def read(pooled: PooledRows, recipe: Recipe, split: Any) -> Photos:
    """The photos of a split; the store has the rows of the test photos, too."""
    photos = pooled.photos(recipe, split)
    rows = photos.rows.numpy()
    return Photos(rows.reshape(-1, photos.n, rows.shape[-1]), photos.feed.labels)


def choose(labels: Array, count: int, seed: int) -> Array:
    """The positions of so many photos of each class, drawn by the seed, in order."""
    generator = np.random.default_rng([seed, count])
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([generator.permutation(c)[:count] for c in classes]))


def train(
    pooled: PooledRows, recipe: Recipe, sets: dict[str, Photos], chosen: Sequence[Array],
    *, normalize: bool,
) -> list[dict[str, float]]:  # fmt: skip
    """The scores of the head of each seed."""
    stage: Stage = recipe.stages[0]
    views, n, width = sets["train"].rows.shape
    lanes = []
    for kept in chosen:
        moments = measure_moments([sets["train"].rows[:, kept].reshape(-1, width)])
        if not normalize:
            moments = Moments(0, np.zeros(width), np.ones(width))
        lanes.append({name: photos.standardized(moments) for name, photos in sets.items()})
    # Each seed has rows of its own, which follow each other.
    rows = np.concatenate([lane["train"].rows.reshape(-1, width) for lane in lanes])
    labels = np.tile(sets["train"].labels, views * len(lanes))
    seeds = [recipe.model_copy(update={"seed": seed}) for seed in range(len(chosen))]
    states = [HeadState.of(pooled.new_head(s), len(recipe.head.hidden)) for s in seeds]
    options = [HeadOptions.of(recipe.head, 0.0, (1.0,) * (labels.max() + 1))] * len(chosen)
    stack = HeadStack(states, options, stage.optimizer, rows, labels)
    best: list[tuple[float, HeadState]] = [(np.inf, state) for state in states]
    rates = np.full(len(chosen), stage.learning_rate, np.float32)
    for epoch in range(stage.epochs):
        order = [_rows_of_epoch(seed, epoch, kept, n, views) for seed, kept in enumerate(chosen)]
        shown = np.stack(order)
        for start in range(0, shown.shape[1], recipe.batch_size):
            stack.train_step(shown[:, start : start + recipe.batch_size], rates)
        stack.take_means()
        for k, lane in enumerate(lanes):
            state = stack.state(k)
            loss = log_loss(logits_of(state, lane["val"]), lane["val"].labels)
            if loss < best[k][0]:
                best[k] = (loss, state)
    return [
        judge(*(logits_of(state, lane[name]) for name in ("val", "test")), sets)
        for (_, state), lane in zip(best, lanes, strict=True)
    ]


def _rows_of_epoch(seed: int, epoch: int, kept: Array, n: int, views: int) -> Array:
    """The rows that a seed shows in an epoch, in order, as `training.order` has it."""
    generator = stateless_random.make_generator("views", seed, epoch // views)
    shown = generator.random((len(kept), views)).argsort(axis=1)[:, epoch % views]
    order = epoch_order(seed, 0, epoch, len(kept))
    return seed * views * n + shown[order] * n + kept[order]


def logits_of(state: HeadState, photos: Photos) -> Array:
    """The logits of photos as they are, (n, classes)."""
    x = photos.rows[0].astype(np.float64)
    pairs = list(zip(state.weights[::2], state.weights[1::2], strict=True))
    for kernel, bias in pairs[:-1]:
        x = np.maximum(x @ kernel + bias, 0)
    return class_logits(x @ pairs[-1][0] + pairs[-1][1])


def solve(sets: dict[str, Photos], kept: Array, seed: int) -> dict[str, float]:
    """The scores of the head that `solver: lbfgs` finds."""
    width = sets["train"].rows.shape[-1]
    moments = measure_moments([sets["train"].rows[:, kept].reshape(-1, width)])
    train_set = sets["train"].standardized(moments)
    labels = train_set.labels[kept]
    rows = solver.Rows(train_set.rows[:, kept].astype(np.float64), labels, np.ones(len(kept)))
    with use_one_thread():
        strength = solver.choose_penalty(rows, [str(k) for k in kept], seed).strength
        kernel, bias = solver.fit(rows, strength)
    state = HeadState((kernel, bias), np.zeros(2, np.int64))
    logits = [logits_of(state, sets[name].standardized(moments)) for name in ("val", "test")]
    return judge(*logits, sets)


def judge(val: Array, test: Array, sets: dict[str, Photos]) -> dict[str, float]:
    """What the test photos say."""
    temperature, truth = fit_temperature(val, sets["val"].labels), sets["test"].labels
    raw = np.exp(log_probabilities(test))
    return {
        "accuracy": float((test.argmax(axis=1) == truth).mean()),
        "log_loss": log_loss(test, truth),
        "calibration_error": expected_calibration_error(raw, truth),
        "calibrated_log_loss": log_loss(test, truth, temperature),
    }


def table(variants: dict[str, list[dict[str, float]]]) -> list[str]:
    """A line for each variant: means over seeds, and differences to the first."""
    first = variants["default"]
    heads = [part for name in MEASURES for part in (name.replace("_", " "), "difference")]
    lines = [line(["head", *heads]), line(["---"] * (1 + len(heads)))]
    for variant, results in variants.items():
        cells = [variant]
        for name in MEASURES:
            values, base = ([scores[name] for scores in each] for each in (results, first))
            mean, half = paired(values, base)
            cells += [f"{np.mean(values):.4f}"]
            cells += ["" if results is first else f"{mean:+.4f} ± {half:.4f}"]
        lines.append(line(cells))
    return lines


if __name__ == "__main__":
    main()
