"""What kept views buy: test accuracy and seconds for some numbers of views, and for live ones.

    python benchmarks/views.py --config cats_dogs.yaml --out DIR \\
        [--views 1 2 4 8 live] [--seeds 7 8 9] [--epochs 30] [--set KEY=VALUE ...]

Trains the head stage of a recipe for every number of views and every training seed, and scores the
best epoch on the test photos. Live views are a function of (augment.seed, photo, epoch) alone, so
the views that the first seed shows serve the other seeds: they are kept in the store here, one for
each epoch, and every epoch shows its own.

Writes `views.json` after every training and goes on where it was cut off; then `views.md`, a table,
and `views.png`. Seconds of the trunk are passes times the seconds of one, measured while rows are
computed; what the store already had costs nothing and teaches nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.features import addresses, extraction
from tlcli.features.open_store import open_store
from tlcli.images import loader
from tlcli.recipe.load import load_recipe
from tlcli.runs.records import Epoch
from tlcli.system import console, files
from tlcli.training.batches import StoredFeed
from tlcli.training.kept_weights import Snapshot
from tlcli.training.loop import run_stage
from tlcli.training.order import Position
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network
from tlcli.training.step import Scorer

RESULTS, TABLE, PLOT = "views.json", "views.md", "views.png"


@dataclass(frozen=True)
class Wanted:
    """What to measure."""

    config: Path
    out: Path
    views: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    overrides: tuple[str, ...] = ()
    cache: Path | None = None


def main() -> None:
    """Measure what is missing, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", nargs="+", default=["1", "2", "4", "8", "live"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--cache-dir", type=Path)
    given = parser.parse_args()
    wanted = Wanted(
        given.config, given.out, tuple(given.views), tuple(given.seeds), given.epochs,
        tuple(given.overrides), given.cache_dir,
    )  # fmt: skip
    measured = measure(wanted)
    files.write_text(wanted.out / TABLE, table(measured))
    plot(measured, wanted.out / PLOT)
    print(table(measured))


def measure(wanted: Wanted) -> dict[str, Any]:
    """The contents of `views.json`, complete."""
    wanted.out.mkdir(parents=True, exist_ok=True)
    path = wanted.out / RESULTS
    settings = {
        "config": wanted.config.name,
        "recipe": load_recipe(wanted.config, wanted.overrides).fingerprint(),
        "epochs": wanted.epochs,
        "set": [*wanted.overrides],
    }
    measured: dict[str, Any] = {"settings": settings, "runs": {}, "seconds_per_pass": []}
    if path.exists():
        measured = json.loads(path.read_text(encoding="utf-8"))
        if measured["settings"] != settings:
            raise SystemExit(f"{path} was measured with other settings; name another --out")
    for views in wanted.views:
        for seed in wanted.seeds:
            key = f"{views}/{seed}"
            if key not in measured["runs"]:
                console.note(f"views {views}, seed {seed}")
                result, seconds = train_once(wanted, views, seed)
                measured["runs"][key] = result
                measured["seconds_per_pass"] += seconds
                files.write_json(path, measured)
    return measured


class EpochFeed(StoredFeed):
    """Live views from the store: epoch e shows view e + 1 of every photo, as `LiveFeed` does."""

    def views(self, seed: int, epoch: int) -> Any:
        """See `Feed`."""
        return np.full(len(self.labels), epoch + 1)


class NoListener:
    """The `loop.Listener` of a stage that need not survive its process."""

    def keep(self, snapshot: Snapshot) -> None:
        """Nothing: the stage is not going to be resumed."""

    def report(self, epoch: Epoch) -> None:
        """Nothing: what is measured are whole stages."""


