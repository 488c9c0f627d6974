"""Warnings and notes about a recipe that is valid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tlcli.errors import Problem
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import RANDOM
from tlcli.system.yamlfile import KeyPath

#: The key of a doubtful setting, what is doubtful about it, and a hint.
_Doubt = tuple[KeyPath, str, str]


def advise(recipe: Recipe) -> list[Problem]:
    """Warnings about settings that are allowed and rarely wise."""
    doubts = [*_doubts_of_stages(recipe), *_idle_views(recipe)]
    warnings = [Problem(recipe.where(*key), what, hint, "warning") for key, what, hint in doubts]
    return [*warnings, *_mixing(recipe)]


def _doubts_of_stages(recipe: Recipe) -> Iterator[_Doubt]:
    pretrained = recipe.base.weights != RANDOM
    for position, (before, stage) in enumerate(pairwise(recipe.stages), start=1):
        if pretrained and stage.freeze_until and stage.learning_rate >= before.learning_rate:
            yield (
                ("stages", position, "learning_rate"),
                f"{stage.learning_rate:g} is not lower than the {before.learning_rate:g} of "
                f"stage '{before.name}': large steps destroy pretrained weights",
                "1e-5 is a good starting point",
            )
    for position, stage in enumerate(recipe.stages):
        if stage.schedule.warmup_epochs >= stage.epochs:
            yield (
                ("stages", position, "schedule"),
                f"{stage.schedule.warmup_epochs:g} warm-up epochs fill all {stage.epochs} "
                "epochs of the stage",
                "lower warmup_epochs",
            )
    if pretrained and recipe.stages[0].freeze_until:
        yield (
            ("stages", 0, "freeze_until"),
            "the first stage trains layers of the base under a head with random weights, "
            "whose gradients destroy what they have learned",
            "begin with a stage without freeze_until",
        )
    used = [stage.freeze_until for stage in recipe.stages]
    is_used = recipe.head.multi_layer or recipe.base.freeze_until in used
    if recipe.base.freeze_until and not is_used:
        yield (
            ("base", "freeze_until"),
            f"no stage uses '{recipe.base.freeze_until}'",
            "give freeze_until to a stage, or leave `stages` out for the default plan",
        )
    smallest = min(stage.batch_size or recipe.batch_size for stage in recipe.stages)
    if recipe.base.batch_norm == "train" and smallest < 16:
        yield (
            ("base", "batch_norm"),
            f"the statistics of batches of {smallest} photos are noisy",
            "use a batch size of 16 or more, or `frozen`",
        )


def _idle_views(recipe: Recipe) -> Iterator[_Doubt]:
    """Views that change nothing, and settings of views where there are no views."""
    augment = recipe.augment
    settings = "set rotation_range, horizontal_flip, ..."
    beside = f"augment.{augment.changing[0]}" if augment.changing else ""
    if beside and augment.views != 0 and "preset" in augment.model_fields_set:
        what = f"none does not switch off what stands beside it, such as {beside}"
        yield ("augment", "preset"), what, "augment.views=0 trains on the photos as they are"
    if beside and augment.probability == 0:
        what = f"0 leaves every view as its photo, whatever {beside} says"
        yield ("augment", "probability"), what, "raise it, or leave it out"
    elif augment.changes_pixels:
        if augment.views == 0:
            what = "0 views are kept, so the other settings have no effect"
            yield ("augment", "views"), what, "set it to 4, or to live"
    elif augment.views == "live" and not (augment.mixup or augment.cutmix):
        what = "no setting of `augment` changes a photo: every epoch would repeat the same work"
        yield ("augment", "views"), what, f"{settings}, or leave views out"
    elif augment.views not in (0, "live") and not augment.mixup:
        what = "no setting of `augment` changes a photo, so no views are kept"
        yield ("augment", "views"), what, settings


def _mixing(recipe: Recipe) -> Iterator[Problem]:
    """Notes about what mixing photos means beside the obvious."""
    augment = recipe.augment
    if augment.mixup and augment.views != "live":
        yield Problem(
            recipe.where("augment", "mixup"),
            "blends activations at the boundary, not pixels (manifold mixup): the trunk runs once",
            "set augment.views=live to blend pixels",
            "note",
        )
    if augment.mixup or augment.cutmix:
        yield Problem(
            recipe.where("augment", "mixup" if augment.mixup else "cutmix"),
            "training accuracy counts the class with the larger share in a mixed photo",
            "validation and test are not mixed",
            "note",
        )
