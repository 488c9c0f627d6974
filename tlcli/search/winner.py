"""Is the winner of a search better than the recipe it began with, or only lucky?

The best of many trials looks better than it is: it was chosen for the validation photos, and for
the luck of its seed. So default and winner are trained again under seeds that no trial has used,
the same ones for both, and are compared seed by seed. Then each is trained once as a complete run,
and these two are scored on the test photos, which nothing has looked at before, and compared photo
by photo.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlcli.evaluation.compare import RunComparison, compare
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import with_settings
from tlcli.runs import directory, fingerprints
from tlcli.runs.directory import Run
from tlcli.runs.resume import RunRequest
from tlcli.search.trial_training import TrialOutcome, TrialTask, TrialTrainer
from tlcli.system import console
from tlcli.training.train import train


@dataclass(frozen=True)
class SeedScores:
    """A recipe under other seeds: loss and accuracy of the validation photos, seed by seed."""

    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Values with their means."""
        return {
            name: {"values": list(values), "mean": statistics.fmean(values) if values else None}
            for name, values in asdict(self).items()
        }


@dataclass(frozen=True)
class FinalComparison:
    """The recipe that the search began with, and its winner.

    Attributes:
        seeds: those under which both were repeated.
        default, winner: their scores under these seeds.
        split: the photos of `tested`: test, or val where there are no test photos.
        tested: the complete run of each on these photos.
    """

    seeds: tuple[int, ...]
    default: SeedScores
    winner: SeedScores
    split: str
    tested: RunComparison


def compare_with_default(
    trainer: TrialTrainer, folder: Path, default: Recipe, winner: Recipe, number: int, seeds: int
) -> FinalComparison:
    """Train the default and the winner, the trial of this number, again; score a run of each."""
    chosen = [(default.seed + 1 + number) % 2**31 for number in range(seeds)]
    scores = _repeat(trainer, folder, {"default": default, f"trial-{number}": winner}, chosen)
    runs = []
    for name, recipe in ((directory.DEFAULT_RUN, default), (directory.WINNER_RUN, winner)):
        run = Run(folder / name)
        plan = trainer.plan_of(recipe)
        other = run.closed and fingerprints.differences(run, recipe, plan.index)
        if other or not run.closed:  # a study that goes on may have another winner
            console.note(f"\n{name}: one complete run")
            train(plan, RunRequest(out=run.path, force=bool(other)), latest=False)
        runs.append(run)
    split = "test" if trainer.plan.index.of("test") else "val"
    tested = compare(runs[0], runs[1], split)
    return FinalComparison(tuple(chosen), scores[0], scores[1], split, tested)


def _repeat(
    trainer: TrialTrainer, folder: Path, recipes: dict[str, Recipe], seeds: Sequence[int]
) -> list[SeedScores]:
    tasks = {
        (name, seed): TrialTask(
            with_settings(recipe, {("seed",): seed}),
            folder / directory.SEEDS / f"{name}-{seed}",
        )
        for name, recipe in recipes.items()
        for seed in seeds
    }
    names = {task.folder: key for key, task in tasks.items()}
    outcomes: dict[tuple[str, int], TrialOutcome] = {}
    if seeds:
        console.note(f"\ndefault and winner under {console.counted(len(seeds), 'other seed')}")
    with console.progress(len(tasks), "repetitions", "trainings") as bar:
        for task, outcome in trainer.train(list(tasks.values())):
            outcomes[names[task.folder]] = outcome
            bar.update(1)
    scores = []
    for name in recipes:
        of_seeds = [outcomes[name, seed] for seed in seeds]
        whole = [o for o in of_seeds if o.val_loss is not None and o.val_accuracy is not None]
        scores.append(
            SeedScores(
                tuple(float(o.val_loss or 0) for o in whole),
                tuple(float(o.val_accuracy or 0) for o in whole),
            )
        )
    return scores
