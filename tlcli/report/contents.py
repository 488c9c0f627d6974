"""What a report shows, put together from the files of a run, pictures included."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import Problem
from tlcli.evaluation import chart_data
from tlcli.evaluation.folds import FoldSummary, summarise_folds
from tlcli.evaluation.unknown_text import describe_false_alarms
from tlcli.networks import bases
from tlcli.networks.boundaries import PIXELS
from tlcli.recipe.stage_settings import Stage
from tlcli.report import charts, html
from tlcli.report.answer_charts import answer_charts
from tlcli.report.charts import ComparisonChart, ReliabilityDiagram
from tlcli.report.confusion import ConfusionMatrix, confusion_with_photos
from tlcli.report.examples import PhotoExample, show_examples
from tlcli.report.run_data import RunData, read_run_data
from tlcli.report.suspects import SuspectLabels, show_suspects
from tlcli.report.svg import Chart
from tlcli.report.thumbnails import PhotoThumbnails, Thumbnail
from tlcli.report.time_account import TimeAccount, time_account
from tlcli.report.verdict import MeasuredAccuracy, Verdict, judge_run
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation
from tlcli.runs.fold_record import FoldRecord
from tlcli.runs.records import StageResult
from tlcli.runs.unknown_record import MarkedPhotos

#: Bytes that all pictures of a report may take, as they stand in it.
PICTURE_BYTES = 7_000_000

#: Pixels of the longer side of the sheet of augmented views.
SHEET_SIDE = 2000


@dataclass(frozen=True)
class MissingPart:
    """Something that a report could show, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True)
class PlannedStage:
    """A stage as it was planned, and its result.

    Attributes:
        frozen_until: the boundary, in words.
        trained: the parameters of the base that it trained.
    """

    planned: Stage
    result: StageResult
    frozen_until: str
    trained: int


@dataclass(frozen=True)
class ReportContents:
    """What the page shows; None, or empty, where the run does not have it."""

    data: RunData
    verdict: Verdict
    comparison: ComparisonChart
    stages: tuple[PlannedStage, ...]
    charts: tuple[Chart, ...]
    diagrams: tuple[ReliabilityDiagram, ...]
    answers: tuple[Chart, ...]
    matrix: ConfusionMatrix | None
    mistakes: tuple[PhotoExample, ...]
    unsure: tuple[PhotoExample, ...]
    labels: SuspectLabels | None
    folds: tuple[tuple[FoldRecord, FoldSummary], ...]
    sheet: Thumbnail | None
    account: TimeAccount
    missing: dict[str, MissingPart]
    thumbnails: PhotoThumbnails

    @property
    def unknown_sentence(self) -> str:
        """How often known photos are called unknown."""
        assert self.data.unknown is not None
        return html.sentence(describe_false_alarms(self.data.unknown)) + "."

    @property
    def unknown_rows(self) -> list[tuple[str, MarkedPhotos]]:
        """The photos that should be called unknown, and of what kind they are."""
        unknown = self.data.unknown
        assert unknown is not None
        rows = [("folder", marked) for marked in unknown.foreign]
        return [*rows, *(("class", marked) for marked in unknown.left_out)]

    @property
    def hidden(self) -> tuple[Problem, ...]:
        """Why photos could not be shown, one problem for each."""
        return tuple(self.thumbnails.problems.values())

    def label(self, path: str) -> str:
        """The path of a photo as the page shows it."""
        return self.thumbnails.relative_name(path)

    @property
    def pictures(self) -> int:
        """How many photos are in the page, without heat maps and the sheet."""
        cells = sum(len(cell.photos) for cell in self.matrix.cells) if self.matrix else 0
        examples = self.mistakes + self.unsure
        return cells + sum(example.picture is not None for example in examples)


