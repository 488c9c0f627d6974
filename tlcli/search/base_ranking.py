"""Several bases on the same photos: how accurate each is, and at what price."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tlcli.errors import RecipeError, TlcliError
from tlcli.images.loader import BATCH_SIZE
from tlcli.networks import bases
from tlcli.networks.network import compile_forward
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.recipe.load import load_recipe
from tlcli.runs.advice_record import BaseScore
from tlcli.runs.probe_record import ProbeRecord
from tlcli.search.subject import Subject
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight

ALL = "all"


@dataclass(frozen=True)
class Candidates:
    """The plans of the bases that can be measured, and why others cannot."""

    plans: tuple[Plan, ...]
    missing: tuple[BaseScore, ...]


def base_names(text: str) -> list[str]:
    """The bases that `--bases` names, each once; a `RecipeError` with those that do not exist."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if [word.lower() for word in words] == [ALL]:
        return list(bases.PRETRAINED)
    rows = {word: bases.lookup(word) for word in words}
    if unknown := [word for word, row in rows.items() if row is None]:
        raise RecipeError([bases.unknown_base(word, "--bases") for word in unknown])
    return list(dict.fromkeys(row.name for row in rows.values() if row is not None))


def plan_bases(
    path: Path, overrides: tuple[str, ...], cache: Path | None, access: WeightsAccess,
    names: Sequence[str], *, at_hand: bool,
) -> Candidates:  # fmt: skip
    """A plan for each base. `at_hand`: nothing is downloaded for one whose weights are missing."""
    own = load_recipe(path, overrides)
    plans, missing = [], []
    for name in names:
        changes = [f"base.name={name}", "base.freeze_until=null", "stages=null"]
        if name != own.base.name and own.base.weights not in ("imagenet", "random"):
            changes.append("base.weights=imagenet")  # a file has the weights of one base
        try:
            recipe = load_recipe(path, (*overrides, *changes))
            limited = replace(access, offline=True) if at_hand else access
            plans.append(make_plan(preflight(recipe, cache=cache, access=limited, run=False)))
        except TlcliError as error:
            missing.append(BaseScore(name=name, missing=str(error.problems[0])))
    return Candidates(tuple(plans), tuple(missing))


def measure_base(subject: Subject, record: ProbeRecord) -> BaseScore:
    """The accuracy of a base by its probe, and how fast it is here, decoding left out."""
    plan = subject.plan
    forward = compile_forward(subject.network.pooled(None, [plan.row.top.name]), BATCH_SIZE)
    pixels = np.zeros((BATCH_SIZE, *plan.recipe.base.image_size, 3), np.float32)
    forward(pixels)
    started, used = time.perf_counter(), time.process_time()
    forward(pixels)
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    best = record.boundary(record.best)
    return BaseScore(
        name=plan.row.name,
        best=best.name,
        accuracy=best.accuracy,
        low=best.low,
        high=best.high,
        photos_per_second=round(BATCH_SIZE / seconds, 2),
        answers_per_second=round(best.accuracy * BATCH_SIZE / max(processor, 1e-6), 2),
    )


def rank_bases(scores: Sequence[BaseScore]) -> tuple[BaseScore, ...]:
    """The most accurate first; those that cannot be told apart from it are marked as tied."""
    ranked = sorted(scores, key=lambda score: -(score.accuracy or 0.0))
    leader = ranked[0]
    return tuple(
        score.model_copy(update={"tied": score is leader or (score.high or 0) >= (leader.low or 0)})
        for score in ranked
    )


def preferred_base(ranked: Sequence[BaseScore]) -> BaseScore:
    """Of those that cannot be told apart from the most accurate, the fastest."""
    return max(
        (score for score in ranked if score.tied), key=lambda score: score.photos_per_second or 0.0
    )
