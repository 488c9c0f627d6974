"""What is said at the end of a command: how it went, and what a user would do next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tlcli.errors import TlcliError
from tlcli.report.run_data import RunData, read_run_data
from tlcli.report.verdict import judge_run
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console


def name_run(run: Run) -> list[str]:
    """The words that name a run on a command line: none where it is the latest anyway."""
    if directory.latest_path(directory.runs_root()) == run.path.resolve():
        return []
    return ["--run", os.path.relpath(run.path)]


def conclude_training(run: Run) -> None:
    """Print the verdict on a run that has just been trained, and the next step, as notes."""
    try:
        data = read_run_data(run)
    except TlcliError:  # its files were changed meanwhile; whoever reads them will say it
        return
    console.note("")
    for sentence in [*judge_run(data).sentences(), *_unfinished_stages(data)]:
        console.note(sentence)
    console.next_step("tlcli", "evaluate", *name_run(run))  # which the report builds on


def _unfinished_stages(data: RunData) -> Iterator[str]:
    """Stages that were still getting better when they ended."""
    for number, (planned, result) in enumerate(
        zip(data.recipe.stages, data.outcome.stages, strict=False)
    ):
        if result.best_epoch == result.epochs == planned.epochs > 1:
            setting = f"--set stages.{number}.epochs={2 * planned.epochs}"
            yield (
                f"The best epoch of stage '{planned.name}' was its last one: with more epochs it "
                f"may do better ({setting})."
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


def suggest_command(name: str, config: Path, overrides: Iterable[str]) -> None:
    """Name a command about a recipe as the next step."""
    settings = [word for text in overrides for word in ("--set", text)]
    if config.absolute().is_relative_to(Path.cwd()):
        config = config.absolute().relative_to(Path.cwd())
    console.next_step("tlcli", name, "--config", config, *settings)