def gather_contents(
    run: Run, folder: Path | None = None, *, raw: bool = False, most_bytes: int = PICTURE_BYTES
) -> ReportContents:
    """Read a run and put together what its report shows.

    Args:
        run: a finished run.
        folder: where the photos are now, if it is not the folder that the run records.
        raw: show the network's own probabilities.
        most_bytes: of all pictures together.

    Raises `RunError` where a file of the run is missing or damaged.
    """
    data = read_run_data(run, raw=raw)
    evaluation = data.evaluation
    thumbnails = PhotoThumbnails(
        data.recipe.data.root,
        folder or photo_folder(data),
        data.digests,
        most_bytes,
        depth=data.recipe.data.depth,
    )
    # In this order, since each picture takes bytes that the later ones cannot have.
    sheet_path = run.file(directory.VIEWS_SHEET)
    sheet = thumbnails.picture(sheet_path, SHEET_SIDE) if sheet_path.is_file() else None
    mistakes = show_examples(evaluation.mistakes if evaluation else (), data, thumbnails)
    unsure = show_examples(evaluation.unsure_correct if evaluation else (), data, thumbnails)
    predictions = data.predictions or ()
    matrix = confusion_with_photos(evaluation, predictions, thumbnails) if evaluation else None
    verdict = judge_run(data)
    return ReportContents(
        data=data,
        verdict=verdict,
        comparison=charts.comparison_chart(_baseline(verdict), _networks(verdict)),
        stages=_stages(data),
        charts=_learning_charts(data),
        diagrams=_diagrams(evaluation),
        answers=_answers(data),
        matrix=matrix,
        mistakes=mistakes,
        unsure=unsure,
        labels=show_suspects(data.labels, thumbnails),
        folds=tuple((record, summarise_folds(record)) for record in data.folds),
        sheet=sheet,
        account=time_account(data),
        missing=missing_parts(data),
        thumbnails=thumbnails,
    )


def photo_folder(data: RunData) -> Path:
    """Where the photos are: where they were evaluated, which may be elsewhere than for training."""
    evaluated = data.evaluation.data if data.evaluation else None
    trained = data.recipe.data.root
    return Path(evaluated) if evaluated and Path(evaluated).is_dir() else trained


def _baseline(verdict: Verdict) -> tuple[str, float] | None:
    majority = verdict.majority
    return None if majority is None else (majority.name, majority.accuracy)


def _networks(verdict: Verdict) -> list[MeasuredAccuracy]:
    """The rows of the comparison: the network after each stage, the last one as it is."""
    if verdict.network is None:
        return []
    earlier = [
        MeasuredAccuracy(f"after stage “{stage.title}”", stage.right, stage.n)
        for stage in verdict.stages[:-1]
    ]
    return [*earlier, verdict.network]


def _stages(data: RunData) -> tuple[PlannedStage, ...]:
    row = bases.BASES[data.recipe.base.name]
    return tuple(
        PlannedStage(
            planned,
            result,
            _frozen_until(planned),
            row.trained_parameters(
                planned.freeze_until, planned.unfreeze_from, data.recipe.base.batch_norm
            ),
        )
        for planned, result in zip(data.recipe.stages, data.outcome.stages, strict=False)
    )


def _frozen_until(stage: Stage) -> str:
    if stage.unfreeze_from is not None:
        return f"below {stage.unfreeze_from}"
    return "nothing" if stage.freeze_until == PIXELS else stage.freeze_until or "the whole base"


def _learning_charts(data: RunData) -> tuple[Chart, ...]:
    best = [stage.best_epoch for stage in data.outcome.stages]
    return charts.learning_charts(chart_data.learning_curves(data.epochs, best))


def _diagrams(evaluation: Evaluation | None) -> tuple[ReliabilityDiagram, ...]:
    if evaluation is None or not evaluation.reliability.bins:
        return ()
    return tuple(map(charts.reliability_diagram, chart_data.reliability_charts(evaluation)))


def _answers(data: RunData) -> tuple[Chart, ...]:
    threshold = data.calibration.threshold
    return answer_charts(data.curves, threshold.probability if threshold else None)


def missing_parts(data: RunData) -> dict[str, MissingPart]:
    """What a report could show and the run does not have yet, by its place in the page."""
    run = shell_quoted(data.run.path)
    missing = {}
    has_photos = data.record.count(data.split) > 0
    if has_photos and (data.evaluation is None or data.predictions is None):
        split = "" if data.split == "test" else f" --split {data.split}"
        missing["evaluation"] = MissingPart(
            "the scores of classes and photos", f"tlcli evaluate --run {run}{split}"
        )
    elif data.explanations is None and data.evaluation is not None:
        missing["explanations"] = MissingPart(
            "where the network looked", f"tlcli report --run {run} --explain"
        )
    return missing


def shell_quoted(path: Path) -> str:
    """A path as it is written in a shell."""
    return shlex.quote(str(path))
