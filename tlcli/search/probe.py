"""The work of `tlcli probe`: which boundary's features tell the classes apart, and how well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.data.folds import Fold, make_folds, smallest_class
from tlcli.errors import BoundaryError, DataError, Problem
from tlcli.evaluation.compare import count_pairs
from tlcli.evaluation.intervals import wilson_interval
from tlcli.features.addresses import stored_dtype
from tlcli.features.pooled import PooledFeatures, pool_features
from tlcli.features.trunk_address import number_type
from tlcli.images.loader import View
from tlcli.networks.bases import PretrainedBase
from tlcli.networks.boundaries import PIXELS, Boundary
from tlcli.runs.probe_record import (
    SIGNIFICANCE,
    LearningPoint,
    PairedDifference,
    ProbedBoundary,
    ProbeRecord,
    find_most_accurate,
    fingerprint_photos,
)
from tlcli.search import linear_probe
from tlcli.search.linear_probe import FOLDS
from tlcli.search.subject import Subject
from tlcli.system import console, signals
from tlcli.system.machine import use_one_thread
from tlcli.training.plan import Plan

Array = npt.NDArray[Any]

#: Shares of the photos of the learning curve.
SHARES = (0.25, 0.5, 1.0)


def probed_boundaries(row: PretrainedBase, names: Sequence[str] = ()) -> list[Boundary]:
    """The boundaries to ask, from the lowest to the highest: the last of each block, and of the two
    highest blocks each. Those without anything to train between them and the next are left out.

    Raises `BoundaryError` where one of `names`, which are asked instead, is no clean boundary.
    """
    if names:
        asked = {row.boundary(name, where="--boundaries", line="{}").name for name in names}
        if PIXELS in asked:
            hint = "name layers: the mean colour of a photo says little of what it shows"
            raise BoundaryError(Problem("--boundaries", f"'{PIXELS}' is not probed", hint))
        return [boundary for boundary in row.boundaries if boundary.name in asked]
    blocks = [[b for b in block if b.practical] for block in _blocks(row)]
    blocks = [block for block in blocks if block]
    return [block[-1] for block in blocks[:-2]] + [b for block in blocks[-2:] for b in block]


def _blocks(row: PretrainedBase) -> list[list[Boundary]]:
    """The boundaries by block: the layers that see one image size, and the pooling after them."""
    blocks: dict[int, list[Boundary]] = {}
    stride, above = 0, row.parameters
    for boundary in row.boundaries[1:]:  # without the pixels
        if boundary.parameters_above != above:  # it has weights: pooling has none
            stride, above = boundary.stride, boundary.parameters_above
        if stride:
            blocks.setdefault(stride, []).append(boundary)
    return list(blocks.values())


def probe(subject: Subject, names: Sequence[str] = ()) -> ProbeRecord:
    """Measure the boundaries of a recipe's base on its training photos.

    Photos for validation and test are not looked at. Raises a `TlcliError` where there are too few
    photos, or where weights, photos or the store do not allow it.
    """
    plan, items = subject.plan, subject.items
    boundaries = probed_boundaries(plan.row, names)
    with signals.defer():
        network = subject.network
        started = time.monotonic()
        views = [View(item.file, item.digest) for item in items]
        pooled = pool_features(
            network, plan.recipe, views, [b.name for b in boundaries], plan.cache
        )
        shapes = {b.name: network.shape(b.name) for b in boundaries}
        seconds = {"features": round(time.monotonic() - started, 2)}
    by_digest = {item.digest: item for item in items}
    readable = [by_digest[view.digest] for view in pooled.views]
    labels, groups, kept = select_judgeable(readable, subject.groups(readable), plan.index.classes)
    pooled = _reduced(pooled, kept)
    folds = choose_folds(labels, groups, plan.recipe.seed)
    started = time.monotonic()
    with use_one_thread():
        answers, rows = _ask(plan, boundaries, pooled, labels, groups, folds, shapes)
        best = _recommended(rows)
        curve, slope = _learning_curve(
            pooled.rows[best], labels, groups, folds, plan.recipe.seed, answers[best]
        )
    leader, top = find_most_accurate(rows).name, rows[-1].name
    seconds["classifiers"] = round(time.monotonic() - started, 2)
    return ProbeRecord(
        recipe=plan.recipe.name,
        base=plan.row.name,
        image_size=plan.recipe.base.image_size,
        weights=str(plan.source),
        data=fingerprint_photos((i.digest, plan.index.classes[i.label]) for i in readable),
        photos=len(labels),
        classes=len(np.unique(labels)),
        folds=len(folds),
        majority=float(np.bincount(labels).max() / len(labels)),
        boundaries=tuple(rows),
        best=best,
        learning_curve=curve,
        foreignness=compare_answers(answers[top] == labels, answers[leader] == labels),
        slope=slope,
        images=pooled.images,
        seconds=seconds,
    )


def select_judgeable(
    items: Sequence[Item], names: Sequence[str], classes: Sequence[str]
) -> tuple[Array, list[str], npt.NDArray[np.intp]]:
    """Labels, groups and positions of the photos of classes that can be cross-validated.

    `names` are those of the groups of all `items`. A class with photos of a single group is left
    out, which is printed; `DataError` where fewer than two are left.
    """
    groups = np.array(names)
    labels = np.array([item.label for item in items], np.intp)
    small = [
        label for label in range(len(classes)) if len(set(groups[labels == label].tolist())) < 2
    ]
    if len(classes) - len(small) < 2:
        message = "cross-validation needs two classes with at least two photos each for training"
        raise DataError(Problem("data", message, "add photos of each class"))
    if small:
        listed = ", ".join(classes[label] for label in small[:8])
        more = ", ..." if len(small) > 8 else ""
        console.warn(
            console.one_line(f"left out, since they need two photos at least: {listed}{more}")
        )
    kept = np.flatnonzero(~np.isin(labels, small))
    return labels[kept], groups[kept].tolist(), kept


def _reduced(pooled: PooledFeatures, kept: npt.NDArray[np.intp]) -> PooledFeatures:
    rows = {name: values[kept] for name, values in pooled.rows.items()}
    return PooledFeatures(tuple(pooled.views[i] for i in kept), rows, pooled.images)


def choose_folds(labels: Array, groups: list[str], seed: int) -> list[Fold]:
    """Folds of photos of `select_judgeable`: fewer where a class is small, which is printed."""
    number = min(FOLDS, smallest_class(labels, np.asarray(groups)))
    if number < FOLDS:
        console.note(
            f"{console.counted(number, 'fold')} instead of {FOLDS}: the smallest class has photos "
            f"for no more"
        )
    return make_folds(labels, groups, number, seed)


def _ask(
    plan: Plan,
    boundaries: Sequence[Boundary],
    pooled: PooledFeatures,
    labels: Array,
    groups: list[str],
    folds: list[Fold],
    shapes: dict[str, tuple[int, ...]],
) -> tuple[dict[str, Array], list[ProbedBoundary]]:
    """The cross-validated answers at each boundary, and the rows of the table."""
    answers, votes, seconds = {}, {}, {}
    itemsize = number_type(stored_dtype(plan.recipe)).itemsize
    inner = [linear_probe.divide_again(labels, groups, fold, plan.recipe.seed) for fold in folds]
    with console.progress(len(boundaries), "probing", "boundaries") as bar:
        for boundary in boundaries:
            started = time.monotonic()
            rows = pooled.rows[boundary.name].astype(np.float64)
            answers[boundary.name] = linear_probe.linear_answers(rows, labels, folds, inner)
            votes[boundary.name] = linear_probe.neighbour_answers(rows, labels, folds)
            seconds[boundary.name] = time.monotonic() - started
            bar.update(1)
    right = {name: given == labels for name, given in answers.items()}
    leader = max(reversed(boundaries), key=lambda boundary: right[boundary.name].sum()).name
    return answers, [
        ProbedBoundary(
            name=boundary.name,
            **accuracy_of(right[boundary.name]),
            knn=float((votes[boundary.name] == labels).mean()),
            p=count_pairs(right[boundary.name], right[leader]).mcnemar_test().p,
            parameters_above=boundary.trainable(plan.recipe.base.batch_norm),
            row_bytes=int(np.prod(shapes[boundary.name])) * itemsize,
            seconds=round(seconds[boundary.name], 3),
        )
        for boundary in boundaries
    ]


def accuracy_of(right: Array) -> dict[str, float]:
    """The share of right answers, bool (n,), with the ends of its interval."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return {"accuracy": float(right.mean()), "low": low, "high": high}


