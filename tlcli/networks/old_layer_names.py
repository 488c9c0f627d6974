"""Names that layers had in the Keras of 2016 to 2019, which older lessons use, and today's."""

from __future__ import annotations

import re

#: Residual blocks of each stage, 2 to 5.
_BLOCKS = {"ResNet50": (3, 4, 6, 3), "ResNet101": (3, 4, 23, 3), "ResNet152": (3, 8, 36, 3)}

#: `res5c_branch2a`: stage 5, block c; larger networks count on with b1, b2, ... after a.
_BRANCH = re.compile(r"(res|bn)([2-5])([a-z])(\d*)_branch(1|2a|2b|2c)")

#: What the branches of a block are numbered today; 0 is the shortcut.
_PLACES = {"1": 0, "2a": 1, "2b": 2, "2c": 3}

#: What begins every ResNet.
_STEM = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "max_pooling2d_1": "pool1_pool"}


def current_name(base: str, name: str) -> str | None:
    """Today's name of the layer of a base that was called `name`; None if none was."""
    blocks = _BLOCKS.get(base)
    if blocks is None:
        return None
    if name in _STEM:
        return _STEM[name]
    if match := _BRANCH.fullmatch(name):
        kind, stage, letter, number, branch = match.groups()
        block = ord(letter) - ord("a") + 1 if not number else int(number) + 1
        in_block = 1 <= block <= blocks[int(stage) - 2] and (not number or letter == "b")
        has_shortcut = branch != "1" or block == 1
        last = "conv" if kind == "res" else "bn"
        today = f"conv{stage}_block{block}_{_PLACES[branch]}_{last}"
        return today if in_block and has_shortcut else None
    if match := re.fullmatch(r"(add|activation)_(\d{1,3})", name):
        return _numbered(match[1], int(match[2]), blocks)
    return None


def _numbered(kind: str, number: int, blocks: tuple[int, ...]) -> str | None:
    """`add_16` is the sum of the 16th block; three activations of each block follow the first."""
    if kind == "activation" and number == 1:
        return "conv1_relu"
    count, inside = (number, 3) if kind == "add" else divmod(number - 2 + 3, 3)
    if kind == "activation":
        inside += 1
    for stage, each in enumerate(blocks, start=2):
        if 1 <= count <= each:
            place = f"conv{stage}_block{count}"
            if kind == "add":
                return f"{place}_add"
            return f"{place}_out" if inside == 3 else f"{place}_{inside}_relu"
        count -= each
    return None
