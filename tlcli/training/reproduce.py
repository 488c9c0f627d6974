"""`tlcli reproduce`: train a run again from its own record, and compare every number."""

from __future__ import annotations

import json
from pathlib import Path

from tlcli.errors import Problem, RunError
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.runs import directory, fingerprints, resume
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_known_splits, read_recipe
from tlcli.runs.study_records import TrialRecord, read_trial_record
from tlcli.system import console
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.repetition import Compared, compare, compare_trial
from tlcli.training.train import train


def reproduce(
    which: str | None,
    *,
    out: Path | None = None,
    force: bool = False,
    cache: Path | None = None,
    data: Path | None = None,
    weights: Path | None = None,
    start: Path | None = None,
    access: WeightsAccess | None = None,
) -> Compared:
    """Train a finished run's recipe on its photos again and compare.

    `data` (folder or table), `weights` and `start`, the run that it started from, say where those
    are now, if they have moved. The repetition goes to `out` (default: beside the run, named like
    it with `-again`), or goes on there. A finished one there is compared once more; `force` trains
    again, and replaces it or another run there. Raises a `TlcliError` where photos or weights are
    not those of the run.
    """
    run, trial = _find_run_or_trial(which)
    recipe = read_recipe(run)
    places = {"data.csv" if recipe.data.csv else "data.dir": data}
    places |= {"base.weights": weights, "start_from": start}
    # The run itself has the split that it was made with; its file may have gone on since.
    overrides = ["data.split.file=null"] if recipe.data.split.file else []
    overrides += [f"{k}={json.dumps(str(path.absolute()))}" for k, path in places.items() if path]
    recorded = read_known_splits(run)
    recipe = read_recipe(run, overrides) if overrides else recipe
    beside = run.path if trial is None else run.path.parent  # of a trial, beside all trials
    out = out or beside.with_name(f"{run.name}-again")
    _check_place(run, again := Run(out), force=force)
    if again.closed and not force:
        what = "is its repetition already, which is compared once more; --force trains it again"
        console.note(f"{out}: {what}")
        resume.remove_leftovers(again)
        return _compare(run, again, trial)
    checked = preflight(
        recipe, cache=cache, out=out, force=force, access=access, repeated=True, recorded=recorded
    )
    plan = make_plan(checked)
    different = fingerprints.differences(run, recipe, plan.index)
    if different:
        hint = "a run can only be repeated with what it was made from; --data says where it is now"
        raise RunError([Problem(str(run.path), line, hint) for line in different])
    console.note(plan.text() + "\n")
    request = resume.RunRequest(out=out, force=force)
    watch = None if trial is None else lambda epochs: None
    train(plan, request, latest=False, repeats=run, trial=watch)
    return _compare(run, again, trial)


def _find_run_or_trial(which: str | None) -> tuple[Run, TrialRecord | None]:
    """The run that is meant; a trial of a search may be one without a model."""
    if which is not None:
        run = directory.run_named(which, where=f"RUN {which}")
        trial = read_trial_record(run)
        if trial is not None and trial.state == "failed":
            message = f"is a trial that failed: {trial.message}"
            raise RunError(Problem(str(run.path), message, "name another"))
        if trial is not None:
            return run, trial
    return directory.find_run(which, where="RUN"), None


def _compare(run: Run, again: Run, trial: TrialRecord | None) -> Compared:
    whole = trial is None or run.finished
    return compare(run, again) if whole else compare_trial(run, again)


def _check_place(run: Run, again: Run, *, force: bool) -> None:
    """Raise `RunError` where another run is in the place of the repetition, unless `force`."""
    where = f"--out {again.path}"
    hint = "name another folder with --out, or replace it with --force"
    if not directory.is_run(again.path):
        return  # the preflight reports a folder that holds anything else
    if again.path.resolve() == run.path.resolve():
        raise RunError(Problem(where, "is the run itself", "name another folder with --out"))
    if force:
        return
    try:
        same = fingerprints.recorded_fingerprints(again) == fingerprints.recorded_fingerprints(run)
    except RunError as error:
        problem = error.problems[0]
        raise RunError(Problem(problem.where, problem.message, hint)) from error
    if not same:
        raise RunError(Problem(where, "a different run is already there", hint))