def compare_answers(first: Array, second: Array) -> PairedDifference:
    """By how much the second is right more often than the first, bool (n,) each."""
    counts = count_pairs(first, second)
    low, high = counts.difference_interval()
    return PairedDifference(value=counts.difference, low=low, high=high, p=counts.mcnemar_test().p)


def _recommended(rows: Sequence[ProbedBoundary]) -> str:
    """The highest boundary that cannot be told apart from the most accurate: the cheapest."""
    return next(row.name for row in reversed(rows) if row.p >= SIGNIFICANCE)


def _learning_curve(
    rows: Array,
    labels: Array,
    groups: list[str],
    folds: list[Fold],
    seed: int,
    answers: Array,
) -> tuple[tuple[LearningPoint, ...], PairedDifference]:
    """The accuracy with shares of the photos, and what the last doubling has gained.

    `answers` are those with all of them.
    """
    points, right = [], []
    for share in SHARES:
        if share == 1:
            given, photos = answers, round(np.mean([len(fold.fitted) for fold in folds]))
        else:
            given, photos = linear_probe.learning_answers(
                rows.astype(np.float64), labels, groups, folds, share, seed
            )
        right.append(given == labels)
        points.append(LearningPoint(share=share, photos=photos, **accuracy_of(right[-1])))
    return tuple(points), compare_answers(right[-2], right[-1])
