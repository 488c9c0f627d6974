"""Trains the trials of a search: heads side by side where they can be, all others as runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.errors import RunError, TlcliError
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory, fingerprints
from tlcli.runs.directory import Run
from tlcli.runs.metrics import read_metrics, write_metrics
from tlcli.runs.records import Epoch, StageResult, Summary, validate_record
from tlcli.runs.resume import RunRequest
from tlcli.runs.study_records import TrialRecord, TrialState
from tlcli.search.head_trials import HeadTrial, stack_key, train_side_by_side
from tlcli.search.pooled_rows import PooledRows
from tlcli.search.stackable import can_stack
from tlcli.system import files
from tlcli.training import saving
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import Preflight
from tlcli.training.train import train


@dataclass(frozen=True)
class TrialTask:
    """A recipe to train.

    Attributes:
        folder: the directory of its run.
        prunes: whether it is to be given up after these epochs.
    """

    recipe: Recipe
    folder: Path
    prunes: Callable[[Sequence[Epoch]], bool] = lambda epochs: False


@dataclass(frozen=True)
class TrialOutcome:
    """What a task came to; `together` tells whether it was trained beside others."""

    state: TrialState
    epochs: tuple[Epoch, ...]
    stages: tuple[StageResult, ...]
    together: bool
    message: str = ""

    @property
    def val_loss(self) -> float | None:
        """That of the best epoch of the last stage."""
        return self.stages[-1].val_loss if self.stages else None

    @property
    def val_accuracy(self) -> float | None:
        """That of the best epoch of the last stage."""
        return self.stages[-1].val_accuracy if self.stages else None


class _PrunedTrial(Exception):
    """Raised by the observer of a run to end it."""


class TrialTrainer:
    """Trains tasks over the photos and weights of one preflight.

    Attributes:
        passes: images that went through the trunk for trials of heads.
    """

    def __init__(self, checked: Preflight, plan: Plan) -> None:
        self._checked, self._plan = checked, plan
        self._rows: PooledRows | None = None

    @property
    def passes(self) -> int:
        """Images that went through the trunk, since the store lacked their rows."""
        return self._rows.passes if self._rows else 0

    @property
    def plan(self) -> Plan:
        """The plan of the search, with the photos that could be read."""
        return self._rows.plan if self._rows else self._plan

    def train(self, tasks: Sequence[TrialTask]) -> Iterator[tuple[TrialTask, TrialOutcome]]:
        """Train tasks; each comes back with its outcome as soon as that is known."""
        stacks: dict[object, list[tuple[TrialTask, HeadTrial]]] = {}
        alone: list[TrialTask] = []
        for task in tasks:
            if not can_stack(task.recipe, self._plan):
                alone.append(task)
                continue
            planned = self.plan_of(task.recipe)
            trial = HeadTrial(planned.recipe, planned.stages, task.prunes)
            stacks.setdefault(stack_key(trial), []).append((task, trial))
        for members in stacks.values():
            train_side_by_side(self._pooled(), [trial for _, trial in members])
            yield from ((task, _outcome(trial)) for task, trial in members)
        for task in alone:
            yield task, self._train_alone(task)

    def record(self, task: TrialTask, outcome: TrialOutcome, record: TrialRecord) -> None:
        """Keep a trial as a run; one that was trained beside others without a model."""
        run = Run(task.folder)
        if outcome.together:
            rows, index = self._pooled(), self.plan.index
            files.make_folder(run.path)
            like = Run(task.folder.parents[1] / directory.STUDY_INPUTS)
            fingerprints.record_inputs(run, task.recipe, index)
            _share_file(like.file(directory.SPLIT), run.file(directory.SPLIT))
            saving.record_circumstances(
                run, dict(rows.weights), deterministic=task.recipe.deterministic
            )
            write_metrics(run, outcome.epochs)
            if outcome.stages:
                summary = Summary(stages=outcome.stages)
                files.write_json(run.file(directory.SUMMARY), summary.model_dump())
        if run.file(directory.RECORD).exists():
            values = {**run.record(), directory.TRIAL: record.model_dump()}
            files.write_json(run.file(directory.RECORD), values)

    def plan_of(self, recipe: Recipe) -> Plan:
        """The plan of a trial; raises a `TlcliError` where it has no room."""
        return make_plan(replace(self._checked, recipe=recipe, index=self.plan.index))

    def _pooled(self) -> PooledRows:
        if self._rows is None:
            self._rows = PooledRows(self._plan)
        return self._rows

    def _train_alone(self, task: TrialTask) -> TrialOutcome:
        """Train a task as a run, which goes on where it was stopped; no test photo is scored."""
        run, judged = Run(task.folder), 0
        epochs: tuple[Epoch, ...] = ()

        def observe(so_far: Sequence[Epoch]) -> None:
            nonlocal judged, epochs
            # Every epoch is asked about, those before a stop as well.
            while judged < len(so_far):
                judged += 1
                epochs = tuple(so_far[:judged])
                if task.prunes(epochs):
                    raise _PrunedTrial

        try:
            if run.closed:
                summary = validate_record(
                    run.file(directory.SUMMARY), run.read(directory.SUMMARY), Summary
                )
                return TrialOutcome("complete", read_metrics(run), summary.stages, together=False)
            files.make_folder(task.folder.parent)
            trained = train(
                self.plan_of(task.recipe), RunRequest(out=task.folder), latest=False,
                trial=observe,
            )  # fmt: skip
        except _PrunedTrial:
            shutil.rmtree(run.file(directory.CHECKPOINTS), ignore_errors=True)
            return TrialOutcome("pruned", epochs, (), together=False)
        except RunError as error:
            return TrialOutcome("failed", epochs, (), together=False, message=_first_line(error))
        stages = trained.summary.stages
        return TrialOutcome("complete", read_metrics(run), stages, together=False)


def _outcome(trial: HeadTrial) -> TrialOutcome:
    stages = tuple(stage.result(None) for stage in trial.stages)
    state: TrialState = "failed" if trial.failure else "pruned" if trial.pruned else "complete"
    return TrialOutcome(state, tuple(trial.epochs), stages, together=True, message=trial.failure)


def _first_line(error: TlcliError) -> str:
    return str(error.problems[0])


def _share_file(source: Path, copy: Path) -> None:
    """Have `copy`, a file of the same contents, take no room of its own where that is possible."""
    with suppress(OSError):
        if source.read_bytes() == copy.read_bytes():
            temporary = copy.with_name(f".{copy.name}.tmp-link")
            temporary.unlink(missing_ok=True)
            os.link(source, temporary)
            temporary.replace(copy)
