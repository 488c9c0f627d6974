"""The stages of a plan in numbers: where each trains from, its parameters and steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tlcli.data.dataset import Index
from tlcli.networks.bases import BASES, PretrainedBase
from tlcli.networks.blocks import trained_blocks
from tlcli.networks.boundaries import Boundary
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import Head
from tlcli.recipe.stage_settings import Stage
from tlcli.recipe.technique_problems import HEAD


@dataclass(frozen=True)
class StagePlan:
    """One stage in numbers.

    Attributes:
        stage: its settings.
        cut: the boundary whose stored activations it trains from; the stage's own, or a lower one
            where an earlier stage has already changed layers below it.
        trainable, frozen: parameters of base and head together.
        class_weights: what a photo of each class counts in the loss, by label.
        batch_size: of this stage.
        steps: batches of one epoch.
        rows: shape of the activations at the cut, of one photo.
        rates: the learning rate of the head and of each block of the base that trains, from the top
            down, where they differ; {} where all have that of the stage.
    """

    stage: Stage
    cut: Boundary
    trainable: int
    frozen: int
    class_weights: tuple[float, ...]
    batch_size: int
    steps: int
    rows: tuple[int, ...]
    rates: Mapping[str, float] = field(default_factory=dict)


def stage_plans(chosen: Recipe, index: Index) -> Iterator[StagePlan]:
    row = BASES[chosen.base.name]
    order = [boundary.name for boundary in row.boundaries]
    size, classes, tapped = chosen.base.image_size, len(index.classes), chosen.tapped
    in_head = head_parameters(chosen.head, row, size, classes, tapped)
    total = row.parameters + in_head
    cut = tapped[0] if tapped else row.top
    for stage in chosen.stages:
        trainable = in_head + row.trained_parameters(
            stage.freeze_until, stage.unfreeze_from, chosen.base.batch_norm
        )
        if stage.freeze_until:
            boundary = row.boundary(stage.freeze_until)
            if order.index(boundary.name) < order.index(cut.name):
                cut = boundary
        class_weights = _class_weights(stage, index)
        batch_size = stage.batch_size or chosen.batch_size
        steps = math.ceil(len(index.of("train")) / batch_size)
        rows = cut.shape(*size)
        yield StagePlan(
            stage, cut, trainable, total - trainable, class_weights, batch_size, steps, rows,
            _block_rates(stage, row),
        )  # fmt: skip


def _block_rates(stage: Stage, row: PretrainedBase) -> dict[str, float]:
    """See `StagePlan.rates`.

    With a decay d the head has the rate of the stage and the n-th block below it that rate times
    d**n, as in ELECTRA (Clark et al., 2020) and BEiT (Bao et al., 2022).
    """
    if stage.freeze_until is None or (stage.layer_decay is None and stage.rates is None):
        return {}
    trained = trained_blocks(row, stage.freeze_until, stage.unfreeze_from)
    names = [HEAD, *(block.name for block in reversed(trained))]
    decay = stage.layer_decay or 1.0
    decayed = {name: stage.learning_rate * decay**depth for depth, name in enumerate(names)}
    return {**decayed, **(stage.rates or {})}


def _class_weights(stage: Stage, index: Index) -> tuple[float, ...]:
    """The weight of each class; 'balanced' is n / (classes * n of the class), as scikit-learn's."""
    if stage.class_weights == "balanced":
        counts = index.counts()["train"]
        total, classes = sum(counts.values()), len(index.classes)
        # Unlabelled photos, which are extracted and never trained on, have no counts.
        return tuple(total / (classes * max(counts[name], 1)) for name in index.classes)
    given = stage.class_weights or {}
    return tuple(given.get(name, 1.0) for name in index.classes)


def head_parameters(
    head: Head,
    row: PretrainedBase,
    image_size: tuple[int, int],
    classes: int,
    tapped: Sequence[Boundary] = (),
) -> int:
    """Weights and biases of a head; two classes have one output unit.

    `tapped` are the boundaries whose features a multi-layer head takes.
    """
    height, width, channels = row.top.shape(*image_size)
    inputs = height * width * channels if head.pooling == "flatten" else channels
    inputs = sum(boundary.channels for boundary in tapped) or inputs
    widths = [inputs, *head.hidden, 1 if classes == 2 else classes]
    return sum((below + 1) * above for below, above in pairwise(widths))
