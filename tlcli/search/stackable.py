"""Which trials train a head alone, so that many can train side by side from pooled rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import used_techniques
from tlcli.training import memory
from tlcli.training.plan import Plan

#: The share of the memory that pooled rows may take.
POOLED_SHARE = 0.25


def can_stack(recipe: Recipe, plan: Plan) -> bool:
    """Whether a recipe trains nothing but a head, in a way that goes beside others.

    Techniques of a stage are a part of the steps of a run alone. Blended photos and live views need
    other activations than the store has, another precision and random weights, which come from the
    seed, another network. The head itself computes in float32 in each; only float16 needs its loss
    scaled.
    """
    augment, available = recipe.augment, memory.available_memory()
    needs = _pooled_bytes(
        recipe, plan.row.top.shape(*recipe.base.image_size), len(plan.index.of("train"))
    )
    return (
        not any(stage.freeze_until or used_techniques(stage) for stage in recipe.stages)
        and not recipe.head.multi_layer
        and recipe.precision == plan.recipe.precision != "mixed_float16"
        and not augment.mixup
        and not augment.cutmix
        and augment.views != "live"
        and plan.recipe.augment.kept_views >= augment.kept_views
        and (recipe.base.weights != "random" or recipe.seed == plan.recipe.seed)
        and (available is None or needs < POOLED_SHARE * available)
    )


def _pooled_bytes(recipe: Recipe, shape: Sequence[int], photos: int) -> int:
    """Bytes of the pooled training rows of a head on a base with an output of this shape."""
    inputs = math.prod(shape) if recipe.head.pooling == "flatten" else int(shape[-1])
    return 4 * inputs * photos * (1 + recipe.augment.kept_views)
