"""The blocks of a base, from the bottom up: what layers of one depth are called together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tlcli.networks.boundaries import PIXELS, Boundary

#: What the layers before the first named block are called.
STEM = "stem"

#: How Keras' names of layers begin with that of their block, as in `block5_conv1`,
#: `conv5_block3_2_conv`, `block_16_expand`, `conv_dw_13`, `mixed10`.
_NAMED = re.compile(
    r"(?P<name>block_?\d+|conv\d+(?=_|$)|expanded_conv(?:_\d+)?(?=_)|mixed_?\d+[a-z]?"
    r"|(?<=_)stage_\d+)|conv_(?:dw|pw)_(?P<number>\d+)"
)
_PREFIX = re.compile(r"^(?:.*_(?=stage_\d))?")


@dataclass(frozen=True)
class BaseBlock:
    """A block of a base.

    Attributes:
        name: how its layers begin, `block5`, `conv5`, `block_16`, `mixed10`.
        layers: those of its layers that have weights to train.
        below: the highest boundary under all of them.
    """

    name: str
    layers: tuple[str, ...]
    below: Boundary


def find_blocks(
    layers: Sequence[str], boundaries: Sequence[Boundary], weighted: Collection[str]
) -> tuple[BaseBlock, ...]:
    """The blocks with weights of a base with these layers and clean boundaries, bottom to top.

    All layers between two boundaries are of one block: the one that the first of them is named
    after. Where none is, they belong to the block below, at the bottom to `STEM`. `weighted` are
    the layers that have weights.
    """
    blocks: list[BaseBlock] = []
    for below, names in _segments(layers, boundaries):
        named = next(filter(None, map(_block_name, names)), None)
        if blocks and named in (None, blocks[-1].name):
            last = blocks[-1]
            blocks[-1] = BaseBlock(last.name, (*last.layers, *names), last.below)
        else:
            blocks.append(BaseBlock(named or STEM, names, below))
    trained = [
        replace(block, layers=tuple(layer for layer in block.layers if layer in weighted))
        for block in blocks
    ]
    return tuple(block for block in trained if block.layers)


class _Base(Protocol):
    """A base, as much of it as is asked here."""

    @property
    def blocks(self) -> tuple[BaseBlock, ...]: ...
    @property
    def layers(self) -> tuple[str, ...]: ...


def trained_blocks(base: _Base, freeze_until: str, first: str | None) -> tuple[BaseBlock, ...]:
    """The blocks of a base that a stage trains, bottom to top; of the lowest maybe only a part.

    It trains the layers above `freeze_until`, from `first` on if that is the name of a layer.
    """
    start = 0 if freeze_until == PIXELS else base.layers.index(freeze_until) + 1
    above = set(base.layers[max(start, base.layers.index(first)) if first else start :])
    return tuple(block for block in base.blocks if not above.isdisjoint(block.layers))


def _segments(
    layers: Sequence[str], boundaries: Sequence[Boundary]
) -> Iterator[tuple[Boundary, tuple[str, ...]]]:
    """Each boundary with the layers above it, up to and including the next one."""
    place = {name: number + 1 for number, name in enumerate(layers)} | {PIXELS: 0}
    ends = [place[boundary.name] for boundary in boundaries]
    for boundary, start, end in zip(boundaries, ends, [*ends[1:], len(layers)], strict=True):
        if end > start:
            yield boundary, tuple(layers[start:end])


def _block_name(layer: str) -> str | None:
    match = _NAMED.match(layer, _PREFIX.match(layer).end())  # type: ignore[union-attr]
    if match is None:
        return None
    return match["name"] or f"conv_{match['number']}"
