"""Stage after stage, with a checkpoint after every epoch from which a stopped run is resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from tlcli.data.dataset import Item
from tlcli.errors import Problem, RunError
from tlcli.features.extraction import ExtractionReport
from tlcli.features.store import TrunkRows
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.network import Network
from tlcli.networks.probabilities import class_logits
from tlcli.runs import directory
from tlcli.runs.calibration_record import CalibrationRecord, fit_calibration
from tlcli.runs.checkpoints import Checkpoint, Checkpoints
from tlcli.runs.directory import Run
from tlcli.runs.metrics import append_metrics, write_metrics
from tlcli.runs.records import Epoch, Score, StageResult, StepMethods
from tlcli.system import console
from tlcli.training.batches import Feed, StoredFeed, make_training_feed
from tlcli.training.kept_weights import Snapshot, StageOutcome
from tlcli.training.loop import run_stage
from tlcli.training.order import Position
from tlcli.training.plan import Plan
from tlcli.training.replica_checks import check_replicas
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.shared_score import score
from tlcli.training.stage_plan import StagePlan
from tlcli.training.stage_state import FinishedStage, read_snapshot, snapshot_arrays
from tlcli.training.step import Scorer
from tlcli.training.step_methods import PLAIN

#: What watches a run, epoch after epoch.
Observer = Callable[[Sequence[Epoch]], None]


class Clock:
    """Measures how many seconds each act of a run takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: tuple[str, float] | None = None

    @contextmanager
    def __call__(self, act: str) -> Iterator[None]:
        self._running = (act, time.monotonic())
        try:
            yield
        finally:
            self.seconds = self.so_far()
            self._running = None

    def add(self, earlier: Mapping[str, float]) -> None:
        """Add the seconds that acts took before a stop."""
        for act, seconds in earlier.items():
            self.seconds[act] = self.seconds.get(act, 0) + float(seconds)

    def so_far(self) -> dict[str, float]:
        """The seconds of all acts, the one that is going on included."""
        if self._running is None:
            return dict(self.seconds)
        act, started = self._running
        return {**self.seconds, act: self.seconds.get(act, 0) + time.monotonic() - started}


