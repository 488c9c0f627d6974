"""Does tuning pay? One short stage on a part of the training photos, judged on the others."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Index, Item
from tlcli.data.photo_groups import distinct_photos
from tlcli.features import addresses, extraction
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.networks.network import Network
from tlcli.networks.probabilities import class_logits
from tlcli.recipe.augment import Augment
from tlcli.recipe.stage_settings import Stage
from tlcli.runs.advice_record import MeasuredShare, TuningTrial
from tlcli.search import linear_probe
from tlcli.search.probe import accuracy_of, compare_answers, find_groups
from tlcli.system import signals
from tlcli.training.batches import StoredFeed
from tlcli.training.loop import Position, Unwatched, run_stage
from tlcli.training.plan import Plan, choose_precision
from tlcli.training.preparation import load_network
from tlcli.training.stage_plan import stage_plans
from tlcli.training.step import Scorer

Array = npt.NDArray[Any]

#: Photos that are trained on and judged at most, which bounds the time.
MOST_FITTED, MOST_JUDGED = 400, 300

#: Epochs of the head and of tuning, and the fewest steps that either takes.
HEAD_EPOCHS, TUNING_EPOCHS = 20, 4
HEAD_STEPS, TUNING_STEPS = 300, 60

#: The rates of both, which an advised recipe has, too.
HEAD_RATE, TUNING_RATE = 1e-3, 5e-5


def enough_epochs(epochs: int, steps: int, photos: int, batch_size: int) -> int:
    """The epochs, or as many more as give so many steps with few photos; 100 at most."""
    return min(100, max(epochs, math.ceil(steps / math.ceil(photos / batch_size))))


def try_tuning(plan: Plan, boundary: str) -> TuningTrial | None:
    """Train a head, then tune above `boundary` for a few epochs; None where photos are too few.

    Photos for validation and test are not looked at. Rows that it computes stay in the store, for
    the run to come.
    """
    started, plan = time.monotonic(), choose_precision(plan)
    inner = _divide(plan)
    if inner is None:
        return None
    fitted, judged = inner.of("train"), inner.of("val")
    size = plan.recipe.batch_size
    stages = (
        Stage(
            name="head",
            epochs=enough_epochs(HEAD_EPOCHS, HEAD_STEPS, len(fitted), size),
            learning_rate=HEAD_RATE,
        ),
        Stage(
            name="tuning",
            freeze_until=boundary,
            epochs=enough_epochs(TUNING_EPOCHS, TUNING_STEPS, len(fitted), size),
            learning_rate=TUNING_RATE,
        ),
    )
    recipe = plan.recipe.model_copy(update={"augment": Augment(views=0), "stages": stages})
    short = replace(plan, recipe=recipe, index=inner, stages=tuple(stage_plans(recipe, inner)))
    with signals.defer():
        network = load_network(recipe, plan.source, len(inner.classes))
        cuts = [cut.name for cut in short.cuts]
        with open_store(network, recipe, plan.cache, cuts) as opened:
            views = addresses.views_of(inner.items, recipe.augment, 0)
            extraction.extract(network, recipe, views, opened.rows, opened.sources)
            answers = _train(network, short, opened, judged)
    labels = np.array([item.label for item in judged])
    head, tuned = (given == labels for given in answers)
    return TuningTrial(
        boundary=boundary,
        epochs=stages[1].epochs,
        learning_rate=TUNING_RATE,
        fitted=len(fitted),
        head=measure_share(head),
        tuned=measure_share(tuned),
        gain=compare_answers(head, tuned),
        seconds=round(time.monotonic() - started, 2),
    )


def measure_share(right: Array) -> MeasuredShare:
    """The share of right answers, bool (n,), with its interval."""
    return MeasuredShare(**accuracy_of(right), photos=len(right))


def _divide(plan: Plan) -> Index | None:
    """Two thirds of the training photos to fit on, one to judge on, as train and val."""
    items = distinct_photos(plan.index.of("train"))
    labels = np.array([item.label for item in items])
    groups = find_groups(plan, items)
    least = linear_probe.smallest_class(labels, np.asarray(groups))
    if least < 2 or len(np.unique(labels)) < 2:
        return None
    fold = linear_probe.make_folds(labels, groups, min(3, least), plan.recipe.seed)[0]
    parts = [
        *(replace(items[i], split="train") for i in _thinned(fold.fitted, labels, MOST_FITTED)),
        *(replace(items[i], split="val") for i in _thinned(fold.judged, labels, MOST_JUDGED)),
    ]
    return replace(plan.index, items=tuple(parts), findings=(), notes=(), divided=frozenset())


def _thinned(positions: Array, labels: Array, most: int) -> list[int]:
    """About `most` of the positions, each class in proportion, and two of each at least."""
    share = min(1.0, most / len(positions))
    kept: list[int] = linear_probe.thin_out(
        positions, labels, share, np.random.default_rng(0)
    ).tolist()
    return kept


def _train(
    network: Network, short: Plan, opened: OpenedStore, judged: Sequence[Item]
) -> list[Array]:
    """The classes that the judged photos get after each stage, which no stage has looked at."""
    answers, epochs, fitted = [], 0, short.index.of("train")
    for number, planned in enumerate(short.stages):
        rows, cut = opened.all_rows, planned.cut.name
        feed = StoredFeed(network, short.recipe, rows, cut, fitted)
        position, listener = Position(number, epochs), Unwatched()
        run_stage(network, planned, short.recipe, feed, None, position, listener)
        epochs += planned.stage.epochs
        others = StoredFeed(network, short.recipe, rows, cut, judged)
        logits = Scorer(network, cut).logits(others).astype(np.float64)
        answers.append(class_logits(logits).argmax(axis=1))
    return answers
