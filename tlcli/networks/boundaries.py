"""Boundaries, the places to cut a base, and what is meant by other names and numbers for them."""

from __future__ import annotations

import difflib
import re
from bisect import bisect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tlcli.errors import brief
from tlcli.networks.old_layer_names import current_name

NAME_EXPECTED = "must be the name of a layer"
HEAD_ALONE = "a stage without freeze_until trains the head alone"

#: The lowest boundary of every base: the photo itself. Nothing of the base is frozen above it.
PIXELS = "pixels"
#: The same in the words of those who freeze no layer.
NO_LAYER = "none"


@dataclass(frozen=True)
class Boundary:
    """A layer that every path from input to output crosses: a place to cut a base.

    Attributes:
        channels, stride, offset, padding: the shape of its output, see `shape`.
    """

    name: str
    channels: int
    stride: int
    offset: int
    #: 0, except for the layers that pad even sides and odd sides differently: see `shape`.
    padding: int
    #: All weights of the layers above.
    parameters_above: int
    #: The trainable ones among them, without batch norm: what fine-tuning from here changes.
    trainable_above: int
    #: Scales and shifts of batch norm above, trained as well if the recipe says so.
    batch_norm_above: int
    #: Whether it lies between a convolution and the batch norm that `folding` moves into it. Passes
    #: from below then do without these activations, so that none may begin with them: what lies
    #: above would have other bits.
    folded: bool
    #: Whether this is the highest of the boundaries that leave the same kernels to train. The lower
    #: ones need more disk space in the feature store and more time for the same result.
    practical: bool = True

    def trainable(self, batch_norm: str) -> int:
        """The parameters above that fine-tuning from here changes; `batch_norm` as in a recipe."""
        return self.trainable_above + (self.batch_norm_above if batch_norm == "train" else 0)

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(height, width, channels) of the activations for images of that size in pixels.

        A side of n pixels becomes (n + offset) // stride: padding, windows and strides only add and
        floor-divide, and a chain of such steps is one step of the same form. A layer whose padding
        depends on whether the side is even breaks the form, but the layer after it, which halves
        the side, restores it. So the side of such a layer is twice that number plus `padding`.
        """
        rows, columns = ((side + self.offset) // self.stride for side in (height, width))
        if self.padding:
            rows, columns = 2 * rows + self.padding, 2 * columns + self.padding
        return rows, columns, self.channels


@dataclass(frozen=True)
class FirstLayer:
    """A cut for a stage whose first layer that trains is named, and may lie inside a block.

    Attributes:
        boundary: the highest clean one below it.
        between: the layers with weights to train above the boundary that stay frozen all the same,
            since they are below it.
    """

    boundary: Boundary
    between: tuple[str, ...]


@dataclass(frozen=True)
class LayerNames:
    """The layers of a base by name, and the boundaries among them.

    Attributes:
        base: its name.
        layers: those without the input, in the order of Keras.
        weighted: those of them with weights that can be trained.
        boundaries: the clean ones, bottom to top.
        classifier: the layers that the classifier adds.
        in_front: how many layers Keras has beside `layers`: the input, and some for the pixels.
    """

    base: str
    layers: tuple[str, ...]
    weighted: Collection[str]
    boundaries: tuple[Boundary, ...]
    classifier: tuple[str, ...]
    in_front: int

    def explain(self, value: Any, line: str) -> tuple[str, str]:
        """What is wrong with a value that is no clean boundary: message and hint.

        `line` is what to write where a boundary can be named instead: `freeze_until: {}`.
        """
        count = parse_layer_count(value)
        if count is not None:
            return self._explain_count(count, line)
        if not isinstance(value, str):
            return f"found {brief(value)}", NAME_EXPECTED
        return self._explain_name(value)

    def first_layer(self, name: str) -> FirstLayer | None:
        """The cut below the layer `name`, or below the first one above it that has weights.

        None where there is no such layer, or nothing to train in it and above.
        """
        if name not in self.layers:
            return None
        at = self.layers.index(name)
        trained = [layer for layer in self.layers[at:] if layer in self.weighted]
        if not trained:
            return None
        below = self.layers[: self.layers.index(trained[0])]
        boundary = next(b for b in reversed(self.boundaries) if b.name in (PIXELS, *below))
        if boundary.trainable_above == self.boundaries[0].trainable_above:
            boundary = self.boundaries[0]  # only preprocessing lies between, and its rows are large
        start = 0 if boundary.name == PIXELS else below.index(boundary.name) + 1
        between = tuple(layer for layer in below[start:] if layer in self.weighted)
        return FirstLayer(boundary, between)

    def explain_first_layer(self, name: Any) -> tuple[str, str]:
        """What is wrong with a value that is no first layer to train: message and hint."""
        if not isinstance(name, str):
            return f"found {brief(name)}", NAME_EXPECTED
        last = next(layer for layer in reversed(self.layers) if layer in self.weighted)
        if name in self.classifier:
            hint = f"the last layer with weights is '{last}'; the head trains anyway"
            return f"'{name}' is above the top of the base", hint
        if name in self.layers:
            return f"no layer from '{name}' on has weights", f"the last one that has is '{last}'"
        if name in (PIXELS, NO_LAYER):
            return f"found '{name}', which is no layer", f"write `freeze_until: {PIXELS}`"
        return f"{self.base} has no layer '{name}'", self._guess(name, self.layers)

    def _guess(self, name: str, known: Iterable[str]) -> str:
        """A hint at what is meant by a name that is not among the known ones."""
        if today := current_name(self.base, name):
            return f"Keras calls it '{today}' today"
        by_lower = {layer.lower(): layer for layer in known}
        close = difflib.get_close_matches(name.lower(), by_lower, n=3)
        guess = " or ".join(f"'{by_lower[layer]}'" for layer in close)
        return f"did you mean {guess}?" if guess else f"`tlcli bases {self.base}` lists boundaries"

    def _explain_name(self, name: str) -> tuple[str, str]:
        names = [boundary.name for boundary in self.boundaries]
        order = {layer: position for position, layer in enumerate((PIXELS, *self.layers))}
        if name.lower() == NO_LAYER:
            hint = f"`{NO_LAYER}` freezes no layer, `null` the whole base"
            return f"found '{name}', which could mean either", hint
        if name in order:
            after = bisect([order[clean] for clean in names], order[name])
            return (
                f"'{name}' is inside a block: paths run around it",
                "the clean boundaries just before and after it are "
                f"'{names[after - 1]}' and '{names[after]}'",
            )
        if name in self.classifier:
            return (
                f"'{name}' is above the top of the base",
                f"the last boundary is '{names[-1]}'",
            )
        return f"{self.base} has no boundary '{name}'", self._guess(name, names)

    def _explain_count(self, count: int, line: str) -> tuple[str, str]:
        """The boundary that Keras' `layers[:count]` means: the highest with all below it frozen."""
        total = self.in_front + len(self.layers)
        frozen = min(count, total) if count >= 0 else max(total + count, 0)
        names = (PIXELS, *self.layers[: max(frozen - self.in_front, 0)])
        whose = f"{self.base} without classifier" if count < 0 else self.base
        message = f"found {count}, but boundaries have names: Keras' layers[:{count}] of {whose}"
        below = [boundary for boundary in self.boundaries if boundary.name in names]
        name = below[-1].name
        if name == PIXELS:
            return f"{message} freezes nothing", f"write `{line.format(name)}`"
        if not below[-1].trainable("train"):
            return f"{message} leaves nothing of the base to train", HEAD_ALONE
        if names[-1] == name:
            message += f" ends with '{name}'"
        else:
            message += f" ends inside a block, and the last boundary before that is '{name}'"
        return message, f"write `{line.format(name)}`"


def parse_layer_count(value: Any) -> int | None:
    """The n of Keras' `layers[:n]`, which people write as n, [n], '[:n]' or 'layers[:n]'."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).replace(" ", "")
    match = re.fullmatch(r"(?:[\w.]*layers)?\[?:?([+-]?\d{1,6})\]?", text, re.ASCII)
    return int(match[1]) if match else None
