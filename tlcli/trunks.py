"""What a plan trains from: its network, and the stored rows of the trunks it is cut at."""

from __future__ import annotations

from pathlib import Path

from tlcli.data.audit import check_photos
from tlcli.errors import DataError, Problem
from tlcli.features import addresses, extraction
from tlcli.features.addresses import OpenedStore
from tlcli.features.extraction import Report
from tlcli.images import decode
from tlcli.networks.framework import tf
from tlcli.networks.network import Network, build_network
from tlcli.plan import Plan
from tlcli.pretrained import weights
from tlcli.system import console


def load_network(plan: Plan) -> Network:
    """The base with its weights and a new head, and the process set up for its recipe."""
    recipe = plan.recipe
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    network = build_network(
        plan.row, recipe.base.image_size, recipe.head, len(plan.index.classes),
        seed=recipe.seed, precision=recipe.precision,
    )  # fmt: skip
    weights.load(network.base, plan.row, plan.source)
    return network


def fill_store(network: Network, plan: Plan, opened: OpenedStore) -> Report:
    """Extract what the plan needs and the store lacks."""
    recipe, items = plan.recipe, plan.index.items
    live = recipe.augment.views == "live"
    if live:
        items = tuple(item for item in items if item.split != "train")
    report = Report()
    if views := addresses.views_of(items, recipe.augment, recipe.augment.kept_views):
        report = extraction.extract(network, recipe, views, opened.rows, opened.sources)
        _tell_extraction(report, len(views))
    if live:
        report.unreadable.update(_check_live(plan))
    for problem in report.unreadable.values():
        console.warn(f"{problem}; left out")
    return report


def _check_live(plan: Plan) -> dict[Path, Problem]:
    """Decode every training photo once before an epoch is spent: live views meet them late."""
    found = dict(check_photos([item.path for item in plan.index.of("train")], decode.verify))
    if found and plan.recipe.data.on_bad_image == "error":
        raise DataError(found.values())
    return found


def _tell_extraction(report: Report, views: int) -> None:
    computed, stored = sum(report.computed.values()), sum(report.stored.values())
    rate = f", {report.images / report.seconds:.1f} views/s" if report.images else ""
    console.note(
        f"features: {console.counted(computed, 'row')} computed in "
        f"{console.duration(report.seconds)}{rate}; {console.counted(stored, 'row')} of "
        f"{console.counted(views, 'view')} were in the store"
    )
