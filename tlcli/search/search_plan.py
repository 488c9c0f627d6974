"""What a search will do, before anything is spent: its space, its stages, its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tlcli.errors import DataError, Problem, RecipeError
from tlcli.recipe.first_layer import BOUNDARY, NAME
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import Between, Choices, Dimension, read_space, with_settings
from tlcli.recipe.stage_settings import LBFGS
from tlcli.runs.study_records import StudyRecord
from tlcli.search.stackable import can_stack
from tlcli.system import console
from tlcli.system.yamlfile import parse_key
from tlcli.training import estimate
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import Preflight

#: Heads that are planned, and trained, at once; other trials come one by one.
HEADS_AT_ONCE = 8

#: The time of heads side by side, as a share of that one by one. Measured in seconds of processor:
#: eight heads of 256 units on 400 photos, 15 epochs, compiled anew, take 3.1 times those of one.
SIDE_BY_SIDE = 0.4


@dataclass(frozen=True)
class SearchPlan:
    """A search over the settings of a recipe.

    Attributes:
        checked: the preflight of the recipe that trials start from, which is that of the user, less
            the stages that no trial trains.
        plan: of that recipe, with as many views as any trial shows.
        recipe: the user's own.
        trials: how many there will be.
        seeds: how often default and winner are repeated.
    """

    checked: Preflight
    plan: Plan
    recipe: Recipe
    space: tuple[Dimension, ...]
    trials: int
    seeds: int

    @property
    def base(self) -> Recipe:
        """The recipe that trials start from: the default that the winner is compared with."""
        return self.checked.recipe

    @property
    def objective(self) -> Literal["val_loss", "val_accuracy"]:
        """The metric of the validation photos that trials are compared by."""
        return self.base.stages[-1].monitor

    @property
    def heads_only(self) -> bool:
        """Whether trials of the recipe as it is train side by side."""
        return can_stack(self.base, self.plan)

    def recipe_of(self, settings: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial; `RecipeError` where its settings do not go together."""
        return with_settings(self.base, {parse_key(name): v for name, v in settings.items()})

    def record(self) -> StudyRecord:
        """What must be equal for the study to be gone on with."""
        return StudyRecord(
            space={dimension.name: str(dimension.domain) for dimension in self.space},
            stages=tuple(stage.name for stage in self.base.stages),
            objective=self.objective,
            seed=self.base.seed,
            batch=HEADS_AT_ONCE if self.heads_only else 1,
        )

    def text(self) -> str:
        """The plan as people read it, with its cost."""
        index, stages = self.plan.index, ", ".join(stage.name for stage in self.base.stages)
        left = [stage.name for stage in self.recipe.stages[len(self.base.stages) :]]
        counts = [f"{len(index.of(split)):,} {split}" for split in ("train", "val", "test")]
        lines = [
            f"search for {self.recipe.name}: {console.counted(self.trials, 'trial')} by "
            f"{self.objective} of the validation photos, seed {self.base.seed}",
            f"photos: {', '.join(counts)}; the test photos are scored once, at the end",
            f"each trial trains: {stages}"
            + (f"; {', '.join(left)} stays as it is and is not trained" if left else ""),
            "trials train side by side, from stored rows"
            if self.heads_only
            else "trials train one after another, each as a run that keeps its model",
            f"at the end: default and winner with {console.counted(self.seeds, 'other seed')}, "
            "then one complete run of each",
        ]
        table = console.table(["setting", "from"], [[d.name, str(d.domain)] for d in self.space])
        return "\n".join([*lines, "", table, "", self._cost_text()])

    def as_json(self) -> dict[str, Any]:
        """What `tune --dry-run --json` prints."""
        guess = self._cost()
        return {
            "space": {d.name: str(d.domain) for d in self.space},
            "stages": [stage.name for stage in self.base.stages],
            "trials": self.trials,
            "objective": self.objective,
            "side_by_side": self.heads_only,
            "estimate": None
            if guess is None
            else {"extract": round(guess[0], 1), "seconds": round(sum(guess), 1)},
        }

    def _cost(self) -> tuple[float, float, float] | None:
        """Seconds of features, trials, and repetitions; None on a machine with a GPU."""
        guess = estimate.estimate(self.plan)
        if guess is None:
            return None
        trial = guess.total - guess.extract
        share = SIDE_BY_SIDE if self.heads_only else 1.0
        repeated = 2 * trial * (1 + share * self.seeds)
        return guess.extract, share * trial * self.trials, repeated

    def _cost_text(self) -> str:
        guess = self._cost()
        if guess is None:
            return "no estimate of the time: there is a GPU"
        features, trials, end = map(console.duration, guess)
        return (
            f"estimate: about {console.duration(sum(guess))} (features {features}, less what the "
            f"store has; trials {trials}, less what pruning saves; comparison at the end {end})"
        )