class Stages:
    """The stages of a plan, from the first, or from where a run was stopped.

    It is the `loop.Listener` of the stage that trains.

    Args:
        rows: of every cut of the plan, and of other boundaries at hand.
        run: where checkpoints and metrics are written.
        clock: counts the seconds of every act, those before a stop included.
        extraction: what was extracted for this run; `extraction` adds what was before a stop.
        trial: watches a run that is a trial: it is called with all epochs of the run after each of
            them, and what it raises ends the run. The test photos of a trial are not looked at.
        replicas: the copies of the network that train together.
        methods: how steps are computed.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        rows: dict[str, TrunkRows],
        run: Run,
        clock: Clock,
        extraction: ExtractionReport,
        trial: Observer | None = None,
        replicas: Replicas = ALONE,
        methods: StepMethods = PLAIN,
    ) -> None:
        check_replicas(plan, replicas)  # photos may have turned out unreadable since it was made
        self._trial, self._replicas, self._methods = trial, replicas, methods
        self._network, self._plan, self._rows, self._run = network, plan, rows, run
        self._clock, self.extraction = clock, extraction
        self._checkpoints = Checkpoints(run.file(directory.CHECKPOINTS))
        self._finished: list[FinishedStage] = []
        self._training: tuple[Epoch, ...] = ()  # the epochs so far of the stage that trains
        self._stopped: Snapshot | None = None  # of the stage that was training when it stopped

    def load_checkpoint(self) -> None:
        """Load the newest checkpoint of a run that was stopped, and say so."""
        last, problems = self._checkpoints.newest()
        for problem in problems:
            console.warn(str(problem))
        if last is None:
            console.note(
                "none of its checkpoints can be read; starting again from the first epoch"
                if problems
                else "it was stopped before the end of its first epoch"
            )
            return
        try:
            self._resume_from(last)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            hint = "another version of tlcli may have written it; start a new run with --fresh"
            message = "this tlcli cannot read its checkpoint"
            raise RunError(Problem(str(self._run.path), message, hint)) from error

    def run(self) -> tuple[StageResult, ...]:
        """Train what is left of every stage, and test after each."""
        # Held no longer than its stage needs it: it is as large as everything that stage trains.
        stopped, self._stopped = self._stopped, None
        write_metrics(self._run, [*self._epochs, *(stopped.history if stopped else ())])
        val = self._plan.index.of("val")
        test = self._plan.index.of("test") if self._trial is None else ()
        for number in range(len(self._finished), len(self._plan.stages)):
            planned = self._plan.stages[number]
            cut = planned.cut.name
            val_feed = self._stored_feed(val, cut) if val else None
            _announce(planned, number, len(self._plan.stages))
            with self._clock(f"stage {planned.stage.name}"):
                outcome = run_stage(
                    self._network, planned, self._plan.recipe, self._training_feed(cut), val_feed,
                    Position(number, len(self._epochs)), self, stopped, self._replicas,
                    self._methods,
                )  # fmt: skip
            stopped = None
            with self._clock("test"):
                tested = self._score(test, planned)
            self._finished.append(FinishedStage(outcome, tested))
            console.note(_stage_line(outcome, tested), "best")
        write_metrics(self._run, self._epochs)
        return tuple(stage.outcome.result(stage.test) for stage in self._finished)

    def fit_calibration(self, network: Network) -> CalibrationRecord:
        """Calibrate a network, as it is going to be saved, on the validation photos.

        Their logits come from the rows of the store, from which the network computes what it
        computes from the photos.
        """
        val, cut = self._plan.index.of("val"), self._plan.stages[-1].cut.name
        if not val:
            return fit_calibration(np.empty((0, 2)), np.empty(0, int))
        feed = self._stored_feed(val, cut)
        logits = Scorer(network, cut).logits(feed).astype(np.float64)
        fitted = fit_calibration(class_logits(logits), feed.labels)
        return fitted.model_copy(update={"precision": self._plan.recipe.policy})

    def close(self) -> None:
        """Remove the checkpoints: there is nothing left to go on with."""
        self._checkpoints.clear()

    def keep(self, snapshot: Snapshot) -> None:
        """Write the checkpoint of an epoch; see `loop.Listener`."""
        before = len(self._epochs)
        state = {
            "before": [epoch.model_dump() for epoch in self._epochs],
            "history": [epoch.model_dump() for epoch in snapshot.history],
            "best": before + snapshot.best,
            "results": [stage.as_state() for stage in self._finished],
            "seconds": self._clock.so_far(),
            "extraction": self.extraction.as_dict(),
        }
        arrays = snapshot_arrays(snapshot)
        self._checkpoints.write(Checkpoint(before + len(snapshot.history), state, arrays))
        self._training = snapshot.history

    def report(self, epoch: Epoch) -> None:
        """Add an epoch to the metrics and show it; see `loop.Listener`."""
        append_metrics(self._run, epoch.model_dump())
        console.note(_epoch_line(epoch, self._plan.stages[len(self._finished)].stage.epochs))
        if self._trial is not None:
            self._trial((*self._epochs, *self._training))

    @property
    def _epochs(self) -> list[Epoch]:
        """The epochs of the stages that are finished."""
        return [epoch for stage in self._finished for epoch in stage.outcome.history]

    def _resume_from(self, last: Checkpoint) -> None:
        """Continue from a checkpoint: what `keep` has written."""
        state = last.state
        self._finished = [FinishedStage.from_state(values) for values in state["results"]]
        self._clock.add(state["seconds"])
        self.extraction = self.extraction.with_earlier(state["extraction"])
        history = tuple(Epoch(**values) for values in state["history"])
        best = int(state["best"]) - len(state["before"])
        self._stopped = read_snapshot(history, best, last.arrays)
        stage = self._plan.stages[len(self._finished)].stage
        console.note(f"resuming after epoch {len(history)} of stage '{stage.name}'")

    def _training_feed(self, cut: str) -> Feed:
        recipe, items = self._plan.recipe, self._plan.index.of("train")
        return make_training_feed(self._network, recipe, self._rows, cut, items)

    def _stored_feed(self, items: Sequence[Item], cut: str) -> StoredFeed:
        return StoredFeed(self._network, self._plan.recipe, self._rows, cut, items)

    def _score(self, test: Sequence[Item], planned: StagePlan) -> Score | None:
        if not test:
            return None
        cut = planned.cut.name
        means = score(Scorer(self._network, cut), self._stored_feed(test, cut), self._replicas)
        if not math.isfinite(means.loss):
            message = "the loss on the test photos is not a number"
            where = f"stage '{planned.stage.name}'"
            raise RunError(Problem(where, message, "lower its learning_rate"))
        return Score(accuracy=means.accuracy, loss=means.loss, n=means.n)


def _announce(planned: StagePlan, number: int, count: int) -> None:
    until, first = planned.stage.freeze_until, planned.stage.unfreeze_from
    frozen = f"frozen until {until}" if until else "the whole base is frozen"
    frozen = "nothing is frozen" if until == PIXELS else frozen
    frozen = f"frozen below {first}" if first else frozen
    console.note(
        f"\nstage {number + 1} of {count}: {planned.stage.name} "
        f"({planned.trainable:,} trainable parameters, {frozen})"
    )


def _epoch_line(epoch: Epoch, epochs: int) -> str:
    line = f"  {epoch.epoch:>{len(str(epochs))}}/{epochs}"
    line += f"  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}"
    if epoch.val_loss is not None:
        line += f"  val_loss {epoch.val_loss:.4f}  val_accuracy {epoch.val_accuracy:.4f}"
    if epoch.val_top_5 is not None:
        line += f"  val_top_5 {epoch.val_top_5:.4f}"
    return line + f"  {console.duration(epoch.seconds)}"


def _stage_line(outcome: StageOutcome, score: Score | None) -> str:
    line = f"  best epoch {outcome.best.epoch} of {len(outcome.history)}"
    if outcome.averaged:
        *others, last = map(str, sorted(outcome.averaged))
        line += f", average of epochs {', '.join(others)} and {last}"
    if (accuracy := outcome.validation[1]) is not None:
        line += f": val_accuracy {accuracy:.4f}"
    if score is not None:
        line += f", test accuracy {score.accuracy:.4f}"
    return f"{line}; {console.duration(outcome.seconds)}"
