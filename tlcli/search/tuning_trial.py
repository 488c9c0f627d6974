"""Does tuning pay? One short stage on a part of the training photos, judged on the others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Index
from tlcli.data.folds import make_folds, smallest_class
from tlcli.errors import Problem, RunError
from tlcli.features import addresses, extraction
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.networks.network import Network
from tlcli.networks.probabilities import class_logits
from tlcli.recipe.augment import Augment
from tlcli.recipe.stage_settings import Stage
from tlcli.runs.advice_record import MeasuredShare, TuningTrial
from tlcli.runs.probe_record import PairedDifference
from tlcli.runs.records import StepMethods
from tlcli.search import linear_probe
from tlcli.search.probe import accuracy_of, compare_answers
from tlcli.search.strategies import MATTERS
from tlcli.search.subject import Subject
from tlcli.system import console, signals
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import begin_stage
from tlcli.training.optimizers import Rate
from tlcli.training.order import Position, draw_picks
from tlcli.training.plan import Plan, without_unreadable
from tlcli.training.stage_plan import stage_plans
from tlcli.training.step import Scorer, Trainer
from tlcli.training.step_methods import suitable_methods

Array = npt.NDArray[Any]

#: Photos that are trained on and judged at most, which bounds the time.
MOST_FITTED, MOST_JUDGED = 400, 300

#: Epochs of the head and of tuning, and the fewest steps that either takes.
HEAD_EPOCHS, TUNING_EPOCHS = 20, 4
HEAD_STEPS, TUNING_STEPS = 300, 60

#: Shares of the tuning steps after which the judged photos are looked at.
LOOKS = (1 / 3, 2 / 3, 1.0)

#: The p below which a gain ends the trial: lower than for one look, since there are several.
CLEAR = 0.01

#: The rates of both, which an advised recipe has, too.
HEAD_RATE, TUNING_RATE = 1e-3, 5e-5


def enough_epochs(epochs: int, steps: int, photos: int, batch_size: int) -> int:
    """The epochs, or as many more as give so many steps with few photos; 100 at most."""
    return min(100, max(epochs, math.ceil(steps / math.ceil(photos / batch_size))))


def try_tuning(subject: Subject, boundary: str) -> TuningTrial | None:
    """Train a head, then tune above `boundary` until it is clear what that gains.

    The head is trained to the end; of tuning the judged photos are looked at after each of `LOOKS`.
    None where photos are too few. Photos for validation and test are not looked at. Rows that it
    computes stay in the store, for the run to come; the weights of the network change.
    """
    started, plan = time.monotonic(), subject.plan
    inner = _divide(subject)
    if inner is None:
        return None
    photos, size = len(inner.of("train")), plan.recipe.batch_size
    stages = (
        Stage(
            name="head",
            epochs=enough_epochs(HEAD_EPOCHS, HEAD_STEPS, photos, size),
            learning_rate=HEAD_RATE,
        ),
        Stage(
            name="tuning",
            freeze_until=boundary,
            epochs=enough_epochs(TUNING_EPOCHS, TUNING_STEPS, photos, size),
            learning_rate=TUNING_RATE,
        ),
    )
    recipe = plan.recipe.model_copy(update={"augment": Augment(views=0), "stages": stages})
    short = replace(plan, recipe=recipe, index=inner, stages=tuple(stage_plans(recipe, inner)))
    with signals.defer():
        cuts = [cut.name for cut in short.cuts]
        with open_store(subject.network, recipe, plan.cache, cuts) as opened:
            views = addresses.views_of(inner.items, recipe.augment, 0)
            report = extraction.extract(subject.network, recipe, views, opened.rows, opened.sources)
            short = without_unreadable(short, report.unreadable)
            head, tuned, epochs = _train(subject.network, short, opened)
    return TuningTrial(
        boundary=boundary,
        epochs=epochs,
        learning_rate=TUNING_RATE,
        fitted=len(short.index.of("train")),
        head=measure_share(head),
        tuned=measure_share(tuned),
        gain=compare_answers(head, tuned),
        seconds=round(time.monotonic() - started, 2),
    )


def measure_share(right: Array) -> MeasuredShare:
    """The share of right answers, bool (n,), with its interval."""
    return MeasuredShare(**accuracy_of(right), photos=len(right))


def _divide(subject: Subject) -> Index | None:
    """Two thirds of the training photos to fit on, one to judge on, as train and val."""
    plan, items = subject.plan, subject.items
    labels, groups = np.array([item.label for item in items]), subject.groups(items)
    least = smallest_class(labels, np.asarray(groups))
    if least < 2 or len(np.unique(labels)) < 2:
        return None
    fold = make_folds(labels, groups, min(3, least), plan.recipe.seed)[0]
    fitted = _thinned(fold.fitted, labels, MOST_FITTED)
    judged = _thinned(fold.judged, labels, MOST_JUDGED)
    parts = [
        *(replace(items[i], split="train", divided=False) for i in fitted),
        *(replace(items[i], split="val", divided=False) for i in judged),
    ]
    return replace(plan.index, items=tuple(parts), findings=(), notes=())


def _thinned(positions: Array, labels: Array, most: int) -> list[int]:
    """About `most` of the positions, each class in proportion, and two of each at least."""
    share = min(1.0, most / len(positions))
    kept: list[int] = linear_probe.thin_out(
        positions, labels, share, np.random.default_rng(0)
    ).tolist()
    return kept


def _train(network: Network, short: Plan, opened: OpenedStore) -> tuple[Array, Array, int]:
    """Which judged photos are right with the head, and after tuning; and the epochs of tuning."""
    of_head, of_tuning = short.stages
    methods = suitable_methods(network, short.stages, short.cache)
    _, head = next(_TrialStage(network, short, opened, 0, methods).looks([of_head.stage.epochs]))
    stage = _TrialStage(network, short, opened, of_head.stage.epochs, methods)
    ends = [math.ceil(share * of_tuning.stage.epochs) for share in LOOKS]
    for epochs, tuned in stage.looks(ends):
        if epochs == ends[-1] or is_clear(compare_answers(head, tuned)):
            return head, tuned, epochs
    raise AssertionError  # there is a last look


def is_clear(gain: PairedDifference) -> bool:
    """Whether more steps would hardly change the answer: it pays, or it gains nothing."""
    return (gain.value > 0 and gain.p < CLEAR) or gain.high < MATTERS


class _TrialStage:
    """A stage of a trial, the first one where no epochs have been before."""

    def __init__(
        self, network: Network, short: Plan, opened: OpenedStore, epochs_before: int,
        methods: StepMethods,
    ) -> None:  # fmt: skip
        number = 1 if epochs_before else 0
        self._recipe, self._planned = short.recipe, short.stages[number]
        self._position = Position(number, epochs_before)
        cut, rows = self._planned.cut.name, opened.all_rows
        self._feed = StoredFeed(network, short.recipe, rows, cut, short.index.of("train"))
        self._judged = StoredFeed(network, short.recipe, rows, cut, short.index.of("val"))
        planned, recipe = self._planned, short.recipe
        variables = begin_stage(network, planned, recipe, self._feed, self._position)
        self._trainer = Trainer(network, planned, recipe, variables, methods=methods)
        self._scorer = Scorer(network, cut)

    def looks(self, ends: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Train until each of some numbers of epochs; which judged photos are right then, (n,)."""
        stage, seed = self._planned.stage, self._recipe.seed
        rate, size = Rate(stage, self._planned.steps), self._planned.batch_size
        with console.progress(ends[-1] * len(self._feed.labels), stage.name) as bar:
            for epoch in range(ends[-1]):
                picks = list(
                    draw_picks(self._feed, seed, self._position, epoch, size, stage.sampler)
                )
                loss = self._trainer.train_epoch(self._feed, picks, rate, epoch, bar).loss
                if not math.isfinite(loss):
                    message = f"the loss of epoch {epoch + 1} of '{stage.name}' is not a number"
                    hint = "look at the weights of the base, and at its precision"
                    raise RunError(Problem("tuning trial", message, hint))
                if epoch + 1 in ends:
                    logits = self._scorer.logits(self._judged).astype(np.float64)
                    answers = class_logits(logits).argmax(axis=1)
                    yield epoch + 1, answers == self._judged.labels
