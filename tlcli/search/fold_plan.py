"""The photos of a recipe in folds: who trains, who chooses the best epoch, who is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.audit_cache import AuditCache
from tlcli.data.dataset import Index, Item
from tlcli.data.findings import group_unreadable
from tlcli.data.folds import make_folds, smallest_class
from tlcli.data.inspections import inspect_photos
from tlcli.data.photo_groups import distinct_photos, group_photos
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem, RecipeError
from tlcli.recipe.recipe import Recipe
from tlcli.runs.fold_record import FoldRecord, FoldSettings
from tlcli.runs.probe_record import fingerprint_photos
from tlcli.system import console
from tlcli.training import estimate
from tlcli.training.plan import Plan
from tlcli.training.preflight import check_validation
from tlcli.training.stage_plan import stage_plans

Array = npt.NDArray[Any]

#: The splits whose photos are divided. Test photos stay what they are: the last word.
DIVIDED: tuple[SplitName, ...] = ("train", "val")


@dataclass(frozen=True)
class FoldPlan:
    """A k-fold evaluation, worked out before TensorFlow is loaded.

    Attributes:
        plan: of the recipe with the stages to train; its photos are all that are divided, as
            training photos.
        groups: the name of the group of each photo, which stays together.
        val: how many of the photos the recipe holds back to choose the best epoch.
        folds: of each division.
        seeds: each divides the photos anew, and trains with its own random numbers.
    """

    plan: Plan
    groups: tuple[str, ...]
    val: int
    folds: int
    seeds: tuple[int, ...]

    @cached_property
    def labels(self) -> Array:
        """The classes of the photos, (n,)."""
        return np.array([item.label for item in self.plan.index.items])

    @property
    def settings(self) -> FoldSettings:
        """What folds of an earlier evaluation must have in common with these."""
        recipe, index = self.plan.recipe, self.plan.index
        if recipe.chooses_precision:
            recipe = recipe.model_copy(update={"precision": "auto"})
        return FoldSettings(
            recipe=recipe.fingerprint(),
            data=fingerprint_photos((i.digest, index.classes[i.label]) for i in index.items),
            val=self.val,
            folds=self.folds,
            stages=tuple(stage.name for stage in recipe.stages),
        )

    @property
    def numbers(self) -> list[tuple[int, int]]:
        """Seed and number of every fold, in order."""
        return [(seed, fold) for seed in self.seeds for fold in range(1, self.folds + 1)]

    def count_known(self, record: FoldRecord) -> int:
        """How many of the folds a record has."""
        return sum(record.find(*each) is not None for each in self.numbers)

    def select(self, record: FoldRecord) -> FoldRecord:
        """The record with the results of these folds alone, in order."""
        results = [record.find(*each) for each in self.numbers]
        return record.model_copy(update={"results": tuple(filter(None, results))})

    def new_record(self) -> FoldRecord:
        """The record without a result."""
        recipe = self.plan.recipe
        return FoldRecord(
            settings=self.settings,
            name=recipe.name,
            base=recipe.base.name,
            image_size=recipe.base.image_size,
            classes=self.plan.index.classes,
            photos=len(self.plan.index.items),
            images=0,
            precision=recipe.policy,
        )

    def divide(self, seed: int) -> Iterator[Plan]:
        """The plan of each fold: its photos in train and val, and in test those to judge.

        Folds are stratified. The validation photos of a fold are as large a part of what is left
        as the recipe's are of all.
        """
        recipe = self.plan.recipe.model_copy(update={"seed": seed})
        names = np.asarray(self.groups)
        for fold in make_folds(self.labels, self.groups, self.folds, seed):
            splits: list[SplitName] = ["train"] * len(names)
            for position in fold.judged:
                splits[position] = "test"
            for position in self._held_back(fold.fitted, names, seed):
                splits[position] = "val"
            items = (
                replace(item, split=split)
                for item, split in zip(self.plan.index.items, splits, strict=True)
            )
            index = replace(self.plan.index, items=tuple(items))
            _check_watched(recipe, index)
            stages = tuple(stage_plans(recipe, index))
            yield replace(self.plan, recipe=recipe, index=index, stages=stages)

    def _held_back(self, fitted: Array, names: Array, seed: int) -> Array:
        """Those of a fold's photos that choose the best epoch; none where the recipe has none."""
        labels, groups = self.labels[fitted], names[fitted]
        most = smallest_class(labels, groups)
        if not self.val or most < 2:
            return fitted[:0]
        parts = min(most, max(2, round(len(names) / self.val)))
        inner = make_folds(labels, groups.tolist(), parts, seed)[0]
        return np.asarray(fitted[inner.judged])

    def text(self) -> str:
        """What is going to be trained, and how long that takes, less the features."""
        first = next(self.divide(self.seeds[0]))
        counts = [len(first.index.of(split)) for split in ("train", "val", "test")]
        trainings = self.folds * len(self.seeds)
        stages = ", ".join(stage.name for stage in self.plan.recipe.stages)
        text = (
            f"{self.folds} folds x {console.counted(len(self.seeds), 'seed')} of "
            f"{len(self.labels):,} photos: {trainings} trainings of {stages}, each on about "
            f"{counts[0]:,} photos, with {counts[1]:,} to choose the epoch and {counts[2]:,} to "
            "judge"
        )
        guess = estimate.estimate(first)
        if guess is None:
            return text
        return f"{text}; about {console.duration(trainings * (guess.total - guess.extract))}"


