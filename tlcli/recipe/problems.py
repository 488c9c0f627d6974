"""What is wrong with a recipe, in the recipe's own words: wrong values, and values that clash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tlcli.errors import BoundaryError, Problem, Severity, brief, nearest, suggestion
from tlcli.networks import bases
from tlcli.networks.boundaries import HEAD_ALONE, NAME_EXPECTED
from tlcli.recipe.block import Block
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import RANDOM
from tlcli.recipe.technique_problems import check_techniques
from tlcli.system.yamlfile import Document, KeyPath, format_key


def cross_check(raw: dict[str, Any], document: Document) -> Iterator[Problem]:
    """Problems that depend on several settings.

    They are checked on raw values, so that one mistake does not hide the others.
    """
    base = raw.get("base")
    name = base.get("name") if isinstance(base, dict) else None
    if isinstance(base, dict) and isinstance(name, str):
        row = bases.lookup(name)
        if row is None:
            yield bases.unknown_base(name, document.where(("base", "name")))
        else:
            yield from _check_size(base.get("image_size"), row, document)
            if not row.pretrained and base.get("weights") != RANDOM:
                yield bases.without_weights(row, document.where(("base", "weights")))
            yield from _check_boundaries(raw, row, document)
    yield from check_techniques(raw, base_of(raw), document)
    yield from _check_mixing(raw.get("augment"), document)
    stages = raw.get("stages")
    names = (
        [s.get("name") for s in stages if isinstance(s, dict)] if isinstance(stages, list) else []
    )
    for position, stage_name in enumerate(names):
        if isinstance(stage_name, str) and stage_name in names[:position]:
            where = document.where(("stages", position, "name"))
            yield Problem(where, f"two stages are called '{stage_name}'", "give each its own name")


def _check_size(size: Any, row: bases.PretrainedBase, document: Document) -> Iterator[Problem]:
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or any(type(side) is not int for side in sides):
        return  # not a size at all: the schema reports it
    smallest = min(sides)
    if smallest < row.smallest_size:
        yield Problem(
            document.where(("base", "image_size")),
            f"{smallest} is below the smallest image {row.name} takes",
            f"use {row.smallest_size} or more; its native size is {row.native_size}",
        )


def _check_boundaries(
    raw: dict[str, Any], row: bases.PretrainedBase, document: Document
) -> Iterator[Problem]:
    keys: list[KeyPath] = [("base", "freeze_until")]
    stages = raw.get("stages")
    # Stages of the default plan have the boundary of the base, which is checked already.
    if document.has_key(("stages",)) and isinstance(stages, list):
        keys += [("stages", position, "freeze_until") for position in range(len(stages))]
    for key in keys:
        holder = raw[str(key[0])] if len(key) == 2 else raw["stages"][key[1]]
        name = holder.get("freeze_until") if isinstance(holder, dict) else None
        if not isinstance(name, str):
            continue
        try:
            boundary = row.boundary(name, where=document.where(key))
        except BoundaryError as error:
            yield from error.problems
            continue
        if boundary == row.top:
            message = f"'{name}' is the top of {row.name}: no layer of the base is left to train"
            hint = _lower_boundaries(row, name, raw["base"].get("batch_norm"))
            yield Problem(document.where(key), message, hint)


def check_fine_tuning(recipe: Recipe) -> Iterator[Problem]:
    """Stages that are to train layers of the base, above a boundary with nothing to train.

    A run that an earlier version of tlcli has recorded may have such stages, so that this is no
    part of loading a recipe.
    """
    row, batch_norm = bases.BASES[recipe.base.name], recipe.base.batch_norm
    for position, stage in enumerate(recipe.stages):
        if not stage.freeze_until:
            continue
        boundary = row.boundary(stage.freeze_until)
        if row.trained_parameters(stage.freeze_until, stage.unfreeze_from, batch_norm):
            continue
        above, hint = "no layer with weights", _lower_boundaries(row, boundary.name, batch_norm)
        severity: Severity = "error"
        if boundary.batch_norm_above:
            above, hint = "only batch norm", f"{hint}, and base.batch_norm=train trains batch norm"
            severity = "warning"  # runs that version 0.1.0 left in such a stage can be resumed
        default = not recipe.has_key("stages")  # then the stage has the boundary of the base
        key = ("base", "freeze_until") if default else ("stages", position, "freeze_until")
        yield Problem(
            recipe.where(*key),
            f"{above} is above '{boundary.name}', so the stage would train the head alone",
            hint,
            severity,
        )


def _lower_boundaries(row: bases.PretrainedBase, name: str, batch_norm: Any) -> str:
    lower = ", ".join(f"'{lower}'" for lower in row.lower_boundaries(name, str(batch_norm)))
    return f"name a lower boundary ({lower}); {HEAD_ALONE}"


def _check_mixing(augment: Any, document: Document) -> Iterator[Problem]:
    alpha = augment.get("cutmix") if isinstance(augment, dict) else None
    # What is not a number is reported by the schema.
    if type(alpha) in (int, float) and alpha and augment.get("views") != "live":
        yield Problem(
            document.where(("augment", "cutmix")),
            "cutmix pastes pixels, and activations from the feature store have none",
            "set augment.views to live, or use mixup, which can also blend activations",
        )


def explain_errors(
    error: ValidationError, model: type[Block], raw: dict[str, Any], document: Document
) -> Iterator[Problem]:
    """The errors of pydantic in the words of the recipe."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic counts only valid entries, and reports the invalid ones anyway
        key = _key(detail, raw)
        if key[:1] == ("stages",) and not document.has_key(("stages",)):
            continue  # the default stages have what is reported of the base
        words = _words(detail, key, model)
        if key[-1:] == ("freeze_until",) and detail["type"] == "string_type":
            row = base_of(raw)
            words = row.explain_boundary(detail["input"]) if row else (words[0], NAME_EXPECTED)
        elif key[-1:] == ("unfreeze_from",) and detail["type"] == "string_type":
            words = (words[0], NAME_EXPECTED)
        yield Problem(document.where(key), *words)