def train_once(wanted: Wanted, views: str, seed: int) -> tuple[dict[str, Any], list[float]]:
    """Train one head; what it came to, and the seconds of a pass if any was needed."""
    live = views == "live"
    kept = wanted.epochs if live else int(views)
    stages = f"stages=[{{name: head, epochs: {wanted.epochs}, learning_rate: 1.0e-3}}]"
    chosen = load_recipe(
        wanted.config, [*wanted.overrides, f"seed={seed}", f"augment.views={kept}", stages]
    )
    made = make_plan(preflight(chosen, cache=wanted.cache, run=False))
    (planned,) = made.stages
    network = load_network(chosen, made.source, len(made.index.classes))
    cut, items = planned.cut.name, made.index.of("train")
    val, test = made.index.of("val"), made.index.of("test")
    with open_store(network, chosen, made.cache, [cut]) as opened:
        needed = addresses.views_of(made.index.items, made.recipe.augment, kept)
        report = extraction.extract(network, chosen, needed, opened.rows, opened.sources)
        place = (network, chosen, opened.all_rows, cut)
        feed = (EpochFeed if live else StoredFeed)(*place, items, kept)
        val_feed = StoredFeed(*place, val) if val else None
        outcome = run_stage(network, planned, chosen, feed, val_feed, Position(0, 0), NoListener())
        score = Scorer(network, cut).score(StoredFeed(*place, test))
    results = {
        "test_accuracy": score.accuracy,
        "test_loss": score.loss,
        "test_photos": score.n,
        "best_epoch": outcome.best.epoch,
        "training_seconds": round(outcome.seconds, 2),
        "passes": len(items) * (wanted.epochs if live else 1 + kept),
    }
    # A handful of images says little, and the first batch compiles.
    seconds = [report.seconds / report.images] if report.images >= 2 * loader.BATCH_SIZE else []
    return results, seconds


def rows_of(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """One summary for each number of views, in the order of measuring."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for key, result in measured["runs"].items():
        grouped.setdefault(key.partition("/")[0], []).append(result)
    per_pass = statistics.median(measured["seconds_per_pass"] or [float("nan")])
    return [
        {
            "views": views,
            "accuracies": [result["test_accuracy"] for result in runs],
            "passes": runs[0]["passes"],
            "trunk_seconds": runs[0]["passes"] * per_pass,
            "training_seconds": statistics.median(result["training_seconds"] for result in runs),
        }
        for views, runs in grouped.items()
    ]


def table(measured: dict[str, Any]) -> str:
    """The measurement as a Markdown table."""
    lines = [
        "| views | test accuracy | lowest to highest | trunk passes | trunk | training |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows_of(measured):
        accuracies = row["accuracies"]
        seconds = row["trunk_seconds"]
        trunk = "not measured" if np.isnan(seconds) else console.duration(seconds)
        lines.append(
            f"| {row['views']} | {statistics.mean(accuracies):.4f} | {min(accuracies):.4f} to "
            f"{max(accuracies):.4f} | {row['passes']:,} | {trunk} | "
            f"{console.duration(row['training_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def plot(measured: dict[str, Any], path: Path) -> None:
    """Accuracy and time for each number of views, as a PNG."""
    from matplotlib.figure import Figure

    rows = rows_of(measured)
    places, names = range(len(rows)), [row["views"] for row in rows]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    accuracy, seconds = figure.subplots(1, 2)
    for place, row in zip(places, rows, strict=True):
        accuracy.plot([place] * len(row["accuracies"]), row["accuracies"], "o", color="0.6")
    means = [statistics.mean(row["accuracies"]) for row in rows]
    accuracy.plot(places, means, "_", color="black", markersize=16, label="mean")
    accuracy.set(ylabel="test accuracy")
    accuracy.legend()
    _bars(seconds, places, rows)
    for axes in (accuracy, seconds):
        axes.set(xticks=places, xticklabels=names, xlabel="views")
        axes.spines[["top", "right"]].set_visible(False)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _bars(axes: Any, places: Sequence[int], rows: list[dict[str, Any]]) -> None:
    trunk = np.nan_to_num([row["trunk_seconds"] / 60 for row in rows])
    training = [row["training_seconds"] / 60 for row in rows]
    axes.bar(places, trunk, color="0.75", label="trunk, once for all seeds")
    axes.bar(places, training, bottom=trunk, color="black", label="training")
    axes.set(ylabel="minutes")
    axes.legend()


if __name__ == "__main__":
    main()
