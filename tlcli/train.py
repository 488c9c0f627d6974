"""The story of a run, from a plan to a directory that predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli import (
    claims,
    console,
    features,
    files,
    findings,
    images,
    interrupts,
    preview,
    runs,
    saving,
    split,
    store,
    weights,
)
from tlcli import plan as planning
from tlcli.claims import Claim, Wanted
from tlcli.errors import DataError, Problem, RunError, TlcliError, reason
from tlcli.features import Report
from tlcli.framework import tf
from tlcli.plan import Plan
from tlcli.runs import Run
from tlcli.split import Network
from tlcli.stages import Clock, Result, Stages
from tlcli.steps import Score
from tlcli.store import TrunkRows
from tlcli.survey import check_photos

#: A new run under `runs.root()`, or the one there that was stopped.
NEW = Wanted()


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        stages: what each stage came to.
        seconds: of each act of the run.
    """

    run: Run
    stages: tuple[Result, ...]
    report: Report
    seconds: dict[str, float]

    @property
    def test(self) -> Score | None:
        """The score of the finished network on the test photos, if there are any."""
        return self.stages[-1].test

    def as_json(self) -> dict[str, Any]:
        """What `finetune --json` prints."""
        return {
            "run": str(self.run.path),
            "stages": [stage.outcome.as_dict() for stage in self.stages],
            "test": self.test.as_dict() if self.test else None,
        }

    def as_record(self) -> dict[str, Any]:
        """What `summary.json` holds: the same and each stage's test score, extraction and times."""
        record = self.as_json()
        del record["run"]  # a run may be moved
        record["stages"] = [stage.as_dict() for stage in self.stages]
        record["extraction"] = self.report.as_dict()
        record["seconds"] = {act: round(value, 2) for act, value in self.seconds.items()}
        return record

    def text(self) -> str:
        """The outcome as people read it."""
        acts = ", ".join(f"{act} {console.duration(s)}" for act, s in self.seconds.items())
        lines = [f"time: {console.duration(sum(self.seconds.values()))} ({acts})"]
        if self.test is not None:
            right = round(self.test.accuracy * self.test.n)
            lines.insert(
                0, f"test accuracy {self.test.accuracy:.4f} ({right:,} of {self.test.n:,} photos)"
            )
        lines.append(f"run: {self.run.path}")
        return "\n".join(lines)


def train(plan: Plan, wanted: Wanted = NEW, *, latest: bool = True) -> Summary:
    """Carry out a plan: load, extract, train stage after stage, test, save, check.

    The features come first and stay in the store, and every epoch leaves a checkpoint, so that a
    run that ends early goes on from there when it is asked for again. With `latest`, the run is
    what `runs.LATEST` points to from now on. Raises a `TlcliError` for photos, disks and numbers
    that do not allow it to end well, and `Interrupted` after a signal.
    """
    with interrupts.graceful(), claims.claim(wanted, plan.recipe, plan.index) as claimed:
        clock = Clock()
        run = claimed.run
        again = ", which was stopped" if claimed.resumed else ""
        console.note(f"run: {run.replaces or run.path}{again}")
        with clock("load"):
            network = load_network(plan)
            record = weights.record(network.base, plan.row, plan.source)
        cuts = [cut.name for cut in plan.cuts]
        with open_store(network, plan, cuts) as opened:
            record["checksum"] = opened.checksums[plan.row.top.name]
            saving.describe(run, record, deterministic=plan.recipe.deterministic)
            audit = findings.audit_record(plan.index, plan.problems)
            files.write_json(run.file(runs.AUDIT), audit)
            with clock("extract"):
                report = fill_store(network, plan, opened)
            plan = _readable(plan, report, claimed)
            stages = Stages(network, plan, opened.known, run, clock, report)
            if claimed.resumed:
                stages.go_back()
            results = stages.run()
        with clock("save"):
            _check_frozen(network, opened, cuts[0], run)
            saving.save_model(network, plan, plan.index, run)
            saving.check_saved(network, plan, plan.index, run)
        summary = Summary(run, tuple(results), report, clock.seconds)
        files.write_json(run.file(runs.SUMMARY), summary.as_record())
        interrupts.check()
        settled = runs.settle(run)
        if latest:
            _mark_latest(settled)
        _draw_views(plan, settled)
        # From here on the run is finished; whoever asks for it again gets another.
        if run.replaces is None:
            stages.close()
        else:
            claims.discard(run)
    return replace(summary, run=settled)


def _mark_latest(run: Run) -> None:
    """Make it the run that commands take where none is named; that is all that may fail here."""
    try:
        runs.mark_latest(run)
    except OSError as error:
        pointer, hint = runs.root() / runs.LATEST, f"name this run with --run {run.path}"
        message = f"cannot be pointed at this run: {reason(error)}"
        console.warn(str(Problem(str(pointer), message, hint)))


def _draw_views(plan: Plan, run: Run) -> None:
    """Show the views that the network saw; the run is as good without the picture."""
    augment = plan.recipe.augment
    if augment.changes_pixels and (augment.views == "live" or augment.kept_views):
        try:
            preview.sheet(plan.recipe, plan.index, run.file(runs.VIEWS_SHEET))
        except (TlcliError, OSError) as error:
            console.warn(f"no sheet of views: {reason(error)}")


def _readable(plan: Plan, report: Report, claimed: Claim) -> Plan:
    """The plan of the photos that could be read, which are the same after a stop as before."""
    reduced = planning.reduced(plan, report.unreadable)
    if claimed.resumed:
        claims.check_photos(claimed.run, reduced.index)
    elif reduced is not plan:
        claims.leave_out(claimed.run, reduced.index)
    return reduced


def _check_frozen(network: Network, opened: Opened, lowest: str, run: Run) -> None:
    """The trunk must be what it was when it was loaded, bit by bit."""
    if network.checksums([lowest])[lowest] != opened.checksums[lowest]:
        message = f"weights up to '{lowest}' have changed although they were frozen"
        raise RunError(Problem(str(run.path), message, "this is a bug in tlcli; report it"))


def load_network(plan: Plan) -> Network:
    """The base with its weights and a new head, and the process set up for its recipe."""
    recipe = plan.recipe
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    network = split.build(
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
    folder, recipe = store.features_folder(plan.cache), plan.recipe
    every = network.checksums([boundary.name for boundary in plan.row.boundaries])
    opened = Opened({}, {}, every)
    with ExitStack() as stack:
        for name, checksum in every.items():
            kind = opened.rows if name in boundaries else opened.sources
            if name in boundaries or features.has_rows(
                network, recipe, name, folder, weights=checksum
            ):
                kind[name] = features.open_rows(network, recipe, name, folder, weights=checksum)
                stack.callback(kind[name].close)
        yield opened


def fill_store(network: Network, plan: Plan, opened: Opened) -> Report:
    """Extract what the plan needs and the store lacks."""
    recipe, items = plan.recipe, plan.index.items
    live = recipe.augment.views == "live"
    if live:
        items = tuple(item for item in items if item.split != "train")
    report = Report()
    if views := features.views_of(items, recipe.augment.kept_views):
        report = features.extract(network, recipe, views, opened.rows, opened.sources)
        _tell_extraction(report, len(views))
    if live:
        report.unreadable.update(_check_live(plan))
    for problem in report.unreadable.values():
        console.warn(f"{problem}; left out")
    return report


def _check_live(plan: Plan) -> dict[Path, Problem]:
    """Decode every training photo once before an epoch is spent: live views meet them late."""
    found = dict(check_photos([item.path for item in plan.index.of("train")], images.verify))
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
