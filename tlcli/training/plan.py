"""What a run will do, worked out before anything is spent.

Nothing here needs TensorFlow: sizes and parameters come from the table of bases.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.data import findings
from tlcli.data.dataset import Index
from tlcli.data.findings import Finding
from tlcli.errors import DataError, Problem, TlcliError
from tlcli.features import disk_space
from tlcli.features.addresses import stored_dtype
from tlcli.features.shares import WHOLE, Share
from tlcli.networks import precision
from tlcli.networks.bases import BASES, PretrainedBase
from tlcli.networks.boundaries import PIXELS, Boundary
from tlcli.networks.precision import foresee_precision
from tlcli.pretrained.weights import WeightSource
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import LBFGS, Stage
from tlcli.system import console
from tlcli.training import memory, run_room
from tlcli.training.parent import Parent
from tlcli.training.preflight import Preflight, check_classes, check_validation
from tlcli.training.settling import find_unsettled
from tlcli.training.stage_plan import StagePlan, stage_plans


@dataclass(frozen=True)
class Plan:
    """A recipe with its photos and weights at hand, ready to run.

    Attributes:
        store_bytes: what the rows of every cut take if none is stored yet.
        precision_why: why the base computes in the precision of `recipe`. That is `auto` as long as
            TensorFlow is needed to tell, by `choose_precision`.
        problems: warnings and notes; errors would have kept the plan from being made.
        parent: the run that training starts from, if it starts from one.
    """

    recipe: Recipe
    index: Index
    source: WeightSource
    stages: tuple[StagePlan, ...]
    store_bytes: int
    cache: Path
    problems: tuple[Problem, ...]
    precision_why: str = "as the recipe says"
    parent: Parent | None = None

    @property
    def row(self) -> PretrainedBase:
        """The base's row in the table."""
        return BASES[self.recipe.base.name]

    @property
    def cuts(self) -> list[Boundary]:
        """The boundaries to extract, lowest first."""
        names = {stage.cut.name for stage in self.stages}
        return [boundary for boundary in self.row.boundaries if boundary.name in names]

    def text(self) -> str:
        """The plan as people read it."""
        chosen, counts = self.recipe, self.index.counts()
        photos = {split: sum(by_class.values()) for split, by_class in counts.items()}
        height, width = chosen.base.image_size
        listed = ", ".join(self.index.classes[:8]) + (
            ", ..." if len(self.index.classes) > 8 else ""
        )
        lines = [
            f"{chosen.name}: {len(self.index.classes)} classes ({console.one_line(listed)})",
            f"photos: {photos['train']:,} train, {photos['val']:,} val, {photos['test']:,} test",
            *([f"labels: {self.index.decided.text()}"] if self.index.decided else []),
            *([self.parent.growth(self.index).text()] if self.parent else []),
            f"base: {self.row.name} at {width} x {height} px, {self.source}",
            f"views: {self._views()}",
            f"precision: {self.recipe.precision} ({self.precision_why})",
            f"feature store: up to {console.size(self.store_bytes)} in {self.cache}",
        ]
        headers = ["stage", "frozen until", "trainable", "frozen", "epochs", "steps", "rate"]
        rows = [
            [
                planned.stage.name,
                _frozen_until(planned.stage, self.row),
                console.count(planned.trainable),
                console.count(planned.frozen),
                planned.stage.epochs,
                console.count(planned.steps),
                LBFGS if planned.stage.solver == LBFGS else f"{planned.stage.learning_rate:g}",
            ]
            for planned in self.stages
        ]
        text = "\n".join(map(console.one_line, lines)) + "\n\n" + console.table(headers, rows)
        lines = [*self._cuts_below_layers(), *self._block_rates()]
        notes = "\n".join(map(console.one_line, lines))
        return f"{text}\n\n{notes}" if notes else text

    def as_json(self) -> dict[str, Any]:
        """What `finetune --dry-run --json` prints."""
        return {
            "recipe": self.recipe.resolved(),
            "photos": self.index.counts(),
            **({"labels": self.index.decided.as_json()} if self.index.decided else {}),
            **({"start": self.parent.growth(self.index).as_json()} if self.parent else {}),
            "precision": {"used": self.recipe.precision, "why": self.precision_why},
            "store": {"folder": str(self.cache), "bytes": self.store_bytes},
            "stages": [
                {
                    "name": planned.stage.name,
                    "freeze_until": planned.stage.freeze_until,
                    "unfreeze_from": planned.stage.unfreeze_from,
                    "cut": planned.cut.name,
                    "trainable": planned.trainable,
                    "frozen": planned.frozen,
                    "epochs": planned.stage.epochs,
                    "steps": planned.steps,
                    **({"rates": dict(planned.rates)} if planned.rates else {}),
                }
                for planned in self.stages
            ],
        }

    def _views(self) -> str:
        augment = self.recipe.augment
        photos = len({item.digest for item in self.index.of("train")})
        if augment.views == "live":
            passes = sum(stage.stage.epochs for stage in self.stages) * len(self.index.of("train"))
            live = "live: a new view of every training photo in every epoch, not stored"
            through = f"up to {console.counted(passes, 'pass')} through the trunk"
            return f"{live}; {through}" if self._has_trunk else live
        if not augment.kept_views:
            return "the photos themselves, not augmented"
        needed = console.counted(photos * (1 + augment.kept_views), "pass")
        some = "up to " if augment.probability < 1 else ""  # views as their photos need none
        kept = console.counted(augment.kept_views, "augmented view")
        through = f"{some}{needed} through the trunk, once"
        return f"every training photo and {kept}" + (f"; {through}" if self._has_trunk else "")

    def _cuts_below_layers(self) -> Iterator[str]:
        """A line for each stage whose first layer lies inside a block: where it is cut instead."""
        for stage in (planned.stage for planned in self.stages):
            if stage.unfreeze_from is not None:
                between = self.row.first_layer(stage.unfreeze_from).between
                listed = ", ".join(between[:4]) + (", ..." if len(between) > 4 else "")
                layers = console.counted(len(between), "layer")
                yield (
                    f"{stage.name}: no clean cut lies right below {stage.unfreeze_from}, so it "
                    f"trains from {stage.freeze_until}; {layers} between stay frozen: {listed}"
                )

    def _block_rates(self) -> Iterator[str]:
        """A line for each stage whose blocks have learning rates of their own, from the top."""
        for planned in self.stages:
            if planned.rates:
                listed = ", ".join(f"{name} {rate:.3g}" for name, rate in planned.rates.items())
                yield f"{planned.stage.name}: learning rates {listed}"

    @property
    def _has_trunk(self) -> bool:
        """Whether some stage trains from more than pixels."""
        return any(cut.name != PIXELS for cut in self.cuts)


