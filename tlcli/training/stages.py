"""Stage after stage, with a checkpoint after every epoch to go on from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from tlcli.data.dataset import Item
from tlcli.errors import Problem, RunError
from tlcli.features.extraction import ExtractionReport
from tlcli.features.store import TrunkRows
from tlcli.networks.network import Network
from tlcli.runs import directory
from tlcli.runs.checkpoints import BEST, Checkpoint, Checkpoints
from tlcli.runs.directory import Run
from tlcli.system import console, files
from tlcli.training.batches import LiveFeed, StoredFeed
from tlcli.training.loop import Epoch, Outcome, Position, Snapshot, run_stage
from tlcli.training.plan import Plan
from tlcli.training.step import Score, Scorer

Array = npt.NDArray[Any]

_WEIGHTS, _OPTIMIZER = "weights/", "optimizer/"


class Clock:
    """Seconds of the acts of a run."""

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

    def so_far(self) -> dict[str, float]:
        """With those of the act that is going on."""
        if self._running is None:
            return dict(self.seconds)
        act, started = self._running
        return {**self.seconds, act: self.seconds.get(act, 0) + time.monotonic() - started}


@dataclass(frozen=True)
class Result:
    """What a stage came to, and its score on the test photos if there are any."""

    outcome: Outcome
    test: Score | None

    def as_dict(self) -> dict[str, Any]:
        """The form in `summary.json`."""
        return {**self.outcome.as_dict(), "test": self.test.as_dict() if self.test else None}


class Stages:
    """The stages of a plan, from the first, or from where a run was stopped.

    It is the `loop.Keeper` of the stage that trains.

    Args:
        rows: of every cut of the plan, and of other boundaries at hand.
        run: keeps checkpoints and metrics.
        clock: is told the seconds of every act, those before a stop included.
        report: of the extraction; what was computed before a stop is added to it.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        rows: dict[str, TrunkRows],
        run: Run,
        clock: Clock,
        report: ExtractionReport,
    ) -> None:
        self._network, self._plan, self._rows, self._run = network, plan, rows, run
        self._clock, self.report = clock, report
        self._checkpoints = Checkpoints(run.file(directory.CHECKPOINTS))
        self._results: list[Result] = []
        self._before: list[Epoch] = []  # those of the stages before this one
        self._stopped: Snapshot | None = None
        self._best: list[Array] = []  # weights of the best epoch of the stage that trains

    def go_back(self) -> None:
        """Take up the newest checkpoint of a run that was stopped, and say so."""
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
            self._take_up(last)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            hint = "another version of tlcli may have written it; start a new run with --fresh"
            message = "this tlcli cannot read its checkpoint"
            raise RunError(Problem(str(self._run.path), message, hint)) from error

    def run(self) -> list[Result]:
        """Train what is left of every stage, and test after each."""
        self._rewrite_metrics()
        val, test = self._plan.index.of("val"), self._plan.index.of("test")
        for number in range(len(self._results), len(self._plan.stages)):
            planned = self._plan.stages[number]
            cut = planned.cut.name
            val_feed = self._stored_feed(val, cut) if val else None
            _announce(self._plan, number)
            with self._clock(f"stage {planned.stage.name}"):
                outcome = run_stage(
                    self._network, planned, self._plan.recipe, self._training_feed(cut), val_feed,
                    Position(number, len(self._before)), self,
                )  # fmt: skip
            with self._clock("test"):
                score = self._score(test, cut)
            self._results.append(Result(outcome, score))
            self._before += outcome.history
            console.note(_stage_line(outcome, score))
        self._rewrite_metrics()  # its lines have not been flushed to the disk one by one
        return self._results

    def close(self) -> None:
        """Remove the checkpoints: there is nothing left to go on with."""
        self._checkpoints.clear()

    def last(self) -> Snapshot | None:
        """See `loop.Keeper`."""
        stopped, self._stopped = self._stopped, None  # of one stage only
        return stopped

    def keep(self, snapshot: Snapshot) -> None:
        """See `loop.Keeper`."""
        before = len(self._before)
        state = {
            "before": [asdict(epoch) for epoch in self._before],
            "history": [asdict(epoch) for epoch in snapshot.history],
            "best": before + snapshot.best,
            "results": [asdict(result) for result in self._results],
            "seconds": self._clock.so_far(),
            "extraction": self.report.as_dict(),
        }
        arrays = _packed(_WEIGHTS, snapshot.weights) | _packed(_OPTIMIZER, snapshot.optimizer)
        if snapshot.best == len(snapshot.history):
            self._best = snapshot.weights
        else:
            arrays |= _packed(BEST + _WEIGHTS, self._best)
        self._checkpoints.write(Checkpoint(before + len(snapshot.history), state, arrays))
        epoch = snapshot.history[-1]
        self._run.append_metrics(asdict(epoch))
        console.note(_epoch_line(epoch, self._plan.stages[len(self._results)].stage.epochs))

    def best(self) -> list[Array]:
        """See `loop.Keeper`."""
        return self._best

    def _take_up(self, last: Checkpoint) -> None:
        state = last.state
        self._before = [Epoch(**values) for values in state["before"]]
        self._results = [_result(values) for values in state["results"]]
        for act, seconds in state["seconds"].items():
            self._clock.seconds[act] = self._clock.seconds.get(act, 0) + float(seconds)
        self.report = self.report.with_earlier(state["extraction"])
        history = tuple(Epoch(**values) for values in state["history"])
        self._stopped = Snapshot(
            history,
            int(state["best"]) - len(self._before),
            _unpacked(_WEIGHTS, last.arrays),
            _unpacked(_OPTIMIZER, last.arrays),
        )
        earlier = self._stopped.best != len(history)
        self._best = _unpacked(BEST + _WEIGHTS, last.arrays) if earlier else self._stopped.weights
        stage = self._plan.stages[len(self._results)].stage
        console.note(f"resuming after epoch {len(history)} of stage '{stage.name}'")

    def _training_feed(self, cut: str) -> StoredFeed | LiveFeed:
        augment, items = self._plan.recipe.augment, self._plan.index.of("train")
        if augment.views == "live":
            return LiveFeed(self._network, self._plan.recipe, items, cut)
        return self._stored_feed(items, cut, augment.kept_views)

    def _stored_feed(self, items: Sequence[Item], cut: str, kept_views: int = 0) -> StoredFeed:
        return StoredFeed(self._network, self._plan.recipe, self._rows, cut, items, kept_views)

    def _score(self, test: Sequence[Item], cut: str) -> Score | None:
        if not test:
            return None
        return Scorer(self._network, cut).score(self._stored_feed(test, cut))

    def _rewrite_metrics(self) -> None:
        """The metrics of the epochs that count, whole: a stop may have cut the file short."""
        history = [*self._before, *(self._stopped.history if self._stopped else ())]
        text = "".join(directory.metrics_line(asdict(epoch)) for epoch in history)
        files.write_text(self._run.file(directory.METRICS), text)


def _result(values: dict[str, Any]) -> Result:
    outcome = values["outcome"]
    history = tuple(Epoch(**epoch) for epoch in outcome["history"])
    test = Score(**values["test"]) if values["test"] else None
    return Result(Outcome(outcome["name"], history, Epoch(**outcome["best"])), test)


def _packed(kind: str, arrays: Sequence[Array]) -> dict[str, Array]:
    return {f"{kind}{number}": array for number, array in enumerate(arrays)}


def _unpacked(kind: str, arrays: dict[str, Array]) -> list[Array]:
    count = sum(name.startswith(kind) for name in arrays)
    return [arrays[f"{kind}{number}"] for number in range(count)]


def _announce(plan: Plan, number: int) -> None:
    planned = plan.stages[number]
    until = planned.stage.freeze_until
    frozen = f"frozen until {until}" if until else "the whole base is frozen"
    console.note(
        f"\nstage {number + 1} of {len(plan.stages)}: {planned.stage.name} "
        f"({planned.trainable:,} trainable parameters, {frozen})"
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
