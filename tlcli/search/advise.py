"""The work of `tlcli advise`: measure, choose a strategy, and write the recipe with the reasons."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.errors import Problem, RecipeError, RunError
from tlcli.recipe.load import load_recipe
from tlcli.runs.advice_record import (
    ADVISED_RECIPE,
    AdviceRecord,
    BaseScore,
    TuningTrial,
    read_advice,
    write_advice,
)
from tlcli.runs.probe_record import ProbeRecord, fingerprint_photos, read_probe
from tlcli.search import base_ranking
from tlcli.search.advised_recipe import write_recipe_text
from tlcli.search.base_ranking import Candidates
from tlcli.search.probe import probe, probed_boundaries
from tlcli.search.probe_output import keep_probe, probe_folder
from tlcli.search.strategies import (
    Strategy,
    boundary_to_tune,
    choose_strategy,
    why_no_trial,
)
from tlcli.search.subject import Subject
from tlcli.search.tuning_trial import try_tuning
from tlcli.system import console, files
from tlcli.training import estimate
from tlcli.training.plan import Plan
from tlcli.training.stage_plan import stage_plans


@dataclass(frozen=True)
class Advice:
    """An advice: its record, the recipe as text, and the files of both."""

    record: AdviceRecord
    text: str
    folder: Path
    recipe: Path


def advise(candidates: Candidates, out: Path | None = None, *, force: bool = False) -> Advice:
    """Measure the bases of the plans on their training photos, and advise on the best of them.

    Photos for validation and test are not looked at. Raises a `TlcliError` where `out` exists, or
    photos, weights or the store do not allow a probe.
    """
    _check_out(out, force=force)
    for plan in candidates.plans:
        _check_kept(_folder(plan), force=force)
    started = time.monotonic()
    measured = _measure(candidates)
    spent = {"probe": round(time.monotonic() - started, 2)}
    ranked, number = _rank(candidates, measured)
    best = measured[number]
    plan, record, folder = candidates.plans[number], best.record, best.folder
    trial = _try_tuning(best)
    spent["tuning"] = trial.seconds if trial else 0.0
    strategy = choose_strategy(plan.row, record, trial)
    path = folder / ADVISED_RECIPE
    kept = write_recipe_text(plan, strategy, path)
    files.write_text(path, kept)
    advised = load_recipe(path)
    cost = estimate.estimate(
        replace(plan, recipe=advised, stages=tuple(stage_plans(advised, plan.index)))
    )
    result = AdviceRecord(
        strategy=strategy.name,
        base=plan.row.name,
        freeze_until=strategy.freeze_until,
        reasons=strategy.reasons,
        expected=strategy.expected,
        seconds=round(cost.total, 1) if cost else None,
        spent=spent,
        probe=record,
        trial=trial,
        bases=ranked,
        recipe_sha256=hashlib.sha256(kept.encode()).hexdigest(),
    )
    write_advice(folder, result)
    return _finish(plan, strategy, result, folder, out)


def _finish(
    plan: Plan, strategy: Strategy, record: AdviceRecord, folder: Path, out: Path | None
) -> Advice:
    path = out or folder / ADVISED_RECIPE
    text = write_recipe_text(plan, strategy, path)
    if out is not None:
        files.make_folder(out.absolute().parent)
        files.write_text(out, text)
    return Advice(record, text, folder, path)


def _check_out(out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if out.is_dir():
        raise RecipeError(Problem(f"--out {out}", "is a folder", "name a file, such as best.yaml"))
    if out.exists() and not force:
        hint = "name another file, or replace it with --force"
        raise RecipeError(Problem(f"--out {out}", "exists already", hint))
    if problems := files.check_writable(out.absolute().parent):
        raise RecipeError(problems)


def _folder(plan: Plan) -> Path:
    return probe_folder(None, plan.recipe.name, plan.row.name, force=False)


def _check_kept(folder: Path, *, force: bool) -> None:
    """Raise `RunError` where the recipe of an earlier advice has been changed by somebody."""
    path = folder / ADVISED_RECIPE
    if force or not path.exists():
        return
    with suppress(RunError):
        text = files.read_bytes(path, files.RECORD_BYTES)
        if read_advice(folder).recipe_sha256 == hashlib.sha256(text).hexdigest():
            return
    hint = "move it elsewhere, or replace it with --force"
    raise RunError(Problem(str(path), "was changed since tlcli wrote it", hint))


@dataclass(frozen=True)
class _Measured:
    """A base that was probed; `score` where there are several to rank."""

    subject: Subject
    record: ProbeRecord
    folder: Path
    score: BaseScore | None = None


def _measure(candidates: Candidates) -> list[_Measured]:
    """The probes of all plans. Of several networks none is kept, since memory may not hold them."""
    plans = candidates.plans
    if len(plans) + len(candidates.missing) == 1:
        return [_probed(Subject(plan)) for plan in plans]
    measured = []
    for plan in plans:
        base = _probed(Subject(plan))
        score = base_ranking.measure_base(base.subject, base.record)
        base.subject.release()
        measured.append(replace(base, score=score))
    return measured


def _probed(subject: Subject) -> _Measured:
    """The probe of a plan, with its folder: one that was made before, if it was of the same."""
    plan = subject.plan
    folder = _folder(plan)
    photos = ((item.digest, plan.index.classes[item.label]) for item in plan.index.of("train"))
    with suppress(RunError):
        record = read_probe(folder)
        same = (
            record.base == plan.row.name
            and record.image_size == plan.recipe.base.image_size
            and record.weights == str(plan.source)
            and record.data == fingerprint_photos(photos)
            and {row.name for row in record.boundaries}
            >= {boundary.name for boundary in probed_boundaries(plan.row)}
        )
        if same:
            console.note(f"{plan.row.name}: the probe in {folder} is of the same photos")
            return _Measured(subject, record, folder)
    console.note(f"{plan.row.name}: probing")
    record = probe(subject)
    keep_probe(folder, record)
    return _Measured(subject, record, folder)


def _try_tuning(best: _Measured) -> TuningTrial | None:
    """A trial where it can change the advice."""
    row = best.subject.plan.row
    boundary = boundary_to_tune(row, best.record)
    if boundary is None or why_no_trial(row, best.record):
        return None
    return try_tuning(best.subject, boundary)


def _rank(
    candidates: Candidates, measured: Sequence[_Measured]
) -> tuple[tuple[BaseScore, ...], int]:
    """The ranking of the bases, those without weights at the end, and the number to go on with."""
    if not measured:
        missing = [Problem(f"--bases {score.name}", score.missing) for score in candidates.missing]
        raise RecipeError(missing)
    scores = [base.score for base in measured if base.score is not None]
    if not scores:
        return (), 0
    ranked = base_ranking.rank_bases(scores)
    best = base_ranking.preferred_base(ranked).name
    return (*ranked, *candidates.missing), [score.name for score in scores].index(best)
