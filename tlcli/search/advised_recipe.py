"""The recipe of an advice: the one that was measured, with the strategy's settings and reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tlcli.data.starter_recipe import place_from
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.stage_settings import Stage
from tlcli.search.strategies import Strategy
from tlcli.search.tuning_trial import (
    HEAD_RATE,
    HEAD_STEPS,
    TUNING_RATE,
    TUNING_STEPS,
    enough_epochs,
)
from tlcli.system.console import one_line
from tlcli.system.yamlfile import KeyPath, dump_yaml, quote_scalar
from tlcli.training.plan import Plan

#: Epochs of the stages, and the patience of both, where there are photos to watch.
HEAD_EPOCHS, TUNING_EPOCHS, PATIENCE = 30, 15, 8

#: Views of each training photo, and movements that no kind of photo minds, where none are set.
VIEWS = 3
MOVEMENTS = {
    "rotation_range": 10, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.1
}  # fmt: skip

#: The column at which reasons begin.
_COLUMN = 34


def write_recipe_text(plan: Plan, strategy: Strategy, path: Path) -> str:
    """The text of the recipe as the file `path`, each key with its reason as a comment."""
    values, reasons = _settings(plan, strategy, path)
    head = [
        f"# By `tlcli advise`: {strategy.name}.",
        *(f"# - {one_line(reason)}." for reason in strategy.reasons),
        f"# Train:  tlcli finetune --config {one_line(path.name)}",
        "",
    ]
    return "\n".join([*head, *_lines(values, reasons), ""])


def _settings(
    plan: Plan, strategy: Strategy, path: Path
) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Values of the recipe and reasons of its keys; a key without one is as it was measured."""
    recipe = plan.recipe
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    values["data"] = _with_places(values["data"], path)
    if recipe.chooses_precision:
        values.pop("precision", None)
    base = {"name": recipe.base.name, **values.pop("base")}
    base.pop("freeze_until", None)
    base["image_size"] = _size(recipe)
    if recipe.base.weights not in ("imagenet", "random"):
        base["weights"] = place_from(path, Path(recipe.base.weights))
    stages, of_stages = _stages(plan, strategy)
    augment, of_views = _augment(recipe, strategy)
    keys = [key for key in ("name", "seed", "data") if key in values]
    first: dict[str, Any] = {key: values.pop(key) for key in keys}
    blocks: dict[str, Any] = {
        "base": base,
        "head": recipe.head.model_dump(mode="json"),
        "augment": augment,
    }
    for key in blocks:
        values.pop(key, None)
    values.pop("stages", None)
    size = {"batch_size": values.pop("batch_size", recipe.batch_size)}
    moves: dict[KeyPath, str] = {
        ("augment", key): "small movements; set what your photos allow"
        for key in augment
        if not recipe.has_key("augment", key)
    }
    reasons: dict[KeyPath, str] = {**moves, ("augment", "views"): of_views, **of_stages}
    return {**first, **blocks, "stages": stages, **size, **values}, reasons


def _with_places(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The data block with its paths as the file `path` writes them."""
    data = dict(data)
    for key in ("dir", "csv", "exclude", "labels"):
        if data.get(key):
            data[key] = place_from(path, Path(data[key]))
    if (data.get("split") or {}).get("file"):
        data["split"] = {**data["split"], "file": place_from(path, Path(data["split"]["file"]))}
    return data


def _size(recipe: Recipe) -> int | list[int]:
    height, width = recipe.base.image_size
    return height if height == width else [height, width]


def _augment(recipe: Recipe, strategy: Strategy) -> tuple[dict[str, Any], str]:
    if not strategy.augment:
        reason = "no augmented views: " + (
            "the head alone is trained" if strategy.freeze_until is None else "enough photos"
        )
        return {"views": 0}, reason
    own = recipe.augment.model_dump(mode="json", exclude_defaults=True)
    own.pop("views", None)
    moved = own if recipe.augment.changes_pixels else {**MOVEMENTS, **own}
    why = "more photos would help" if strategy.few else "layers that learn anew need variety"
    return {"views": recipe.augment.kept_views or VIEWS, **moved}, f"augmented views: {why}"


def _stages(plan: Plan, strategy: Strategy) -> tuple[list[dict[str, Any]], dict[KeyPath, str]]:
    photos, size = len(plan.index.of("train")), plan.recipe.batch_size
    before = plan.recipe.stages
    stages = [
        {
            "name": "head",
            "epochs": enough_epochs(HEAD_EPOCHS, HEAD_STEPS, photos, size),
            "learning_rate": HEAD_RATE,
            **_kept(plan, before[0]),
        }
    ]
    steps = f"at most, and enough for {HEAD_STEPS} steps"
    reasons: dict[KeyPath, str] = {
        ("stages", 0, "epochs"): steps,
        ("stages", 0, "learning_rate"): "the usual rate of Adam, for a head that begins at random",
    }
    if strategy.freeze_until is not None:
        stages.append(
            {
                "name": "tuning",
                "freeze_until": strategy.freeze_until,
                "epochs": enough_epochs(TUNING_EPOCHS, TUNING_STEPS, photos, size),
                "learning_rate": TUNING_RATE,
                **_kept(plan, before[-1]),
            }
        )
        why = (
            "the layers above make these photos harder to tell apart"
            if strategy.foreign
            else "the base's default: the photos are like ImageNet"
        )
        reasons |= {
            ("stages", 1, "freeze_until"): why,
            ("stages", 1, "epochs"): "at most",
            ("stages", 1, "learning_rate"): "low, to keep what is learned",
        }
    reasons["stages", 0, "name"] = "the head alone first: its first gradients are random"
    reasons["stages", 1, "name"] = strategy.name
    for number in range(len(stages)):
        reasons["stages", number, "early_stopping"] = "epochs without a better validation loss"
    return stages, reasons


def _kept(plan: Plan, stage: Stage) -> dict[str, Any]:
    """What stays of a stage of the recipe, and patience where there are photos to watch."""
    kept: dict[str, Any] = {"early_stopping": PATIENCE} if plan.index.of("val") else {}
    for key in ("class_weights", "label_smoothing"):
        if value := getattr(stage, key):
            kept[key] = value
    return kept


def _lines(
    values: Mapping[str, Any], reasons: Mapping[KeyPath, str], at: KeyPath = ()
) -> Iterator[str]:
    """The lines of a block: a key, its value, and its reason as a comment."""
    indent = "  " * len(at)
    for key, value in values.items():
        place, name = (*at, key), f"{indent}{quote_scalar(str(key))}:"
        if isinstance(value, Mapping) and value:
            yield name
            yield from _lines(value, reasons, place)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield name
            for number, entry in enumerate(value):
                first, *rest = _lines(entry, reasons, (*place, number))
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            reason = reasons.get(place, "as in the recipe that was measured")
            yield f"{f'{name} {_flow(value)}':<{_COLUMN}}  # {reason}"


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return quote_scalar(value)
    return dump_yaml(value).removesuffix("\n").removesuffix("\n...")
