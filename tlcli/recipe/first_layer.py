"""`unfreeze_from`, the first layer that a stage trains, as the boundary that it stands for.

A stage keeps `unfreeze_from` only where the layer lies inside a block, with the highest clean
boundary below it as `freeze_until`. Otherwise the boundary says the same, and stands alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlcli.errors import BoundaryError, Problem
from tlcli.networks.bases import PretrainedBase
from tlcli.system.yamlfile import Document

NAME, BOUNDARY = "unfreeze_from", "freeze_until"


def resolve_first_layers(
    raw: dict[str, Any], row: PretrainedBase, document: Document
) -> Iterator[Problem]:
    """Write boundaries into the stages of a raw recipe; the problems of those that cannot be."""
    stages = raw.get("stages")
    for position, stage in enumerate(stages if isinstance(stages, list) else ()):
        if not isinstance(stage, dict) or stage.get(NAME) is None:
            continue
        where = document.where(("stages", position, NAME))
        if stage.get(BOUNDARY) is not None:
            message = f"{BOUNDARY} stands beside it, and both say where to cut"
            yield Problem(where, message, "leave one of them out")
            continue
        try:
            first = row.first_layer(stage[NAME], where=where)
        except BoundaryError as error:
            yield from error.problems
            continue
        stage[BOUNDARY] = first.boundary.name
        if not first.between:
            del stage[NAME]


def leave_out_boundaries(values: dict[str, Any]) -> None:
    """Write the stages of a recipe as `resolve_first_layers` takes them, in place."""
    for stage in values["stages"]:
        del stage[BOUNDARY if stage.get(NAME) else NAME]
