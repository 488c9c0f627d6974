"""How a search goes, act by act: from a plan to a winner that has been tested."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tlcli.errors import Problem, RunError, brief
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import with_settings
from tlcli.runs import directory, fingerprints
from tlcli.runs.directory import Run
from tlcli.runs.records import Epoch, Summary, validate_record
from tlcli.runs.study_records import TrialRecord, TrialScore, TrialState, read_trial_record
from tlcli.search.search_plan import SearchPlan, check_settings
from tlcli.search.study import PlannedTrial, Study, TrialBatch
from tlcli.search.study_folder import open_study
from tlcli.search.trial_training import TrialOutcome, TrialTask, TrialTrainer
from tlcli.search.winner import FinalComparison, compare_with_default
from tlcli.system import console, files, locks, signals
from tlcli.system.yamlfile import parse_key
from tlcli.training.plan import choose_precision

_STATES: dict[TrialState, OptunaState] = {
    "complete": OptunaState.COMPLETE, "pruned": OptunaState.PRUNED, "failed": OptunaState.FAIL
}  # fmt: skip


@dataclass(frozen=True)
class SearchOutcome:
    """A finished search.

    Attributes:
        trials: all of them, in the order of their numbers.
        best: the winner.
        recipe: that of the winner, with all stages of the user's recipe.
        comparison: None where the search was to end with the trials.
        passes: images that this process sent through the trunk for trials of heads.
        seconds: of the trials and of the comparison, in this process.
    """

    plan: SearchPlan
    study: Study
    trials: tuple[TrialScore, ...]
    best: TrialScore
    recipe: Recipe
    comparison: FinalComparison
    passes: int
    seconds: dict[str, float]


def search(plan: SearchPlan, folder: Path, minutes: float | None = None) -> SearchOutcome:
    """Train the trials that are missing in the study in `folder`, then judge the winner.

    What is finished stays: the same call goes on after a stop, a kill or a longer `plan.trials`,
    and several processes may make it at once. After `minutes` no other batch of trials is begun.
    Raises a `TlcliError` where the folder is that of another study, or where no trial succeeded.
    """
    started = time.monotonic()
    with signals.defer():
        plan = _with_one_precision(plan, folder)
        study = open_study(folder, plan)
        trainer = TrialTrainer(plan.checked, plan.plan)
        _train_trials(plan, study, trainer, None if minutes is None else started + 60 * minutes)
        trained = time.monotonic()
        trials = tuple(_score(study, trial) for trial in study.trials if trial.state.is_finished())
        best = _find_best(plan, study, trials)
        claim = folder / directory.STUDY_CLAIMS / "comparison"
        files.make_folder(claim)
        with locks.lock_folder(claim, waiting="it is comparing the winner"):
            recipe = plan.recipe_of(best.settings)
            comparison = compare_with_default(
                trainer, folder, plan.base, recipe, best.number, plan.seeds
            )
        seconds = {"trials": trained - started, "comparison": time.monotonic() - trained}
    return SearchOutcome(
        plan, study, trials, best, _whole_recipe(plan, best.settings), comparison,
        trainer.passes, {act: round(value, 2) for act, value in seconds.items()},
    )  # fmt: skip


def _with_one_precision(plan: SearchPlan, folder: Path) -> SearchPlan:
    """The search with one precision for all trials: that of the study, if it has begun."""
    if not plan.base.chooses_precision:
        return plan
    base, inputs = plan.base, Run(folder / directory.STUDY_INPUTS)
    if inputs.file(directory.RECIPE).is_file():
        base = fingerprints.in_precision_of(inputs, base)
    else:
        base = base.with_precision(choose_precision(plan.plan).recipe.precision)
    widest = plan.plan.recipe.with_precision(base.precision)
    return replace(
        plan,
        checked=replace(plan.checked, recipe=base),
        plan=replace(plan.plan, recipe=widest),
    )


def _train_trials(
    plan: SearchPlan, study: Study, trainer: TrialTrainer, deadline: float | None
) -> None:
    before = study.count_finished()
    if before:
        console.note(f"going on with {study.folder}: {console.counted(before, 'trial')} finished")
    with console.progress(plan.trials, "search", "trials") as bar:
        bar.update(min(before, plan.trials))
        while True:
            late = deadline is not None and time.monotonic() > deadline
            with study.claim_batch(plan.trials, start=not late) as batch:
                if batch is None:
                    break
                _train_batch(plan, study, trainer, batch, bar)
            signals.raise_if_interrupted()


def _train_batch(
    plan: SearchPlan, study: Study, trainer: TrialTrainer, batch: TrialBatch, bar: console.Progress
) -> None:
    """Train the trials of a batch. Those that are finished already are trained beside the others
    once more, so that after a stop the sums of a stack are added in the same order as without."""
    prunes = study.pruner(batch)
    tasks: dict[Path, PlannedTrial] = {}
    work: list[TrialTask] = []
    for trial in batch.trials:
        path = study.folder / directory.TRIALS / f"{trial.number:04d}"
        recipe = check_settings(plan, trial.settings)
        if isinstance(recipe, str):
            study.finish(trial.number, (), OptunaState.FAIL)
            console.warn(f"trial {trial.number}: {recipe}")
            bar.update(1)
            continue
        tasks[path] = trial

        def prune(epochs: Sequence[Epoch]) -> bool:
            return prunes(_curve(epochs, plan.objective))

        work.append(TrialTask(recipe, path, prune))
    for task, outcome in trainer.train(work):
        trial = tasks[task.folder]
        if not trial.finished:
            _keep(plan, study, trainer, trial, task, outcome)
            console.note(_trial_line(plan, study, trial, outcome))
            bar.update(1)


def _keep(
    plan: SearchPlan, study: Study, trainer: TrialTrainer, trial: PlannedTrial, task: TrialTask,
    outcome: TrialOutcome,
) -> None:  # fmt: skip
    record = TrialRecord(
        number=trial.number, state=outcome.state, settings=trial.settings,
        together=outcome.together, message=outcome.message,
    )  # fmt: skip
    # The run first: a trial that the journal has as finished is all there.
    trainer.record(task, outcome, record)
    value = outcome.val_loss if plan.objective == "val_loss" else outcome.val_accuracy
    curve = _curve(outcome.epochs, plan.objective)
    study.finish(
        trial.number, curve, _STATES[outcome.state], value if outcome.state == "complete" else None
    )


def _curve(epochs: Sequence[Epoch], objective: str) -> list[float]:
    return [float(getattr(epoch, objective)) for epoch in epochs]


def _trial_line(plan: SearchPlan, study: Study, trial: PlannedTrial, outcome: TrialOutcome) -> str:
    line = f"  trial {trial.number}: "
    if outcome.state == "failed":
        line += f"failed: {outcome.message}"
    elif outcome.state == "pruned":
        line += f"pruned after epoch {len(outcome.epochs)}"
    else:
        line += f"val_loss {outcome.val_loss:.4f}, val_accuracy {outcome.val_accuracy:.4f}"
    line += f"  ({describe_settings(trial.settings)})"
    complete = [t for t in study.trials if t.state == OptunaState.COMPLETE]
    if complete:
        leader = study.optuna_study.best_trial
        line += f"; best so far: trial {leader.number}, {plan.objective} {leader.value:.4f}"
    return line


def describe_settings(settings: Mapping[str, Any]) -> str:
    """The settings of a trial on one line."""
    shown = (f"{v:.3g}" if isinstance(v, float) else brief(v) for v in settings.values())
    return ", ".join(f"{name} {value}" for name, value in zip(settings, shown, strict=True))


def _score(study: Study, trial: FrozenTrial) -> TrialScore:
    """A trial with its scores, from the record of its run."""
    run = Run(study.folder / directory.TRIALS / f"{trial.number:04d}")
    settings = study.settings_of(trial)
    state = next(name for name, of_optuna in _STATES.items() if of_optuna == trial.state)
    epochs = len(trial.intermediate_values)
    record = read_trial_record(run) if run.file(directory.RECORD).exists() else None
    message = record.message if record else ""
    if not run.file(directory.SUMMARY).exists():
        return TrialScore(
            number=trial.number, state=state, settings=settings, epochs=epochs, message=message
        )
    path = run.file(directory.SUMMARY)
    last = validate_record(path, run.read(directory.SUMMARY), Summary).stages[-1]
    return TrialScore(
        number=trial.number, state=state, settings=settings, val_loss=last.val_loss,
        val_accuracy=last.val_accuracy, epochs=epochs, message=message,
    )  # fmt: skip


def _find_best(plan: SearchPlan, study: Study, trials: Sequence[TrialScore]) -> TrialScore:
    """The winner; of equal trials the first."""
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        failures = [trial.message for trial in trials if trial.message]
        message = "no trial has come to an end" + (f": {failures[0]}" if failures else "")
        hint = "narrow the space, or give it more time"
        raise RunError(Problem(str(study.folder), message, hint))
    if plan.objective == "val_loss":
        return min(complete, key=lambda trial: (trial.val_loss or 0.0, trial.number))
    return min(complete, key=lambda trial: (-(trial.val_accuracy or 0.0), trial.number))


def _whole_recipe(plan: SearchPlan, settings: Mapping[str, Any]) -> Recipe:
    """The user's recipe with the settings of the winner: stages that no trial trained included."""
    return with_settings(plan.recipe, {parse_key(name): v for name, v in settings.items()})
