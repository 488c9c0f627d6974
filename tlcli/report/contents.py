"""What a report shows, put together from the files of a run, pictures included."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import Problem
from tlcli.evaluation import chart_data
from tlcli.networks import bases
from tlcli.recipe.settings import Stage
from tlcli.report import charts, confusion, examples, run_data, verdict
from tlcli.report.charts import ComparisonChart, ReliabilityDiagram
from tlcli.report.confusion import Matrix
from tlcli.report.examples import Exhibit
from tlcli.report.run_data import Evidence
from tlcli.report.svg import Chart
from tlcli.report.thumbnails import Album, Thumbnail
from tlcli.report.verdict import Measured, Verdict
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation
from tlcli.runs.records import StageResult

#: Bytes that all pictures of a report may take, as they stand in it.
ROOM = 7_000_000

#: Pixels of the longer side of the sheet of augmented views.
SHEET_SIDE = 2000


@dataclass(frozen=True)
class Missing:
    """Something that a report could show, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True)
class PlannedStage:
    """A stage as it was planned and as it went; `trained` counts the base's parameters above."""

    planned: Stage
    result: StageResult
    frozen_until: str
    trained: int


@dataclass(frozen=True)
class ReportContents:
    """What the page shows; None, or nothing, where the run does not hold it."""

    evidence: Evidence
    verdict: Verdict
    comparison: ComparisonChart
    stages: tuple[PlannedStage, ...]
    charts: tuple[Chart, ...]
    diagrams: tuple[ReliabilityDiagram, ...]
    matrix: Matrix | None
    mistakes: tuple[Exhibit, ...]
    unsure: tuple[Exhibit, ...]
    sheet: Thumbnail | None
    account: Account
    missing: dict[str, Missing]
    album: Album

    @property
    def hidden(self) -> tuple[Problem, ...]:
        """Why photos could not be shown, one problem for each."""
        return tuple(self.album.problems.values())

    def label(self, path: str) -> str:
        """The path of a photo as the page shows it."""
        return self.album.name(path)

    @property
    def pictures(self) -> int:
        """Photos in the page, heat maps and the sheet left out."""
        cells = sum(len(cell.shots) for cell in self.matrix.cells) if self.matrix else 0
        return cells + sum(one.picture is not None for one in self.mistakes + self.unsure)


def gather(run: Run, data: Path | None = None, *, room: int = ROOM) -> ReportContents:
    """Read a run and put together what its report shows, with pictures of at most `room` bytes.

    `data` is the folder where the photos are now, if it is not the one that the run knows.
    """
    found = run_data.read(run)
    judged = verdict.judge(found)
    evaluation = found.evaluation
    album = Album(found.recipe.data.root, data or photos_of(found), found.digests, room)
    sheet_path = run.file(directory.VIEWS_SHEET)
    sheet = album.picture(sheet_path, SHEET_SIDE) if sheet_path.is_file() else None
    mistakes = examples.photo_examples(evaluation.mistakes if evaluation else (), found, album)
    unsure = examples.photo_examples(evaluation.unsure_correct if evaluation else (), found, album)
    table = (
        confusion.confusion_examples(evaluation, found.predictions or (), album)
        if evaluation
        else None
    )
    return ReportContents(
        evidence=found,
        verdict=judged,
        comparison=charts.comparison_chart(_baseline(judged), _networks(found, judged)),
        stages=_stages(found),
        charts=charts.learning_charts(
            chart_data.learning_curves(
                found.epochs, [stage.best_epoch for stage in found.outcome.stages]
            )
        ),
        diagrams=_diagrams(evaluation),
        matrix=table,
        mistakes=mistakes,
        unsure=unsure,
        sheet=sheet,
        account=time_account(found),
        missing=missing_from(found),
        album=album,
    )


def photos_of(found: Evidence) -> Path:
    """Where the photos are: where they were evaluated, which may be elsewhere than for training."""
    evaluated = found.evaluation.data if found.evaluation else None
    trained = found.recipe.data.root
    return Path(evaluated) if evaluated and Path(evaluated).is_dir() else trained


def _baseline(judged: Verdict) -> tuple[str, float] | None:
    return None if judged.majority is None else (judged.majority.name, judged.majority.accuracy)


def _networks(found: Evidence, judged: Verdict) -> list[Measured]:
    """The rows of the comparison: the network after each stage, the last one as it is."""
    if judged.network is None:
        return []
    earlier = [
        Measured(f"after stage “{one.title}”", one.right, one.n) for one in judged.stages[:-1]
    ]
    return [*earlier, judged.network]


def _stages(found: Evidence) -> tuple[PlannedStage, ...]:
    row = bases.lookup(found.recipe.base.name)
    above = {one.name: one.trainable_above for one in row.boundaries} if row else {}
    return tuple(
        PlannedStage(
            planned,
            result,
            planned.freeze_until or "the whole base",
            above.get(planned.freeze_until or "", 0),
        )
        for planned, result in zip(found.recipe.stages, found.outcome.stages, strict=False)
    )


def _diagrams(evaluation: Evaluation | None) -> tuple[ReliabilityDiagram, ...]:
    if evaluation is None or not evaluation.reliability.bins:
        return ()
    return tuple(map(charts.reliability_diagram, chart_data.reliability_charts(evaluation)))


def missing_from(found: Evidence) -> dict[str, Missing]:
    """What a report could show and the run does not hold, by its place in the page."""
    run = quoted(found.run.path)
    missing = {}
    has_photos = found.record.count(found.split) > 0
    if has_photos and (found.evaluation is None or found.predictions is None):
        split = "" if found.split == "test" else f" --split {found.split}"
        missing["evaluation"] = Missing(
            "the scores of classes and photos", f"tlcli evaluate --run {run}{split}"
        )
    elif found.explanations is None and found.evaluation is not None:
        missing["explanations"] = Missing(
            "where the network looked", f"tlcli report --run {run} --explain"
        )
    return missing


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


@dataclass(frozen=True)
class Act:
    """A part of a run: its seconds, and its share of the longest one."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Account:
    """Time, and passes of photos through the frozen part of the network.

    Attributes:
        passes: photos that this run took through it.
        usual: those that a loop takes that runs the whole network in every epoch, over the same
            epochs: all photos to train and to validate on in each, and the test photos after each
            stage.
        computed, stored: rows of the store that were made, and that were there.
        spared: seconds for the passes not made, at this run's own rate; None where it computed too
            few to tell.
    """

    acts: tuple[Act, ...]
    total: float
    passes: int
    usual: int
    computed: int
    stored: int
    spared: float | None


#: Passes from which on the rate of an extraction says something.
ENOUGH = 100


def time_account(evidence: Evidence) -> Account:
    """The account of a run, from its summary."""
    outcome, record = evidence.outcome, evidence.record
    seconds = outcome.seconds
    longest = max(seconds.values(), default=0) or 1.0
    epochs = sum(stage.epochs for stage in outcome.stages)
    train, val, test = (record.count(split) for split in ("train", "val", "test"))
    usual = epochs * (train + val) + len(outcome.stages) * test
    passes = outcome.extraction.images
    if evidence.recipe.augment.views == "live":
        passes += epochs * train
    rate = None
    if outcome.extraction.images >= ENOUGH and seconds.get("extract"):
        rate = seconds["extract"] / outcome.extraction.images
    return Account(
        tuple(Act(name, value, value / longest) for name, value in seconds.items()),
        sum(seconds.values()),
        passes,
        usual,
        sum(outcome.extraction.computed.values()),
        sum(outcome.extraction.stored.values()),
        None if rate is None or usual <= passes else rate * (usual - passes),
    )
