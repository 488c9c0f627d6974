"""The work of `tlcli audit labels`: which labels of training and validation photos may be wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.audits import confident_learning, neighbours
from tlcli.audits.label_logits import out_of_fold_logits
from tlcli.data.dataset import Index, Item
from tlcli.data.findings import relative_name
from tlcli.data.folds import Fold, make_folds
from tlcli.evaluation.intervals import wilson_interval
from tlcli.features.pooled import PooledFeatures, count_missing, pool_features
from tlcli.images.loader import View
from tlcli.networks.bases import PretrainedBase
from tlcli.networks.nearest import normalise
from tlcli.networks.network import Network
from tlcli.networks.probabilities import softmax
from tlcli.runs.label_audit_record import (
    AUDITED,
    LabelAuditRecord,
    Neighbour,
    SurestPhotos,
    Suspect,
)
from tlcli.runs.probe_record import fingerprint_photos
from tlcli.search.probe import choose_folds, probed_boundaries, select_judgeable
from tlcli.search.subject import find_groups
from tlcli.system import console, signals
from tlcli.system.machine import use_one_thread
from tlcli.system.object_stores import written
from tlcli.training import estimate
from tlcli.training.plan import Plan
from tlcli.training.preparation import load_network

Array = npt.NDArray[Any]

#: Boundaries whose answers are averaged, and divisions of the photos into folds.
BOUNDARIES, DIVISIONS = 5, 2

#: Suspects that are listed for each label that is estimated to be wrong. The ranking is not
#: perfect: a list as long as the estimate misses 18% of the wrong ones, this one 7%.
LISTED = 1.6

#: Neighbours of each kind, and suspects that get some.
NEIGHBOURS, WITH_NEIGHBOURS = 3, 1_000


@dataclass(frozen=True)
class LabelAudit:
    """An audit: its record, and the photos of the suspects with their copies, in its order.

    `photos` are the items that the record's paths name, neighbours included.
    """

    record: LabelAuditRecord
    copies: tuple[tuple[Item, ...], ...]
    photos: Mapping[str, Item]


@dataclass(frozen=True)
class _AuditedPhotos:
    """Photos of classes that can be cross-validated: rows of features, labels counted from 0."""

    items: tuple[Item, ...]
    features: Mapping[str, Array]
    labels: Array
    names: tuple[str, ...]
    divisions: tuple[Sequence[Fold], ...]


def audit_labels(plan: Plan) -> LabelAudit:
    """Ask for each training and validation photo whether its features speak for another class.

    Test photos are not looked at. Features come from the store where it has them. Raises a
    `TlcliError` where there are too few photos, or where weights, photos or the store do not allow
    it.
    """
    items = _distinct(item for item in plan.index.items if item.split in AUDITED)
    with signals.defer():
        network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        started = time.monotonic()
        pooled = _features(plan, network, items)
        seconds = {"features": round(time.monotonic() - started, 2)}
    photos = _judgeable(plan, items, pooled)
    started = time.monotonic()
    with use_one_thread():
        logits = out_of_fold_logits(photos.features, photos.labels, photos.divisions)
    probabilities = softmax(logits)
    suspects, decided = _suspects(plan.index, photos, probabilities)
    seconds["classifiers"] = round(time.monotonic() - started, 2)
    readable = {view.digest for view in pooled.views}
    classes = plan.index.classes
    record = LabelAuditRecord(
        recipe=plan.recipe.name,
        base=plan.row.name,
        image_size=plan.recipe.base.image_size,
        weights=str(plan.source),
        root=written(plan.index.root),
        data=fingerprint_photos(
            (item.digest, classes[item.label]) for item in items if item.digest in readable
        ),
        photos=len(photos.items),
        classes=len(photos.names),
        folds=len(photos.divisions[0]),
        boundaries=tuple(photos.features),
        suspects=tuple(suspects),
        surest=_surest(probabilities, photos.labels),
        decided=decided,
        images=pooled.images,
        seconds=seconds,
    )
    return LabelAudit(record, _copies(plan.index, record), _named(plan.index))


def audited_boundaries(row: PretrainedBase) -> list[str]:
    """The highest of the boundaries that a probe asks, and the one below the top."""
    asked = [*probed_boundaries(row), row.boundaries[-2]]
    return [boundary.name for boundary in row.boundaries if boundary in asked][-BOUNDARIES:]


def _distinct(items: Any) -> list[Item]:
    """The photos, those of the same bytes and label counted once."""
    return list({(item.digest, item.label): item for item in reversed([*items])}.values())[::-1]


def _features(plan: Plan, network: Network, items: Sequence[Item]) -> PooledFeatures:
    """Pooled features at the boundaries to ask, from the store where it has them.

    Of the boundaries, those are asked that cost no pass through the network; all of them where the
    store lacks the top.
    """
    views = list({item.digest: View(item.file, item.digest) for item in items}.values())
    names = audited_boundaries(plan.row)
    missing = count_missing(network, plan.recipe, views, names, plan.cache)
    if missing[names[-1]] == 0:
        names = [name for name in names if missing[name] == 0]
    else:
        of = console.counted(len(views), "photo")
        cost = estimate.describe_passes(plan, max(missing.values()), of, plan.row.top)
        console.note(f"{cost}; the next audit finds them in the store")
    return pool_features(network, plan.recipe, views, names, plan.cache)


def _judgeable(plan: Plan, items: Sequence[Item], pooled: PooledFeatures) -> _AuditedPhotos:
    """The readable photos of classes with photos enough, with features, labels and folds."""
    rows = {view.digest: row for row, view in enumerate(pooled.views)}
    readable = [item for item in items if item.digest in rows]
    groups = find_groups(plan, readable)
    labels, groups, kept = select_judgeable(readable, groups, plan.index.classes)
    chosen = tuple(readable[position] for position in kept)
    places = [rows[item.digest] for item in chosen]
    present, compact = np.unique(labels, return_inverse=True)
    seed = plan.recipe.seed
    first = choose_folds(compact, groups, seed)
    others = [
        make_folds(compact, groups, len(first), seed + number) for number in range(1, DIVISIONS)
    ]
    return _AuditedPhotos(
        chosen,
        {name: values[places] for name, values in pooled.rows.items()},
        compact,
        tuple(plan.index.classes[label] for label in present),
        (first, *others),
    )


def _suspects(
    index: Index, photos: _AuditedPhotos, probabilities: Array
) -> tuple[list[Suspect], int]:
    """The suspects in order, and how many others a person has decided about."""
    labels = photos.labels
    positions, suggested, margins = confident_learning.rank_by_margin(probabilities, labels)
    number = round(LISTED * confident_learning.count_wrong(probabilities, labels))
    settled = index.decided.photos if index.decided else frozenset()
    listed = range(min(number, len(positions)))
    shown = [place for place in listed if photos.items[positions[place]].path not in settled]
    unit = normalise(photos.features[tuple(photos.features)[-1]])
    trusted = np.ones(len(labels), bool)
    trusted[positions[:number]] = False
    members = [np.flatnonzero((labels == k) & trusted) for k in range(len(photos.names))]
    suspects = []
    for rank, place in enumerate(shown):
        position, likelier = int(positions[place]), int(suggested[place])
        item, label = photos.items[position], int(labels[position])
        pairs = [
            pair
            for side in ((label, likelier) if rank < WITH_NEIGHBOURS else ())
            for pair in neighbours.nearest_photos(unit, position, members[side], NEIGHBOURS)
        ]
        suspects.append(
            Suspect(
                path=relative_name(item.path, index.root),
                split=item.split,
                label=photos.names[label],
                suggested=photos.names[likelier],
                score=float(margins[place]),
                neighbours=tuple(_neighbour(index, photos, *pair) for pair in pairs),
            )
        )
    return suspects, len(listed) - len(shown)


def _neighbour(index: Index, photos: _AuditedPhotos, place: int, distance: float) -> Neighbour:
    name = relative_name(photos.items[place].path, index.root)
    return Neighbour(path=name, label=photos.names[photos.labels[place]], distance=distance)


def _surest(probabilities: Array, labels: Array) -> SurestPhotos:
    """How many labels disagree in the half of the photos that the classifier is surest of."""
    ordered = np.sort(probabilities, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    half = np.argsort(-lead, kind="stable")[: max(1, len(labels) // 2)]
    disagree = int((probabilities[half].argmax(axis=1) != labels[half]).sum())
    low, high = wilson_interval(disagree, len(half))
    return SurestPhotos(photos=len(half), disagree=disagree, low=low, high=high)


def _named(index: Index) -> dict[str, Item]:
    return {relative_name(item.path, index.root): item for item in index.items}


def _copies(index: Index, record: LabelAuditRecord) -> tuple[tuple[Item, ...], ...]:
    """The photos of each suspect: all with the same bytes and label."""
    same: dict[tuple[str, int], list[Item]] = {}
    for item in index.items:
        same.setdefault((item.digest, item.label), []).append(item)
    named = _named(index)
    return tuple(
        tuple(same[named[suspect.path].digest, named[suspect.path].label])
        for suspect in record.suspects
    )