def plan_folds(plan: Plan, folds: int, seeds: int, *, tuning: bool) -> FoldPlan:
    """Plan the folds of the training and validation photos of a recipe.

    The stages of the head are trained, which are those before the first that tunes the base; with
    `tuning` all of them. Copies count once; groups, copies and near copies stay in one fold. Raises
    a `TlcliError` where a class has photos for fewer folds.
    """
    recipe = _with_stages(plan.recipe, tuning=tuning)
    items, groups = _readable_photos(plan)
    val = sum(item.split == "val" for item in items)
    _check_classes(plan.index, items, groups, folds)
    as_training = tuple(replace(item, split="train", divided=False) for item in items)
    index = replace(plan.index, items=as_training, findings=(), notes=())
    stages = tuple(stage_plans(recipe, index))
    planned = replace(plan, recipe=recipe, index=index, stages=stages)
    every = tuple(range(recipe.seed, recipe.seed + seeds))
    return FoldPlan(planned, tuple(groups), val, folds, every)


def _readable_photos(plan: Plan) -> tuple[list[Item], list[str]]:
    """The photos to divide, copies counted once, and the group of each.

    Photos that cannot be decoded are left out with a warning, or an error, as the recipe says.
    """
    items = distinct_photos([item for item in plan.index.items if item.split in DIVIDED])
    depth = plan.recipe.data.depth
    with AuditCache(plan.cache, depth) as cache:
        inspections = inspect_photos(items, cache, depth)
    bad = [
        (item.path, inspections[item.digest].problem(item.path))
        for item in items
        if inspections[item.digest].message
    ]
    if bad:
        skip = plan.recipe.data.on_bad_image == "skip"
        problems = [f.as_problem(plan.index.root) for f in group_unreadable(bad, skip=skip)]
        if not skip:
            raise DataError(problems)
        for problem in problems:
            console.warn(str(problem))
        lost = {path for path, _ in bad}
        items = [item for item in items if item.path not in lost]
    return items, group_photos(items, {name: each.thumbnail for name, each in inspections.items()})


def _with_stages(recipe: Recipe, *, tuning: bool) -> Recipe:
    if tuning:
        return recipe
    heads = next((n for n, s in enumerate(recipe.stages) if s.freeze_until), len(recipe.stages))
    if not heads:
        message = "tunes the base, so no stage trains the head alone"
        where = recipe.where("stages", 0)
        raise RecipeError(Problem(where, message, "add --tuning, which trains all stages"))
    return recipe.model_copy(update={"stages": recipe.stages[:heads]})


def _check_classes(index: Index, items: list[Item], groups: list[str], folds: int) -> None:
    """Raise `DataError` where a class has photos for fewer folds."""
    counts = {
        name: len({group for item, group in zip(items, groups, strict=True) if item.label == label})
        for label, name in enumerate(index.classes)
    }
    name, least = min(counts.items(), key=lambda pair: pair[1])
    if least >= folds:
        return
    apart = f"class '{name}' has {console.counted(least, 'training and validation photo')} that "
    apart += "may be apart (groups, copies and near copies stay in one fold)"
    if least < 2:
        message, hint = f"{apart}, and two are the least", "add photos, or leave the class out"
    else:
        message, hint = f"{apart}, so {least} folds are possible", f"--folds {least}, or add photos"
    raise DataError(Problem(f"--folds {folds}", message, hint))


def _check_watched(recipe: Recipe, index: Index) -> None:
    """Raise `DataError` where a stage watches validation photos and a fold has none left."""
    if problems := [p for p in check_validation(recipe, index) if p.severity == "error"]:
        hint = "add photos, or take that setting out for this with --set"
        message = "too few photos are left in a fold to hold some back, and a stage watches them"
        raise DataError([*problems, Problem("--folds", message, hint)])
