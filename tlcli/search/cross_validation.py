"""The work of `tlcli evaluate --folds`: how good a recipe is, where no photo can be held back.

In every fold a network is trained as a run trains it, on the other folds, from rows of the store:
it begins with a new head on the pretrained base, and its best epoch is chosen on a part of the
photos that it is given. The photos of the fold itself are judged at the end and have no say in
anything before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.data.findings import relative_name, unreadable_lines
from tlcli.errors import DataError
from tlcli.evaluation.calibration import Calibration
from tlcli.evaluation.predictions import LabelledLogits
from tlcli.features import addresses, extraction
from tlcli.features.open_store import OpenedStore, open_store
from tlcli.features.store import TrunkRows
from tlcli.networks.heads import build_head
from tlcli.networks.network import Network
from tlcli.networks.probabilities import class_logits, likeliest_class
from tlcli.networks.temperature import log_loss
from tlcli.runs.calibration_record import fit_calibration
from tlcli.runs.fold_record import FoldRecord, FoldResult, write_folds
from tlcli.runs.records import StepMethods
from tlcli.search.fold_folder import begin_record
from tlcli.search.fold_plan import FoldPlan
from tlcli.system import console, locks, signals
from tlcli.training import estimate
from tlcli.training.batches import StoredFeed
from tlcli.training.plan import Plan, choose_precision
from tlcli.training.preparation import load_network, note_extraction
from tlcli.training.step import Scorer
from tlcli.training.step_methods import suitable_methods
from tlcli.training.unwatched import train_unwatched

Array = npt.NDArray[Any]


def cross_validate(folds: FoldPlan, path: Path, *, again: bool = False) -> FoldRecord:
    """Train and judge the folds that the record at `path` lacks; returns it with those asked for.

    The record is written after every fold, so that the same call goes on after a stop; `again`
    begins anew. Raises a `TlcliError` for photos, weights, the store and numbers that do not allow
    it.
    """
    with signals.defer(), locks.lock_folder(path.parent, waiting="it evaluates folds"):
        record = begin_record(folds, path, again=again)
        if folds.count_known(record) < len(folds.numbers):
            record = _train_missing(folds, record, path)
    return folds.select(record)


def _train_missing(folds: FoldPlan, record: FoldRecord, path: Path) -> FoldRecord:
    plan = folds.plan
    if record.results and plan.recipe.chooses_precision:
        plan = replace(plan, recipe=plan.recipe.with_precision(record.precision))
    plan = choose_precision(plan)
    folds = replace(folds, plan=plan)
    console.note(folds.text())
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    cuts = [cut.name for cut in plan.cuts]
    with open_store(network, plan.recipe, plan.cache, cuts) as opened:
        images = record.images + _fill(network, plan, opened)
        methods = record.step_methods
        if not record.results:
            methods = suitable_methods(network, plan.stages, plan.cache)
        begun = {"images": images, "precision": plan.recipe.policy, "step_methods": methods}
        record = record.model_copy(update=begun)
        trainer = FoldTrainer(network, opened.all_rows, cuts[0], methods)
        for seed in folds.seeds:
            for number, fold in enumerate(folds.divide(seed), 1):
                if record.find(seed, number) is None:
                    result = judge_fold(trainer, fold, number)
                    results = (*record.results, result)
                    record = record.model_copy(update={"results": results})
                    write_folds(path, record)
                    console.note(_line(folds, result))
                    signals.raise_if_interrupted()
    return record


def _fill(network: Network, plan: Plan, opened: OpenedStore) -> int:
    """Compute the rows that the store lacks, of which a note says what they cost; how many photos
    and views went through the trunk."""
    recipe = plan.recipe
    kept = 0 if recipe.augment.views == "live" else recipe.augment.kept_views
    views = addresses.views_of(plan.index.items, recipe.augment, kept)
    missing = extraction.count_passes(network, recipe, views, opened.rows, opened.sources)
    if missing:
        of = console.counted(len(views), "view")
        console.note(estimate.describe_passes(plan, missing, of, plan.cuts[-1]))
    report = extraction.extract(network, recipe, views, opened.rows, opened.sources)
    if report.unreadable:
        raise DataError(unreadable_lines(report.unreadable, recipe.data.root))
    note_extraction(report, len(views))
    return report.images


class FoldTrainer:
    """Trains the network of one fold after another; each begins with the pretrained base.

    Args:
        rows: of every cut, and of other boundaries at hand.
        lowest: the lowest cut, above which layers may be trained.
        methods: how steps are computed.
    """

    def __init__(
        self, network: Network, rows: Mapping[str, TrunkRows], lowest: str, methods: StepMethods
    ) -> None:
        self.network, self._rows, self._lowest, self._methods = network, rows, lowest, methods
        in_base = self._base_variables()
        self._pretrained = [variable.numpy() for variable in in_base]

    def train(self, fold: Plan) -> None:
        """Train the stages of a fold's recipe on its training photos, as a run does."""
        self._begin(fold)
        for _ in train_unwatched(
            self.network, fold.recipe, fold.stages, fold.index, self._rows, self._methods
        ):
            pass  # only the network as the last stage leaves it is of use

    def logits(self, fold: Plan, items: tuple[Item, ...]) -> Array:
        """Logits of a softmax, (n, classes), as the last stage has left the network."""
        cut = fold.stages[-1].cut.name
        feed = StoredFeed(self.network, fold.recipe, self._rows, cut, items)
        return class_logits(Scorer(self.network, cut).logits(feed).astype(np.float64))

    def _base_variables(self) -> list[Any]:
        """What a stage may change of the base."""
        head = {id(variable) for variable in self.network.head.variables}
        variables = self.network.variables_above(self._lowest)
        return [variable for variable in variables if id(variable) not in head]

    def _begin(self, fold: Plan) -> None:
        """Put the pretrained base back, and the head that a run of the fold's seed begins with."""
        for variable, value in zip(self._base_variables(), self._pretrained, strict=True):
            variable.assign(value)
        head, shape = self.network.head, self.network.features.shape[1:]
        new = build_head(shape, fold.recipe.head, len(fold.index.classes), seed=fold.recipe.seed)
        for variable, value in zip(head.variables, new.variables, strict=True):
            variable.assign(value.numpy())