def make_plan(checked: Preflight, *, share: Share = WHOLE) -> Plan:
    """Work the plan out; raises one `TlcliError` with every error of the preflight.

    The disk must have room for the rows of a share of the photos.
    """
    recipe, index, source = checked.recipe, checked.index, checked.source
    if checked.errors or index is None or source is None:
        raise TlcliError([*checked.errors, *_how_to_proceed(checked.findings)])
    choice = None
    if recipe.precision == "auto":
        choice = foresee_precision(recipe.base.name, checked.cache)
        recipe = recipe.with_precision(choice.precision) if choice.precision else recipe
    stages = tuple(stage_plans(recipe, index))
    needed = _store_bytes(recipe, index, {stage.cut for stage in stages})
    shortages = [
        *memory.check_memory(recipe, stages),
        *disk_space.check_planned_rows(checked.cache, needed // share.count),
        *(run_room.check_run_room(checked.run_folder, stages) if checked.run_folder else ()),
    ]
    if errors := [problem for problem in shortages if problem.severity == "error"]:
        raise TlcliError(errors)
    problems = (*checked.all_problems, *shortages, *find_unsettled(recipe, stages))
    plan = Plan(recipe, index, source, stages, needed, checked.cache, problems)
    plan = replace(plan, parent=checked.parent)
    return replace(plan, precision_why=choice.why) if choice else plan


def choose_precision(plan: Plan) -> Plan:
    """The plan with a precision that is known; measures what `auto` means where that is needed.

    Whatever computes by a plan asks for this first: it needs TensorFlow, which a plan does not. A
    precision that is slow on this machine is used all the same, and a note says so.
    """
    if plan.recipe.precision != "auto":
        _note_slow(plan)
        return plan
    choice = precision.choose_precision(plan.row.name, plan.cache)
    recipe = plan.recipe.with_precision(choice.precision or "float32")
    console.note(f"precision: {recipe.precision} ({choice.why})")
    return replace(plan, recipe=recipe, precision_why=choice.why)


def _note_slow(plan: Plan) -> None:
    if plan.recipe.precision != "mixed_bfloat16" or precision.VARIABLE in os.environ:
        return
    choice = precision.choose_precision(plan.row.name, plan.cache)
    if choice.precision == "float32":
        console.note(f"precision: mixed_bfloat16 is no faster than float32 here ({choice.why})")


def _frozen_until(stage: Stage, row: PretrainedBase) -> str:
    if stage.unfreeze_from is not None:
        return f"below {stage.unfreeze_from}"
    if stage.freeze_until is None:
        return f"{row.top.name} (whole base)"
    return f"{PIXELS} (nothing)" if stage.freeze_until == PIXELS else stage.freeze_until


def _how_to_proceed(photo_findings: Iterable[Finding]) -> Iterator[Problem]:
    """What can be done about photos that cannot be used, in lines at the end of all."""
    stopping = [finding for finding in photo_findings if finding.severity == "error"]
    unusable = [
        path for finding in stopping if finding.kind in findings.UNUSABLE for path in finding.paths
    ]
    if unusable:
        message = f"{console.counted(len(unusable), 'photo')} cannot be used"
        hint = (
            "repair them, list them for data.exclude with `tlcli check --fix-list bad.txt`, or "
            "train without them with data.on_bad_image=skip"
        )
        yield Problem("data", message, hint)
    yield from findings.name_them_all(stopping, "error")


def without_unreadable(plan: Plan, unreadable: Collection[Path]) -> Plan:
    """The plan without photos that turned out unreadable, and without their copies.

    Raises `DataError` where what is left cannot be trained on as the recipe says.
    """
    if not unreadable:
        return plan
    unreadable_digests = {item.digest for item in plan.index.items if item.path in unreadable}
    index = plan.index.without({i.path for i in plan.index.items if i.digest in unreadable_digests})
    lost = check_classes(plan.index, index)
    problems = [finding.as_problem(index.root) for finding in lost]
    problems += check_validation(plan.recipe, index)
    if any(problem.severity == "error" for problem in problems):
        raise DataError(problems)
    for problem in problems:
        console.warn(str(problem))
    return replace(plan, index=index, stages=tuple(stage_plans(plan.recipe, index)))


def _store_bytes(recipe: Recipe, index: Index, cuts: set[Boundary]) -> int:
    live = recipe.augment.views == "live"
    per_training_photo = 0 if live else 1 + recipe.augment.kept_views
    rows = sum(
        per_training_photo if item.split == "train" else 1
        for item in {item.digest: item for item in index.items}.values()
    )
    number = 4 if stored_dtype(recipe) == "float32" else 2
    return sum(
        rows * (1 if cut.name == PIXELS else number) * math.prod(cut.shape(*recipe.base.image_size))
        for cut in cuts
    )
