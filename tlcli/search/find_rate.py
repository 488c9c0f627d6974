"""The work of `tlcli find-lr`: a learning-rate range test of a stage, from where it will begin."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import Problem, RecipeError, RunError, suggestion
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.networks.network import Network
from tlcli.recipe.stage_settings import LBFGS
from tlcli.runs.records import StepMethods
from tlcli.search.rate_curve import STEPS, RateCurve, join_tests, swept_rates
from tlcli.search.rate_sweep import sweep_rates
from tlcli.system import console, signals
from tlcli.training.batches import make_training_feed
from tlcli.training.order import Position
from tlcli.training.plan import Plan, choose_precision, without_unreadable
from tlcli.training.preparation import fill_store, load_network
from tlcli.training.stage_plan import StagePlan
from tlcli.training.step_methods import suitable_methods
from tlcli.training.unwatched import train_unwatched

#: Tests with other orders of the photos, whose mean is looked at.
SEEDS = 3


@dataclass(frozen=True)
class RateSearch:
    """What the range tests of a stage have shown.

    Attributes:
        stage: its name.
        rate: its learning rate in the recipe.
        before: the rate of the stage before it, for a stage that tunes; None for others.
        curve: the mean of the tests.
        ends: the rate at which each test ended, by divergence or as the highest.
        diverged: how many of the tests diverged.
        seconds: of the tests, and of the stages that were trained first.
    """

    stage: str
    rate: float
    before: float | None
    curve: RateCurve
    ends: tuple[float, ...]
    diverged: int
    seconds: dict[str, float]

    @property
    def tunes(self) -> bool:
        """Whether the stage goes on from another."""
        return self.before is not None

    @property
    def suggested(self) -> float | None:
        """The rate that is suggested; None where the curve suggests none.

        For a stage that tunes it lies below the rise of the loss, for others before its fall.
        """
        return self.curve.below_rise() if self.tunes else self.curve.suggested()

    def as_json(self) -> dict[str, Any]:
        """What `find-lr --json` prints."""
        points = zip(
            self.curve.rates, self.curve.loss, self.curve.low, self.curve.high, strict=True
        )
        return {
            "stage": self.stage,
            "suggested": self.suggested,
            "valley": self.curve.valley(),
            "steepest": self.curve.steepest(),
            "rise": self.curve.rise,
            "in_recipe": self.rate,
            "curve": [
                dict(zip(("rate", "loss", "low", "high"), map(float, point), strict=True))
                for point in points
            ],
            "tests": {"count": len(self.ends), "diverged": self.diverged, "ends": self.ends},
            "seconds": self.seconds,
        }


def stage_number(plan: Plan, name: str | None) -> int:
    """The number of a stage from 0; the first one without a name.

    Raises `RecipeError` for a name that no stage has, with those that there are, and for a stage
    without a rate.
    """
    names = [planned.stage.name for planned in plan.stages]
    if name is None or name in names:
        number = 0 if name is None else names.index(name)
        if plan.stages[number].stage.solver == LBFGS:
            message = "it is solved by lbfgs, and has no learning rate"
            others = [planned.stage.name for planned in plan.stages[number + 1 :]]
            hint = f"name another with --stage {others[0]}" if others else ""
            raise RecipeError(Problem(f"stage '{names[number]}'", message, hint))
        return number
    message = f"the recipe {plan.recipe.path.name} has no such stage"
    raise RecipeError(
        Problem(f"--stage {console.one_line(name)}", message, suggestion(name, names))
    )


def find_rate(plan: Plan, number: int, seeds: int = SEEDS) -> RateSearch:
    """Test the rates of stage `number`; the stages before it are trained first, in memory.

    Nothing is written but rows of the store. Raises a `TlcliError` where weights, photos, store or
    the recipe do not allow it, and where the loss is no number from the beginning.
    """
    plan = choose_precision(plan)
    with signals.defer():
        network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        cuts = [stage.cut.name for stage in plan.stages[: number + 1]]
        with open_store(network, plan.recipe, plan.cache, cuts) as opened:
            report = fill_store(network, plan.recipe, plan.index, opened)
            plan = without_unreadable(plan, report.unreadable)
            methods = suitable_methods(network, plan.stages[: number + 1], plan.cache)
            started = time.monotonic()
            epochs = train_stages_before(network, plan, opened, number, methods)
            trained = time.monotonic()
            planned = plan.stages[number]
            _announce(planned, seeds)
            rows, cut = opened.all_rows, planned.cut.name
            feed = make_training_feed(network, plan.recipe, rows, cut, plan.index.of("train"))
            tests = sweep_rates(
                network, planned, plan.recipe, feed, Position(number, epochs),
                [plan.recipe.seed + i for i in range(seeds)], methods,
            )  # fmt: skip
            seconds = {
                "stages before": round(trained - started, 2),
                "tests": round(time.monotonic() - trained, 2),
            }
    return _result(plan, number, tests, seconds)


def _result(
    plan: Plan, number: int, tests: Sequence[Sequence[float]], seconds: dict[str, float]
) -> RateSearch:
    stage = plan.stages[number].stage
    if not min(map(len, tests)):
        message = "the loss is not a number at the lowest rate"
        hint = "look at the weights of the base, and at its precision"
        raise RunError(Problem(f"stage '{stage.name}'", message, hint))
    tuned = stage.freeze_until is not None and number > 0
    ends = tuple(float(swept_rates()[len(test) - 1]) for test in tests)
    return RateSearch(
        stage=stage.name,
        rate=stage.learning_rate,
        before=plan.stages[number - 1].stage.learning_rate if tuned else None,
        curve=join_tests(tests),
        ends=ends,
        diverged=sum(len(test) < STEPS for test in tests),
        seconds=seconds,
    )


def _announce(planned: StagePlan, seeds: int) -> None:
    steps = console.counted(STEPS, "step")
    console.note(
        f"stage '{planned.stage.name}': {console.counted(seeds, 'test')} of up to {steps} with "
        f"batches of {console.counted(planned.batch_size, 'photo')}"
    )


def train_stages_before(
    network: Network, plan: Plan, opened: OpenedStore, number: int, methods: StepMethods
) -> int:
    """Train the stages before `number`, as a run does; returns how many epochs they have had."""
    epochs, stages = 0, plan.stages[:number]
    trained = train_unwatched(network, plan.recipe, stages, plan.index, opened.all_rows, methods)
    for stage in (planned.stage for planned in stages):
        most = console.counted(stage.epochs, "epoch")
        console.note(f"stage '{stage.name}' comes first: trained in memory, up to {most}")
        outcome = next(trained)
        epochs += len(outcome.history)
        accuracy = outcome.best.val_accuracy
        reached = "" if accuracy is None else f", val_accuracy {accuracy:.4f}"
        console.note(
            f"  best epoch {outcome.best.epoch} of {len(outcome.history)}{reached}; "
            f"{console.duration(outcome.seconds)}"
        )
    return epochs
