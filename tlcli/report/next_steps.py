"""What is said at the end of a command: how it went, and what a user would do next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from tlcli.errors import TlcliError
from tlcli.report.run_data import RunData, read_run_data
from tlcli.report.verdict import MeasuredAccuracy, PhotoKind, Verdict, judge_run
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation
from tlcli.runs.root import is_root_chosen
from tlcli.system import console
from tlcli.system.tones import Tone


def name_run(run: Run) -> list[str]:
    """The words that name a run on a command line: none where it is the latest anyway."""
    latest = directory.latest_path(directory.runs_root())
    if latest == run.path.resolve() and not is_root_chosen():
        return []
    return ["--run", os.path.relpath(run.path)]


def conclude_training(run: Run) -> None:
    """Print the verdict on a run that has just been trained, and the next step, as notes."""
    try:
        data = read_run_data(run)
    except TlcliError:  # its files were changed meanwhile; whoever reads them will say it
        return
    console.note("")
    print_verdict(judge_run(data))
    for sentence in _unfinished_stages(data):
        console.note(sentence, "doubtful")
    if data.parent is not None:
        then, now = os.path.relpath(data.parent.path), os.path.relpath(run.path)
        console.next_step("tlcli", "compare", then, now)
        return
    console.next_step("tlcli", "evaluate", *name_run(run))  # which the report builds on


def print_verdict(verdict: Verdict, most: int | None = None) -> None:
    """Print the sentences of a verdict as notes, or the first so many; the first is coloured."""
    first, *others = verdict.sentences()[:most]
    console.note(first, "good" if verdict.pleasing else "doubtful")
    for sentence in others:
        console.note(sentence)


def conclude_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Print the verdict on the answers to some photos, and the next step, as notes."""
    if evaluation.split == "train":  # a warning has said that these numbers mean nothing
        return
    kind = evaluation.split if evaluation.split in ("val", "test") else "other"
    network = None
    if evaluation.n:
        network = MeasuredAccuracy("this network", evaluation.right, evaluation.n)
    verdict = Verdict(
        cast(PhotoKind, kind), network, evaluation.majority, (), None, evaluation.seen_in_training
    )
    print_verdict(verdict, 2)
    if kind != "other":  # of which a report shows the mistakes
        console.next_step("tlcli", "report", "--explain", *name_run(run))


def conclude_explanations(value: dict[str, Any], model: Path | None) -> None:
    """Say how the heat maps of `tlcli explain` are read, and what comes next.

    `model` is the file of the network that was explained; None for a base.
    """
    cold = sum(photo.get("hottest", True) is None for photo in value["photos"])
    if cold:
        photos = console.counted(cold, "photo")
        console.note(f"Nothing at this layer supports the class in {photos}.", "doubtful")
    console.note("The warmer a region, the more it speaks for the class below the photo.")
    if model is not None and model.name == directory.MODEL and Run(model.parent).finished:
        run = Run(model.parent)
        console.next_step("tlcli", "report", "--explain", *name_run(run))


def _unfinished_stages(data: RunData) -> Iterator[str]:
    """Stages that were still getting better when they ended."""
    for number, (planned, result) in enumerate(
        zip(data.recipe.stages, data.outcome.stages, strict=False)
    ):
        if result.best_epoch == result.epochs == planned.epochs > 1:
            # Of a run that started from another, the stages are not numbered as in its recipe.
            setting = f" (--set stages.{number}.epochs={2 * planned.epochs})"
            yield (
                f"The best epoch of stage '{planned.name}' was its last one: with more epochs it "
                f"may do better{'' if data.parent else setting}."
            )


def describe_readiness(severities: Sequence[str]) -> str:
    """Whether a recipe can be trained, from what `check` has found: 'ready: 2 warnings'."""
    counts = [
        console.counted(severities.count(severity), severity)
        for severity in ("error", "warning")
        if severity in severities
    ]
    ready = "not ready" if "error" in severities else "ready"
    return f"{ready}: {' and '.join(counts)}" if counts else ready


def print_readiness(severities: Sequence[str]) -> None:
    """Print as a result whether a recipe can be trained."""
    tone: Tone = "error" if "error" in severities else "good"
    console.result(
        describe_readiness(severities),
        "doubtful" if tone == "good" and "warning" in severities else tone,
    )


def suggest_command(name: str, config: Path, overrides: Iterable[str]) -> None:
    """Name a command about a recipe as the next step."""
    settings = [word for text in overrides for word in ("--set", text)]
    if config.absolute().is_relative_to(Path.cwd()):
        config = config.absolute().relative_to(Path.cwd())
    console.next_step("tlcli", name, "--config", config, *settings)
