"""Techniques of a stage that do not go with its other settings: each with what would.

They are checked on raw values, so that one mistake does not hide the others; what has a wrong type
is left to the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from tlcli.errors import BoundaryError, Problem, suggestion
from tlcli.networks.bases import PretrainedBase
from tlcli.networks.blocks import trained_blocks
from tlcli.recipe.first_layer import BOUNDARY, NAME
from tlcli.recipe.settings import RANDOM, Head
from tlcli.recipe.stage_settings import LBFGS, Stage
from tlcli.system.yamlfile import Document

#: What the head is called among the blocks.
HEAD = "head"

#: Techniques about the layers of the base.
_OF_THE_BASE = ("layer_decay", "rates", "l2_sp")

#: Settings of a stage about steps, of which the solver takes none.
_OF_STEPS = (
    "epochs", "learning_rate", "optimizer", "schedule", "early_stopping", "label_smoothing",
    "batch_size", "clip_norm", "ema", "average", "loss", "sampler",
)  # fmt: skip

_Stage = dict[str, Any]
#: A setting of the stage, what is wrong with it, and a hint.
_Clash = tuple[str, str, str]


def check_techniques(
    raw: dict[str, Any], row: PretrainedBase | None, document: Document
) -> Iterator[Problem]:
    """The problems of all stages of a raw recipe; `row` is its base, if it names one."""
    yield from _needs_pretrained(raw, document)
    yield from _against_multi_layer(raw, row, document)
    if row is not None:
        yield from _check_gradual(raw, row, document)
    stages = raw.get("stages")
    for position, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict):
            for key, message, hint in _clashes(stage, raw, row):
                yield Problem(document.where(("stages", position, key)), message, hint)


def _check_gradual(
    raw: dict[str, Any], row: PretrainedBase, document: Document
) -> Iterator[Problem]:
    """Whether the base has blocks for as many stages, and the recipe no stages of its own."""
    wanted, where = raw.get("gradual"), document.where(("gradual",))
    if type(wanted) is not int or wanted < 2:
        return
    written = document.value if isinstance(document.value, dict) else {}
    stages = raw.get("stages")
    if written.get("stages") is not None or ("stages",) in document.overrides:
        hint = "leave one of them out"
        yield Problem(where, "writes the stages, and the recipe lists its own", hint)
    elif _block(raw, "base").get("weights") == RANDOM:
        what = "unfreezes pretrained blocks one by one, and base.weights is random"
        yield Problem(where, what, "leave it out")
    elif isinstance(stages, list) and len(stages) < wanted:
        most = len(stages)
        what = f"found {wanted}; from its boundary down {row.name} has blocks for {most} at most"
        yield Problem(where, what, f"use {most} or less" if most > 1 else "leave it out")


def _clashes(stage: _Stage, raw: dict[str, Any], row: PretrainedBase | None) -> Iterator[_Clash]:
    if stage.get("solver") == LBFGS:
        yield from _against_solver(stage, raw)
    if stage.get("label_smoothing") and _is_focal(stage.get("loss")):
        what = "goes with cross-entropy alone, and the loss of this stage is focal"
        yield "label_smoothing", what, "leave one of them out"
    if stage.get(BOUNDARY) is None:
        yield from _about_no_base(stage)
    elif row is not None:
        yield from _unknown_blocks(stage, row)


def _about_no_base(stage: _Stage) -> Iterator[_Clash]:
    for key in _OF_THE_BASE:
        if stage.get(key) is not None:
            what = "is about layers of the base, and this stage trains the head alone"
            yield key, what, f"leave it out, or give the stage {BOUNDARY}"


def _unknown_blocks(stage: _Stage, row: PretrainedBase) -> Iterator[_Clash]:
    rates = stage.get("rates")
    if not isinstance(rates, dict) or not isinstance(stage[BOUNDARY], str):
        return
    try:
        trained = trained_blocks(row, row.boundary(stage[BOUNDARY]).name, stage.get(NAME))
    except BoundaryError:
        return  # which is reported by itself
    usable = [HEAD, *(block.name for block in reversed(trained))]
    for name in map(str, rates):
        if name in usable:
            continue
        if any(block.name == name for block in row.blocks):
            hint = f"this stage trains {', '.join(usable)}; lower its {BOUNDARY}, or leave it out"
            yield "rates", f"'{name}' is frozen in this stage", hint
        else:
            hint = suggestion(name, usable, most=99)
            yield "rates", f"{row.name} has no block '{name}'", hint


def _needs_pretrained(raw: dict[str, Any], document: Document) -> Iterator[Problem]:
    """Settings about features that are known already, where the base has random weights."""
    base, head, stages = raw.get("base"), raw.get("head"), raw.get("stages")
    if not isinstance(base, dict) or base.get("weights") != RANDOM:
        return
    for position, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict) and stage.get("l2_sp") is not None:
            what = "pulls to the pretrained weights, and base.weights is random"
            yield Problem(document.where(("stages", position, "l2_sp")), what, "leave it out")
    if isinstance(head, dict) and head.get("normalize") is True and _trains_base_first(stages):
        what = (
            "standardises by the features at the beginning, and training from scratch changes them"
        )
        yield Problem(document.where(("head", "normalize")), what, "leave it out")


def _against_multi_layer(
    raw: dict[str, Any], row: PretrainedBase | None, document: Document
) -> Iterator[Problem]:
    """What is in the way of a head on the features of several boundaries."""
    head, base, stages = _block(raw, "head"), _block(raw, "base"), raw.get("stages")
    if head.get("multi_layer") is not True:
        return
    where = document.where(("head", "multi_layer"))
    stages = stages if isinstance(stages, list) else []
    if not all(isinstance(stage, dict) and stage.get("solver") == LBFGS for stage in stages):
        hint = "write `stages: [{name: head, solver: lbfgs}]`"
        yield Problem(where, "needs stages with `solver: lbfgs` alone, which it chooses by", hint)
    if head.get("pooling", "avg") != "avg":
        what = f"takes means over space, and head.pooling is {head['pooling']}"
        yield Problem(where, what, "set head.pooling=avg")
    if row is None:
        return
    if not row.pretrained:
        yield Problem(where, f"chooses among pretrained features, and {row.name} has none")
    elif base.get(BOUNDARY) is None and row.default_boundary is None:
        yield Problem(where, f"{row.name} has no boundary below its top", "leave it out")


def _trains_base_first(stages: Any) -> bool:
    first = stages[0] if isinstance(stages, list) and stages else None
    return isinstance(first, dict) and first.get(BOUNDARY) is not None


def _against_solver(stage: _Stage, raw: dict[str, Any]) -> Iterator[_Clash]:
    """What is in the way of a solver for the head."""
    if stage.get(BOUNDARY) is not None:
        what = "lbfgs solves for the head alone, and this stage trains layers of the base"
        yield "solver", what, f"give it to a stage before, without {BOUNDARY}"
    head = _block(raw, "head")
    fields = Head.model_fields
    values = {k: head.get(k, fields[k].get_default()) for k in ("hidden", "dropout")}
    if values["hidden"] not in ([], ()) or values["dropout"] not in (0, None):
        what = "lbfgs solves for a head without hidden layers and dropout, which has one optimum"
        yield "solver", what, "set head.hidden=[] and head.dropout=0"
    augment = _block(raw, "augment")
    if augment.get("views") == "live":
        yield "solver", "lbfgs needs stored rows, and augment.views is live", "set augment.views=4"
    if augment.get("mixup") or augment.get("cutmix"):
        what = "lbfgs fits photos as they are, and augment.mixup or cutmix blends them"
        yield "solver", what, "leave mixup and cutmix out"
    for key in _OF_STEPS:
        if _is_set(stage, key):
            yield key, "has no effect with solver lbfgs, which takes no steps", "leave it out"


def _block(raw: dict[str, Any], name: str) -> dict[str, Any]:
    block = raw.get(name)
    return block if isinstance(block, dict) else {}


def _is_set(stage: _Stage, key: str) -> bool:
    """Whether a stage has a valid value for a setting that is not its default."""
    if stage.get(key) is None:
        return False
    plain = {"name": "stage", "solver": LBFGS}
    try:
        given = Stage.model_validate({**plain, key: stage[key]})
    except ValidationError:
        return False
    return bool(getattr(given, key) != getattr(Stage.model_validate(plain), key))


def _is_focal(loss: Any) -> bool:
    return loss == "focal" or (isinstance(loss, dict) and loss.get("name") == "focal")