def base_of(raw: dict[str, Any]) -> bases.PretrainedBase | None:
    """The base that a raw recipe names, if it is one."""
    base = raw.get("base")
    name = base.get("name") if isinstance(base, dict) else None
    return bases.lookup(name) if isinstance(name, str) else None


def _key(detail: ErrorDetails, raw: Any) -> KeyPath:
    """The place in the file: pydantic's, without the parts that name alternatives of a type."""
    key: list[str | int] = []
    value = raw
    parts = detail["loc"]
    for position, part in enumerate(parts):
        inside = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            value = value[part]
            key.append(part)
        elif detail["type"] == "missing" and position == len(parts) - 1:
            key.append(part)
    return tuple(key)


_ALLOWED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "int_parsing_size": "must be a smaller number",
    "path_type": "must be a path",
    "string_type": "must be text; put numbers in quotes",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
    "tuple_type": "must be a list",
}


def _words(detail: ErrorDetails, key: KeyPath, model: type[Block]) -> tuple[str, str]:
    """What the recipe has, and what is allowed."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        name, block = str(key[-1]), _block_at(key[:-1], model)
        if name in block.refused:
            return f"'{name}' is not a setting of tlcli", block.refused[name]
        return f"unknown key '{name}'", suggestion(name, list(block.model_fields), most=99)
    if kind == "missing":
        return "missing", f"the recipe needs {format_key(key)}"
    if kind == "literal_error":
        allowed = str(context["expected"])
        near = nearest(
            str(value), [word.strip(" '") for word in allowed.replace(" or ", ",").split(",")]
        )
        hint = f"did you mean '{near}'? (allowed: {allowed})" if near else f"allowed: {allowed}"
        return f"found {brief(value)}", hint
    if kind == "value_error":
        message = str(context["error"])
        shown = "" if isinstance(value, dict) else f"found {brief(value)}; "
        return f"{shown}{message}", ""
    if kind == "string_pattern_mismatch":
        return f"found {brief(value)}", "use letters, digits, _ - and . (64 at most)"
    if kind == "model_type":
        fields = ", ".join(_block_at(key, model).model_fields)
        return f"found {brief(value)}", f"must be a block of {fields}"
    message = detail["msg"].removeprefix("Input should be ")
    allowed = _ALLOWED.get(kind) or f"must be {message[0].lower()}{message[1:]}"
    bounds = {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in context.items()
    }
    return f"found {brief(value)}", allowed.format(**bounds)


def _block_at(key: KeyPath, model: type[Block]) -> type[Block]:
    """The block at `key`, whose fields are the keys it may have."""
    for part in key:
        if isinstance(part, str):
            model = _block_in(model.model_fields[part].annotation) or model
    return model


def _block_in(annotation: Any) -> type[Block] | None:
    """The block a field holds: itself, optional, or in a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    return next(filter(None, map(_block_in, get_args(annotation))), None)
