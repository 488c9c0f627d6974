"""The work of `tlcli suggest`: which photos of a folder to label next, and what that gains."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.audits.photo_choice import MOST_COMPARED, choose_photos
from tlcli.audits.replay import Replay, replay_choice
from tlcli.audits.unlabelled import UnlabelledPhotos, find_candidates, thin_out
from tlcli.data.dataset import Item
from tlcli.data.photo_groups import distinct_photos
from tlcli.errors import DataError, Problem, RunError
from tlcli.features import extraction
from tlcli.features.open_store import open_store
from tlcli.features.pooled import PooledFeatures, count_missing, pool_features
from tlcli.images.loader import View
from tlcli.networks.network import Network
from tlcli.runs.directory import Run
from tlcli.system import console, signals
from tlcli.system.machine import use_one_thread
from tlcli.training import estimate
from tlcli.training.plan import Plan, choose_precision
from tlcli.training.preparation import load_network

Array = npt.NDArray[Any]

#: A photo that stands for fewer photos than these, itself included, is not called typical.
TYPICAL = 4


@dataclass(frozen=True)
class SuggestedPhoto:
    """A photo to label, and why.

    Attributes:
        like: how many unlabelled photos it stands for.
        between: the two classes that a classifier on the labels finds likeliest.
        unsure: whether it was chosen more since that is unsure than since it is typical.
    """

    path: Path
    digest: str
    like: int
    between: tuple[str, str]
    unsure: bool

    @property
    def reasons(self) -> tuple[str, str]:
        """Why to label it, and what it may be, in a few words each."""
        first, second = self.between
        if self.unsure:
            return "unsure", f"{first} or {second}"
        if self.like < TYPICAL:
            return "unlike labelled ones", f"perhaps {first}"
        return f"typical of {console.counted(self.like, 'photo')}", f"perhaps {first}"

    @property
    def reason(self) -> str:
        """Both, on a line."""
        return ": ".join(self.reasons)


@dataclass(frozen=True)
class Suggestion:
    """Photos to label next.

    Attributes:
        recipe: its name.
        photos: the most useful first.
        candidates: what they were chosen from.
        considered: how many of these were compared.
        labelled: photos with labels.
        gain: what choosing gained among the labelled photos; None where they are too few.
        images: photos that went through the network from their pixels.
        seconds: of the features, and of the choice.
    """

    recipe: str
    photos: tuple[SuggestedPhoto, ...]
    candidates: UnlabelledPhotos
    considered: int
    labelled: int
    gain: Replay | None
    images: int
    seconds: dict[str, float]


def suggest(plan: Plan, folder: Path, count: int, run: Run | None = None) -> Suggestion:
    """Choose photos of a folder to label, by those that a recipe trains and validates on.

    The rows that training will need of the chosen photos are stored; of the others there are only
    pooled ones. Raises a `TlcliError` for a folder without other photos, labels of a single class,
    and where weights, photos or the store do not allow it.
    """
    labelled = _labelled(plan)
    candidates = find_candidates(folder, plan.index, plan.cache, plan.recipe.data.depth)
    others = thin_out(candidates.items, MOST_COMPARED)
    _note_numbers(candidates, others, count)
    plan = choose_precision(plan)
    started = time.monotonic()
    with signals.defer():
        network = load_network(plan.recipe, plan.source, len(plan.index.classes))
        if run is not None:
            _check_weights(plan, network, run)
        pooled = _features(plan, network, [*labelled, *others])
        featured = time.monotonic()
        photos, gain = _choose(plan, pooled, labelled, others, candidates, count)
        chosen = time.monotonic()
        images = pooled.images + _store_rows(plan, network, photos)
    seconds = {"features": featured - started, "choice": chosen - featured}
    return Suggestion(
        recipe=plan.recipe.name,
        photos=photos,
        candidates=candidates,
        considered=len(others),
        labelled=len(labelled),
        gain=gain,
        images=images,
        seconds={act: round(value, 2) for act, value in seconds.items()},
    )


def _labelled(plan: Plan) -> list[Item]:
    """The photos whose labels count: test photos have no say in what is labelled."""
    items = distinct_photos([item for item in plan.index.items if item.split != "test"])
    if len({item.label for item in items}) < 2:
        message = "only one class has photos for training or validation"
        raise DataError(Problem("data", message, "label a photo of another class first"))
    return items


def _note_numbers(candidates: UnlabelledPhotos, others: tuple[Item, ...], count: int) -> None:
    console.note(candidates.text())
    if len(others) < len(candidates.items):
        console.note(f"{len(others):,} of them, drawn by their hashes, are compared")
    if count > len(others):
        listed = "all are listed, the most useful first"
        console.note(f"{count:,} were asked for and {len(others):,} are there: {listed}")


def _check_weights(plan: Plan, network: Network, run: Run) -> None:
    """Raise `RunError` where the base has other weights than the run began with."""
    begun = (run.record().get("weights") or {}).get("checksum")
    top = plan.row.top.name
    now = network.checksums([top])[top]
    if isinstance(begun, str) and begun != now:
        message = f"the weights have the checksum {now[:16]}; the run began with {begun[:16]}"
        hint = "bring back those it began with, or name the recipe with --config"
        raise RunError(Problem(str(plan.source), message, hint))


def _features(plan: Plan, network: Network, items: list[Item]) -> PooledFeatures:
    """Pooled features at the top of the base, from the store where it has them."""
    top = plan.row.top
    views = [View(item.file, item.digest) for item in distinct_photos(items)]
    missing = count_missing(network, plan.recipe, views, [top.name], plan.cache)[top.name]
    if missing:
        of = console.counted(len(views), "photo")
        cost = estimate.describe_passes(plan, missing, of, top)
        console.note(f"{cost}; the next time they come from the store")
    return pool_features(network, plan.recipe, views, [top.name], plan.cache)


def _choose(
    plan: Plan, pooled: PooledFeatures, labelled: list[Item], others: tuple[Item, ...],
    candidates: UnlabelledPhotos, count: int,
) -> tuple[tuple[SuggestedPhoto, ...], Replay | None]:  # fmt: skip
    """The photos to label, and what choosing gained among the labelled ones."""
    (rows,) = pooled.rows.values()
    places = {view.digest: row for row, view in enumerate(pooled.views)}
    labelled = [item for item in labelled if item.digest in places]
    others = tuple(item for item in others if item.digest in places)
    present, labels = np.unique([item.label for item in labelled], return_inverse=True)
    names = [plan.index.classes[label] for label in present]
    features = rows[[places[item.digest] for item in labelled]]
    unlabelled = rows[[places[item.digest] for item in others]]
    groups = [candidates.labelled_groups[item.digest] for item in labelled]
    with use_one_thread():
        chosen = choose_photos(features, labels, unlabelled, count)
        gain = replay_choice(features, labels, groups, count, plan.recipe.seed)
    photos = tuple(
        SuggestedPhoto(
            path=others[each.position].path,
            digest=others[each.position].digest,
            like=each.like,
            between=(names[each.classes[0]], names[each.classes[1]]),
            unsure=each.unsure,
        )
        for each in chosen
    )
    return photos, gain


def _store_rows(plan: Plan, network: Network, photos: tuple[SuggestedPhoto, ...]) -> int:
    """Store the rows of the chosen photos that stages train from; how many photos were computed."""
    views = [View(str(photo.path), photo.digest) for photo in photos]
    cuts = [cut.name for cut in plan.cuts]
    with open_store(network, plan.recipe, plan.cache, cuts) as opened:
        return extraction.extract(network, plan.recipe, views, opened.rows, opened.sources).images
