"""The story of a run, from a plan to a directory that predicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tlcli.data import findings, preview
from tlcli.errors import Problem, RunError, TlcliError, reason
from tlcli.features.extraction import ExtractionReport
from tlcli.features.open_store import open_store
from tlcli.pretrained.weights import describe_weights
from tlcli.runs import directory, fingerprints, resume
from tlcli.runs.create import move_into_place
from tlcli.runs.directory import Run
from tlcli.runs.resume import Claim, RunRequest
from tlcli.system import console, files, signals
from tlcli.training import extract, saving
from tlcli.training.plan import Plan, without_unreadable
from tlcli.training.stages import Clock, Result, Stages
from tlcli.training.step import Score

#: A new run under `directory.root()`, or the one there that was stopped.
NEW = RunRequest()

#: Photos on a run's own sheet of views, which has to be read in a report.
SHEET_ROWS = 12


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        stages: what each stage came to.
        seconds: of each act of the run.
    """

    run: Run
    stages: tuple[Result, ...]
    report: ExtractionReport
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


def train(
    plan: Plan, wanted: RunRequest = NEW, *, latest: bool = True, checksum: str | None = None
) -> Summary:
    """Carry out a plan: load, extract, train stage after stage, test, save, check.

    The features come first and stay in the store, and every epoch leaves a checkpoint, so that a
    run that ends early goes on from there when it is asked for again. With `latest`, the run is
    what `directory.LATEST` points to from now on. `checksum` is what that of the pretrained weights
    must be. Raises a `TlcliError` for photos, weights, disks and numbers that do not allow it to
    end well, and `Interrupted` after a signal.
    """
    with signals.defer(), resume.claim(wanted, plan.recipe, plan.index) as claimed:
        clock = Clock()
        run = claimed.run
        again = ", which was stopped" if claimed.resumed else ""
        console.note(console.one_line(f"run: {run.replaces or run.path}{again}"))
        with clock("load"):
            network = extract.load_network(plan)
            record = describe_weights(network.base, plan.row, plan.source)
        cuts = [cut.name for cut in plan.cuts]
        with open_store(network, plan.recipe, plan.cache, cuts) as opened:
            record["checksum"] = opened.checksums[plan.row.top.name]
            if checksum is not None:
                _check_weights(plan, record["checksum"], checksum)
            saving.describe(run, record, deterministic=plan.recipe.deterministic)
            audit = findings.audit_record(plan.index, plan.problems)
            files.write_json(run.file(directory.AUDIT), audit)
            with clock("extract"):
                report = extract.fill_store(network, plan, opened)
            plan = _readable(plan, report, claimed)
            stages = Stages(network, plan, opened.all_rows, run, clock, report)
            if claimed.resumed:
                stages.go_back()
            results = stages.run()
        with clock("save"):
            saving.save_model(network, plan, run)
            saving.check_saved(network, plan, run, (cuts[0], opened.checksums[cuts[0]]))
        summary = Summary(run, tuple(results), stages.report, clock.seconds)
        files.write_json(run.file(directory.SUMMARY), summary.as_record())
        signals.raise_if_interrupted()
        settled = move_into_place(run)
        if latest:
            _mark_latest(settled)
        _draw_views(plan, settled)
        # From here on the run is finished; whoever asks for it again gets another.
        if run.replaces is None:
            stages.close()
        else:
            resume.discard(run)
        signals.ignore_from_now_on()
    return replace(summary, run=settled)


def _check_weights(plan: Plan, found: str, wanted: str) -> None:
    if found != wanted:
        message = f"the weights have the checksum {found[:16]}; the run began with {wanted[:16]}"
        hint = "bring back those it began with; --weights says where they are"
        raise RunError(Problem(str(plan.source), message, hint))


def _mark_latest(run: Run) -> None:
    """Make it the run that commands take where none is named; that is all that may fail here."""
    try:
        directory.mark_latest(run)
    except OSError as error:
        pointer, hint = (
            directory.runs_root() / directory.LATEST,
            f"name this run with --run {run.path}",
        )
        message = f"cannot be pointed at this run: {reason(error)}"
        console.warn(str(Problem(str(pointer), message, hint)))


def _draw_views(plan: Plan, run: Run) -> None:
    """Show the views that the network saw; the run is as good without the picture."""
    augment = plan.recipe.augment
    if augment.changes_pixels and (augment.views == "live" or augment.kept_views):
        try:
            preview.sheet(plan.recipe, plan.index, run.file(directory.VIEWS_SHEET), most=SHEET_ROWS)
        except (TlcliError, OSError) as error:
            console.warn(f"no sheet of views: {reason(error)}")


def _readable(plan: Plan, report: ExtractionReport, claimed: Claim) -> Plan:
    """The plan of the photos that could be read, which are the same after a stop as before."""
    reduced = without_unreadable(plan, report.unreadable)
    if claimed.resumed:
        fingerprints.check_photos(claimed.run, reduced.index)
        fingerprints.update_places(claimed.run, plan.recipe, reduced.index)
    elif reduced is not plan:
        fingerprints.leave_out(claimed.run, reduced.index)
    return reduced