def plan_search(
    checked: Preflight, *, trials: int, seeds: int, all_stages: bool = False
) -> SearchPlan:
    """Plan a search over the space of a recipe.

    Only the stages that its space is about are trained, which are those before the first tuning of
    the base where it names nothing of that; with `all_stages`, all. Raises a `TlcliError` without
    validation photos to compare by, and where some trial would have no room.
    """
    recipe = checked.recipe
    if recipe.search is None and recipe.stages[0].solver == LBFGS:
        message = "the head that lbfgs finds has no settings to search: it is the optimum"
        hint = "say what to vary in a block `search`, as in {stages.1.epochs: {int: [5, 30]}}"
        raise RecipeError(Problem(recipe.where("stages", 0, "solver"), message, hint))
    space = read_space(recipe)
    base = with_settings(recipe, {})
    heads = _leading_heads(recipe)
    if heads and not all_stages and not any(_is_about_tuning(d, heads) for d in space):
        base = with_settings(recipe, {("stages",): recipe.resolved()["stages"][:heads]})
    checked = replace(checked, recipe=base)
    widest = _widest(base, space)
    plan = make_plan(replace(checked, recipe=widest))
    base = base.with_precision(plan.recipe.precision)
    checked = replace(checked, recipe=base)
    if not plan.index.of("val"):
        hint = "set data.split.val, or add a folder of them"
        raise DataError(Problem("data", "no validation photos to choose a winner by", hint))
    for dimension in space:
        if dimension.key[-1] in (BOUNDARY, NAME) and isinstance(dimension.domain, Choices):
            for value in dimension.domain.values:  # each has rows of its own
                make_plan(replace(checked, recipe=with_settings(base, {dimension.key: value})))
    return SearchPlan(checked, plan, recipe, space, min(trials, _combinations(space)), seeds)


def _leading_heads(recipe: Recipe) -> int:
    """How many stages there are before the first that tunes the base."""
    for number, stage in enumerate(recipe.stages):
        if stage.freeze_until:
            return number
    return len(recipe.stages)


def _is_about_tuning(dimension: Dimension, heads: int) -> bool:
    key = dimension.key
    if key[0] == "base" or key[-1] in (BOUNDARY, NAME):
        return True
    return key[0] == "stages" and isinstance(key[1], int) and key[1] >= heads


def _widest(base: Recipe, space: Sequence[Dimension]) -> Recipe:
    """The recipe with as many views as any trial shows, so that all rows are computed at once."""
    for dimension in space:
        if dimension.name == "augment.views":
            numbers = [value for value in dimension.domain.examples if type(value) is int]
            if numbers:
                return with_settings(base, {dimension.key: max(numbers)})
    return base


def _combinations(space: Sequence[Dimension]) -> int:
    """How many different trials there can be; a huge number where a setting is continuous."""
    count = 1.0
    for dimension in space:
        domain = dimension.domain
        if isinstance(domain, Choices):
            count *= len(domain.values)
        elif isinstance(domain, Between) and domain.scale == "int":
            count *= domain.high - domain.low + 1
        else:
            return 2**62
    return math.ceil(count)


def check_settings(plan: SearchPlan, settings: Mapping[str, Any]) -> Recipe | str:
    """The recipe of a trial, or why its settings do not go together."""
    try:
        return plan.recipe_of(settings)
    except RecipeError as error:
        return str(error.problems[0])
