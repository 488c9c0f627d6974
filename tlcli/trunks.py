"""What a plan trains from: its network, and the stored rows of the trunks it is cut at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlcli import addresses, features
from tlcli.data.audit import check_photos
from tlcli.errors import DataError, Problem
from tlcli.features import Report
from tlcli.images import decode
from tlcli.networks.framework import tf
from tlcli.networks.network import Network, build_network
from tlcli.plan import Plan
from tlcli.pretrained import weights
from tlcli.store import TrunkRows
from tlcli.system import console, files


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


@dataclass(frozen=True)
class Opened:
    """The rows that a run works with.

    Attributes:
        rows: of the boundaries that are asked for.
        sources: of others that the store has, to compute missing rows from.
        checksums: of the weights up to every boundary, as they were when the store was opened.
    """

    rows: dict[str, TrunkRows]
    sources: dict[str, TrunkRows]
    checksums: dict[str, str]

    @property
    def known(self) -> dict[str, TrunkRows]:
        """All rows at hand, by boundary."""
        return {**self.sources, **self.rows}


@contextmanager
def open_store(network: Network, plan: Plan, boundaries: Sequence[str]) -> Iterator[Opened]:
    """The stored rows of each boundary, and of others there may be, until the block ends."""
    folder, recipe = files.features_folder(plan.cache), plan.recipe
    every = network.checksums([boundary.name for boundary in plan.row.boundaries])
    opened = Opened({}, {}, every)
    with ExitStack() as stack:
        for name, checksum in every.items():
            kind = opened.rows if name in boundaries else opened.sources
            if name in boundaries or addresses.has_rows(
                network, recipe, name, folder, weights=checksum
            ):
                kind[name] = addresses.open_rows(network, recipe, name, folder, weights=checksum)
                stack.callback(kind[name].close)
        yield opened


def fill_store(network: Network, plan: Plan, opened: Opened) -> Report:
    """Extract what the plan needs and the store lacks."""
    recipe, items = plan.recipe, plan.index.items
    live = recipe.augment.views == "live"
    if live:
        items = tuple(item for item in items if item.split != "train")
    report = Report()
    if views := addresses.views_of(items, recipe.augment, recipe.augment.kept_views):
        report = features.extract(network, recipe, views, opened.rows, opened.sources)
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
