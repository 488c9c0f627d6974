"""The story of a run, from a plan to a directory that predicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tlcli import console, features, files, images, runs, saving, split, store, weights
from tlcli import plan as planning
from tlcli.dataset import Index, Item
from tlcli.errors import DataError, Problem, RunError
from tlcli.features import Report
from tlcli.feeds import LiveFeed, StoredFeed
from tlcli.framework import tf
from tlcli.plan import Plan
from tlcli.runs import Run
from tlcli.split import Network
from tlcli.stage import Epoch, Outcome, Position, run_stage
from tlcli.steps import Score, Scorer
from tlcli.store import TrunkRows
from tlcli.survey import check_photos


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        stages: the outcome of each stage, and its score on the test photos.
        seconds: of each act of the run.
    """

    run: Run
    stages: tuple[tuple[Outcome, Score | None], ...]
    report: Report
    seconds: dict[str, float]

    @property
    def test(self) -> Score | None:
        """The score of the finished network on the test photos, if there are any."""
        return self.stages[-1][1]

    def as_json(self) -> dict[str, Any]:
        """What `finetune --json` prints."""
        return {
            "run": str(self.run.path),
            "stages": [outcome.as_dict() for outcome, _ in self.stages],
            "test": self.test.as_dict() if self.test else None,
        }

    def as_record(self) -> dict[str, Any]:
        """What `summary.json` holds: the same and each stage's test score, extraction and times."""
        record = self.as_json()
        del record["run"]  # a run may be moved
        for stage, (_, test) in zip(record["stages"], self.stages, strict=True):
            stage["test"] = test.as_dict() if test else None
        record["extraction"] = {
            "images": self.report.images,
            "computed": self.report.computed,
            "stored": self.report.stored,
        }
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


class _Clock:
    """Seconds of the acts of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, act: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[act] = self.seconds.get(act, 0) + time.monotonic() - started


def train(plan: Plan, *, out: Path | None = None, force: bool = False) -> Summary:
    """Carry out a plan: load, extract, train stage after stage, test, save, check.

    The features come first and stay in the store, so that a run that fails later repeats none of
    them. Raises a `TlcliError` for photos, disks and numbers that do not allow it to end well.
    """
    clock = _Clock()
    with clock("load"):
        network = load_network(plan)
        cuts = [cut.name for cut in plan.cuts]
        record = weights.record(network.base, plan.row, plan.source)
    with open_store(network, plan, cuts) as opened:
        with clock("extract"):
            report = fill_store(network, plan, opened)
        record["checksum"] = opened.checksums[plan.row.top.name]
        plan = planning.reduced(plan, report.unreadable)
        index = plan.index
        run = saving.begin(plan, index, record, out=out, force=force)
        console.note(f"run: {run.replaces or run.path}")
        stages = _run_stages(network, plan, index, opened.rows, run, clock)
    with clock("save"):
        if network.checksums(cuts[:1])[cuts[0]] != opened.checksums[cuts[0]]:
            message = f"weights up to '{cuts[0]}' have changed though they were frozen"
            raise RunError(Problem(str(run.path), message, "this is a bug in tlcli; report it"))
        saving.save_model(network, plan, index, run)
        saving.check_saved(network, plan, index, run)
    summary = Summary(run, tuple(stages), report, clock.seconds)
    files.write_json(run.file(runs.SUMMARY), summary.as_record())
    settled = runs.settle(run)
    runs.mark_latest(settled)
    return replace(summary, run=settled)


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
    rate = f", {report.images / report.seconds:.1f} images/s" if report.images else ""
    console.note(
        f"features: {console.counted(computed, 'row')} computed in "
        f"{console.duration(report.seconds)}{rate}; {console.counted(stored, 'row')} of "
        f"{console.counted(views, 'view')} were in the store"
    )


def _run_stages(
    network: Network,
    plan: Plan,
    index: Index,
    rows: dict[str, TrunkRows],
    run: Run,
    clock: _Clock,
) -> list[tuple[Outcome, Score | None]]:
    results: list[tuple[Outcome, Score | None]] = []
    val, test = index.of("val"), index.of("test")
    for number, planned in enumerate(plan.stages):
        at = Position(number, sum(outcome.epochs for outcome, _ in results))
        cut = planned.cut.name
        feed = _training_feed(network, plan, index, rows, cut)
        val_feed = StoredFeed(rows[cut], plan.recipe, val) if val else None
        _announce(plan, number)
        with clock(f"stage {planned.stage.name}"):
            tell = _teller(run, planned.stage.epochs)
            outcome = run_stage(network, planned, plan.recipe, feed, val_feed, at, tell)
        with clock("test"):
            score = _score(network, plan, test, rows, cut)
        results.append((outcome, score))
        console.note(_stage_line(outcome, score))
    return results


def _score(
    network: Network, plan: Plan, test: Sequence[Item], rows: dict[str, TrunkRows], cut: str
) -> Score | None:
    if not test:
        return None
    return Scorer(network, cut).score(StoredFeed(rows[cut], plan.recipe, test))


def _training_feed(
    network: Network, plan: Plan, index: Index, rows: dict[str, TrunkRows], cut: str
) -> StoredFeed | LiveFeed:
    augment = plan.recipe.augment
    if augment.views == "live":
        return LiveFeed(network, plan.recipe, index.of("train"), cut)
    return StoredFeed(rows[cut], plan.recipe, index.of("train"), augment.kept_views)


def _teller(run: Run, epochs: int) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        run.append_metrics(asdict(epoch))
        console.note(_epoch_line(epoch, epochs))

    return tell


def _announce(plan: Plan, number: int) -> None:
    planned = plan.stages[number]
    until = planned.stage.freeze_until
    frozen = f"frozen until {until}" if until else "the whole base is frozen"
    console.note(
        f"\nstage {number + 1} of {len(plan.stages)}: {planned.stage.name} "
        f"({planned.trainable:,} parameters train, {frozen})"
    )


def _epoch_line(epoch: Epoch, epochs: int) -> str:
    line = f"  {epoch.epoch:>{len(str(epochs))}}/{epochs}"
    line += f"  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}"
    if epoch.val_loss is not None:
        line += f"  val_loss {epoch.val_loss:.4f}  val_accuracy {epoch.val_accuracy:.4f}"
    return line + f"  {console.duration(epoch.seconds)}"


def _stage_line(outcome: Outcome, score: Score | None) -> str:
    line = f"  best epoch {outcome.best.epoch} of {outcome.epochs}"
    if outcome.best.val_accuracy is not None:
        line += f": val_accuracy {outcome.best.val_accuracy:.4f}"
    if score is not None:
        line += f", test accuracy {score.accuracy:.4f}"
    return f"{line}; {console.duration(outcome.seconds)}"