def judge_fold(trainer: FoldTrainer, fold: Plan, number: int) -> FoldResult:
    """Train a fold and judge its photos; probabilities are calibrated as those of a run."""
    started = time.monotonic()
    trainer.train(fold)
    val, judged = fold.index.of("val"), fold.index.of("test")
    temperature = None
    if val:
        labels = np.array([item.label for item in val])
        temperature = fit_calibration(trainer.logits(fold, val), labels).temperature
    logits = trainer.logits(fold, judged)
    labels = np.array([item.label for item in judged])
    classes = fold.index.classes
    names = tuple(relative_name(item.path, fold.index.root) for item in judged)
    answers = LabelledLogits(names, labels, logits, classes).guesses(Calibration(temperature))
    right = likeliest_class(logits) == labels
    return FoldResult(
        seed=fold.recipe.seed,
        fold=number,
        fitted=len(fold.index.of("train")),
        val=len(val),
        judged=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
        right=tuple(np.bincount(labels[right], minlength=len(classes)).tolist()),
        log_loss=log_loss(logits, labels, temperature or 1),
        mistakes=tuple(guess for guess in answers if guess.predicted != guess.label),
        seconds=round(time.monotonic() - started, 2),
    )


def _line(folds: FoldPlan, result: FoldResult) -> str:
    share = f"{sum(result.right):,} of {result.n:,}"
    return (
        f"seed {result.seed}, fold {result.fold} of {folds.folds}: accuracy "
        f"{result.accuracy:.4f} ({share}); {console.duration(result.seconds)}"
    )
