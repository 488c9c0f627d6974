"""The tables that `tlcli bases` prints."""

from __future__ import annotations

from typing import Any

from tlcli.errors import RecipeError
from tlcli.networks import bases
from tlcli.networks.boundaries import NO_LAYER, PIXELS, Boundary
from tlcli.system import console


def bases_table(name: str | None) -> tuple[str, Any]:
    """All bases, or the clean boundaries of one: as text, and as a value for JSON.

    Raises `RecipeError` for a name that is not in the table.
    """
    if name is None:
        return _all_bases()
    row = bases.lookup(name)
    if row is None:
        raise RecipeError(bases.unknown_base(name, "bases"))
    return _boundaries(row)


def _all_bases() -> tuple[str, Any]:
    headers = (
        "base", "parameters", "native", "smallest", "pixels", "boundaries", "default freeze_until"
    )  # fmt: skip
    rows = [
        [
            row.name, console.count(row.parameters), row.native_size, row.smallest_size,
            row.convention, len(row.boundaries), row.default_boundary or "-",
        ]
        for row in bases.BASES.values()
    ]  # fmt: skip
    *most, last = (row.name for row in bases.BASES.values() if not row.pretrained)
    listed = f"{', '.join(most)} and {last}"
    text = console.table(headers, rows)
    text += (
        "\n\nSizes are in pixels. The pixels that a base expects: caffe is BGR minus the ImageNet "
        "mean, tf\n-1..1, torch standardised, unit 0..1, raw 0..255; tlcli converts inside the "
        f"model.\n{listed} have no pretrained weights: they\n"
        "are trained from scratch, to compare with.\n"
        "`tlcli bases NAME` shows the boundaries of one."
    )
    value = [
        {
            "name": row.name,
            "parameters": row.parameters,
            "native_size": row.native_size,
            "smallest_size": row.smallest_size,
            "pixels": row.convention,
            "pretrained": row.pretrained,
            "boundaries": [boundary.name for boundary in row.boundaries],
            "default_boundary": row.default_boundary,
        }
        for row in bases.BASES.values()
    ]
    return text, value


def _boundaries(row: bases.PretrainedBase) -> tuple[str, Any]:
    size = row.native_size
    value: list[dict[str, Any]] = [
        {
            "boundary": boundary.name,
            "shape": list(boundary.shape(size, size)),
            "parameters_above": boundary.parameters_above,
            "default": boundary.name == row.default_boundary,
            "practical": boundary.practical,
        }
        for boundary in row.boundaries
    ]
    rows = [
        [
            entry["boundary"],
            " x ".join(map(str, entry["shape"])),
            console.count(entry["parameters_above"]),
            _remark(row, boundary),
        ]
        for boundary, entry in zip(row.boundaries, value, strict=True)
    ]
    text = console.table(("freeze_until", f"output at {size} px", "parameters above", ""), rows)
    text += f"\n\n'{PIXELS}', or '{NO_LAYER}', freezes nothing: the whole base trains."
    text += "\n'as the next', 'as pixels': that boundary trains the same layers and stores less."
    text += "\n'head alone': nothing above is fine-tuned; these are for `tlcli extract`."
    return text, value


def _remark(row: bases.PretrainedBase, boundary: Boundary) -> str:
    if not boundary.trainable("frozen"):
        return "head alone"
    if boundary.name == row.default_boundary:
        return "default"
    if boundary.practical:
        return ""
    like_pixels = boundary.trainable_above == row.boundaries[0].trainable_above
    return "as pixels" if like_pixels else "as the next"
