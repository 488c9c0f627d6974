"""What training starts from: the network with its weights, and the filled feature store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlcli.data.audit import check_photos
from tlcli.data.dataset import Index
from tlcli.data.findings import unreadable_lines
from tlcli.errors import Problem
from tlcli.features import addresses, extraction
from tlcli.features.extraction import Elsewhere, ExtractionReport
from tlcli.features.open_store import OpenedStore
from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.networks.framework import tf
from tlcli.networks.network import Network, build_network
from tlcli.pretrained.weights import WeightSource, load_weights
from tlcli.recipe.recipe import Recipe
from tlcli.system import console
from tlcli.training.replicas import ALONE, Replicas


def load_network(
    recipe: Recipe, source: WeightSource, classes: int, replicas: Replicas = ALONE
) -> Network:
    """The base of a recipe with its weights and a new head for so many classes.

    Where the recipe asks for it, TensorFlow is made deterministic for the rest of the process.
    """
    row = BASES[recipe.base.name]
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    with replicas.building():
        network = build_network(
            row, recipe.base.image_size, recipe.head, classes,
            seed=recipe.seed, precision=recipe.policy,
            tapped=[boundary.name for boundary in recipe.tapped],
        )  # fmt: skip
    load_weights(network.base, row, source)
    return _with_start(network, recipe)


def _with_start(network: Network, recipe: Recipe) -> Network:
    """The network with its pretrained weights at hand, where stages pull back to them."""
    order = [boundary.name for boundary in network.row.boundaries]
    pulled = [stage.freeze_until for stage in recipe.stages if stage.l2_sp and stage.freeze_until]
    if not pulled:
        return network
    layers = network.layers_above(min(pulled, key=order.index))
    return replace(network, start={layer.name: layer.get_weights() for layer in layers})


def fill_store(
    network: Network,
    recipe: Recipe,
    index: Index,
    opened: OpenedStore,
    elsewhere: Elsewhere | None = None,
) -> ExtractionReport:
    """Extract what training needs and the store lacks; `elsewhere` as for `extraction.extract`."""
    items = index.items
    live = recipe.augment.views == "live"
    if live:
        items = tuple(item for item in items if item.split != "train")
    report = ExtractionReport()
    if views := addresses.views_of(items, recipe.augment, recipe.augment.kept_views):
        report = extraction.extract(
            network, recipe, views, opened.rows, opened.sources, elsewhere=elsewhere
        )
        note_extraction(report, len(views))
    if live:
        report = replace(report, unreadable={**report.unreadable, **_check_live(recipe, index)})
    for problem in unreadable_lines(report.unreadable, recipe.data.root, skip=True):
        console.warn(str(problem))
    return report


def _check_live(recipe: Recipe, index: Index) -> dict[Path, Problem]:
    """Decode every training photo once: with live views, damaged ones would show up late."""
    digests = {item.path: item.digest for item in index.of("train")}

    def verify(path: Path) -> Problem | None:
        return decode.verify(path, digests[path], depth=recipe.data.depth)

    problems = dict(check_photos([*digests], verify))
    extraction.check_unreadable(problems, recipe)
    return problems


def note_extraction(report: ExtractionReport, views: int) -> None:
    """Say what was computed for so many views, and what the store had."""
    computed, stored = sum(report.computed.values()), sum(report.stored.values())
    rate = f", {report.images / report.seconds:.1f} views/s" if report.images else ""
    console.note(
        f"features: {console.counted(computed, 'row')} computed in "
        f"{console.duration(report.seconds)}{rate}; {console.counted(stored, 'row')} of "
        f"{console.counted(views, 'view')} were in the store"
    )
