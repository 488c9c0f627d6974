"""The defaults of a recipe that depend on its other settings."""

from __future__ import annotations

from typing import Any

from tlcli.networks.bases import PretrainedBase
from tlcli.networks.boundaries import PIXELS
from tlcli.recipe.problems import base_of
from tlcli.recipe.recipe import plain_name
from tlcli.recipe.settings import RANDOM
from tlcli.recipe.stage_settings import FINE_TUNING_RATE

#: The rate of a stage that trains layers from random weights; fine-tuning has a lower one.
SCRATCH_RATE = 1e-3


def fill_in(raw: dict[str, Any], stem: str) -> None:
    """Write the defaults that depend on other settings into a raw recipe; `stem` is its file's."""
    raw.setdefault("name", plain_name(stem))
    base, row = raw.get("base"), base_of(raw)
    if isinstance(base, dict):
        _fill_in_base(raw, base, row)
    if raw.get("stages") is None:
        raw["stages"] = _default_stages(base if isinstance(base, dict) else {})
        if row is not None:
            raw["stages"] += deeper_stages(raw, row)
    if _is_from_scratch(base):
        _fill_in_rates(raw["stages"])


def _fill_in_base(raw: dict[str, Any], base: dict[str, Any], row: PretrainedBase | None) -> None:
    if row is not None:
        base["name"] = row.name
        _fill_in_own(raw, base, row)
        if base.get("freeze_until") is None and raw.get("stages") is None:
            base["freeze_until"] = PIXELS if _is_from_scratch(base) else row.default_boundary
    if base.get("image_size") is None:
        # An unknown name is reported; any valid size keeps it from being reported twice.
        base["image_size"] = row.native_size if row else 224
    if base.get("batch_norm") is None and _is_from_scratch(base):
        base["batch_norm"] = "train"


def _fill_in_own(raw: dict[str, Any], base: dict[str, Any], row: PretrainedBase) -> None:
    """What a base that is not pretrained comes with: random weights, and a head."""
    if row.head is None:
        return
    if base.get("weights") is None:
        base["weights"] = RANDOM
    head = {} if raw.get("head") is None else raw["head"]
    if isinstance(head, dict):
        own = {
            "pooling": row.head.pooling,
            "hidden": list(row.head.hidden),
            "dropout": row.head.dropout,
        }
        raw["head"] = {**own, **head}


def _default_stages(base: dict[str, Any]) -> list[Any]:
    boundary = base.get("freeze_until")
    if _is_from_scratch(base):
        return [{"name": "scratch", "freeze_until": boundary}]
    tuning = [{"name": "fine-tune", "freeze_until": boundary}] if boundary else []
    return [{"name": "head"}, *tuning]


def deeper_stages(raw: dict[str, Any], row: PretrainedBase) -> list[dict[str, Any]]:
    """The stages that `gradual` adds to the default plan of a raw recipe: one block more in each.

    Each has about a third of the rate of the one before. They are as many as the base has blocks
    for.
    """
    wanted, boundary = raw.get("gradual"), raw["base"].get("freeze_until")
    order = [known.name for known in row.boundaries]
    if type(wanted) is not int or boundary not in order or _is_from_scratch(raw["base"]):
        return []
    lower = [block.below.name for block in reversed(row.blocks)]
    lower = [name for name in lower if order.index(name) < order.index(boundary)]
    return [
        {
            "name": f"fine-tune-{number}",
            "freeze_until": name,
            "learning_rate": float(f"{FINE_TUNING_RATE * 0.1 ** ((number - 1) / 2):.0e}"),
        }
        for number, name in enumerate(lower[: max(wanted - 2, 0)], start=2)
    ]


def _is_from_scratch(base: Any) -> bool:
    return isinstance(base, dict) and base.get("weights") == RANDOM


def _fill_in_rates(stages: Any) -> None:
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, dict) and stage.get("learning_rate") is None:
            stage["learning_rate"] = SCRATCH_RATE
