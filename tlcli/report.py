"""`tlcli report`: a run told in one HTML file that needs nothing else.

Everything comes from what the run holds; photos and heat maps go in as small pictures. What the run
does not hold yet is told with the command that makes it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import (
    __version__,
    account,
    bases,
    console,
    curves,
    diagrams,
    evidence,
    exhibits,
    files,
    matrix,
    page,
    runs,
    verdict,
)
from tlcli.account import Account
from tlcli.charts import Chart
from tlcli.diagrams import Comparison, Diagram
from tlcli.errors import Problem, RunError
from tlcli.evidence import Evidence
from tlcli.exhibits import Exhibit
from tlcli.matrix import Matrix
from tlcli.runfiles import Evaluation, StageResult
from tlcli.runs import Run
from tlcli.settings import Stage
from tlcli.thumbnails import Album, Thumbnail
from tlcli.verdict import Measured, Verdict

#: Bytes of the largest report, and of all pictures in it: the rest is for words and numbers.
LIMIT, ROOM = 10_000_000, 7_000_000

#: Pixels of the longer side of the sheet of augmented views.
SHEET_SIDE = 1200

#: Epochs that are listed one by one, findings of the audit, and photos named in each.
MOST_EPOCHS, MOST_FINDINGS, MOST_PATHS = 200, 50, 10

#: How a file shows that it is a report, and may be replaced by another.
_MARK = '<meta name="generator" content="tlcli report">'


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
class Contents:
    """What the page shows; None, or nothing, where the run does not hold it."""

    evidence: Evidence
    verdict: Verdict
    comparison: Comparison
    stages: tuple[PlannedStage, ...]
    charts: tuple[Chart, ...]
    diagrams: tuple[Diagram, ...]
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


@dataclass(frozen=True)
class Written:
    """A report on the disk."""

    path: Path
    bytes: int
    contents: Contents

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "report": str(self.path),
            "bytes": self.bytes,
            "run": str(self.contents.evidence.run.path),
            "split": self.contents.evidence.split,
            "verdict": self.contents.verdict.sentences(),
            "photos": self.contents.pictures,
            "photos_missing": len(self.contents.hidden),
            "missing": [
                {"what": one.what, "command": one.command} for one in self.contents.missing.values()
            ],
        }


def write(run: Run, *, out: Path | None = None, data: Path | None = None) -> Written:
    """Write the report of a finished run.

    Args:
        run: what to report on.
        out: the file; by default `report.html` in the run.
        data: the folder where the photos are now; by default that of the recipe.

    Raises `RunError` for files of the run that are damaged, or a file in the way.
    """
    path = out or run.file(runs.REPORT)
    _check_out(path)
    if data is not None and not data.is_dir():
        raise RunError(Problem(f"--data {data}", "is not a folder", "name the photos' folder"))
    contents = gather(run, data)
    text = html(contents)
    files.write_text(path, text)
    for problem in contents.hidden[:1]:
        rest = len(contents.hidden) - 1
        more = f" (and {console.counted(rest, 'photo')} more)" if rest else ""
        console.warn(f"{problem}{more}; not in the report")
    for one in contents.missing.values():
        console.note(f"not in the report: {one.what}; {one.command}")
    return Written(path, len(text.encode()), contents)


def explain(run: Run, data: Path | None = None) -> None:
    """Make the heat maps of the photos that a report shows, and keep them in the run.

    Raises `RunError` where the run was not evaluated: its mistakes are not known.
    """
    found = evidence.read(run)
    if found.evaluation is None:
        missing = _missing(found)["evaluation"]
        message = "its mistakes are not known yet"
        raise RunError(Problem(str(run.path), message, f"run `{missing.command}` first"))
    # Imported here because it brings TensorFlow.
    from tlcli import explain as explanations

    wanted = exhibits.asked_for(found.evaluation)
    explanations.for_report(run, wanted, limit=len(wanted), data=data or _photos(found))


def _check_out(path: Path) -> None:
    """A file of somebody else's is not overwritten."""
    if path.is_dir():
        raise RunError(Problem(f"--out {path}", "is a folder", "name a file, such as report.html"))
    if path.is_file():
        with path.open("rb") as file:
            if _MARK.encode() not in file.read(1000):
                hint = "name another, or remove it"
                raise RunError(Problem(f"--out {path}", "exists and is not a report", hint))
    elif problems := runs.check_writable(path.absolute().parent):
        raise RunError(problems)


def gather(run: Run, data: Path | None = None) -> Contents:
    """Read a run and put together what its report shows, pictures included."""
    found = evidence.read(run)
    judged = verdict.judge(found)
    evaluation = found.evaluation
    album = Album(found.recipe.data.dir, data or _photos(found), found.digests, ROOM)
    sheet_path = run.file(runs.VIEWS_SHEET)
    sheet = album.picture(sheet_path, SHEET_SIDE) if sheet_path.is_file() else None
    mistakes = exhibits.build(evaluation.mistakes if evaluation else (), found, album)
    unsure = exhibits.build(evaluation.unsure_correct if evaluation else (), found, album)
    table = matrix.build(evaluation, found.predictions or (), album) if evaluation else None
    return Contents(
        evidence=found,
        verdict=judged,
        comparison=diagrams.comparison(_baseline(judged), _networks(found, judged)),
        stages=_stages(found),
        charts=diagrams.learning(found.epochs, found.outcome.stages),
        diagrams=_diagrams(evaluation),
        matrix=table,
        mistakes=mistakes,
        unsure=unsure,
        sheet=sheet,
        account=account.settle(found),
        missing=_missing(found),
        album=album,
    )


def html(contents: Contents) -> str:
    """The page as text."""
    found = contents.evidence
    values = {
        "report": contents,
        "run": found.run,
        "record": found.record,
        "recipe": found.recipe,
        "outcome": found.outcome,
        "evaluation": found.evaluation,
        "kind": {"test": "test", "val": "validation"}[found.split],
        "settings": found.recipe.as_yaml(),
        "commands": _commands(found.run),
        "most_epochs": MOST_EPOCHS,
        "most_findings": MOST_FINDINGS,
        "most_paths": MOST_PATHS,
        "smoothing": curves.SMOOTHING,
        "version": __version__,
    }
    return page.render(
        "report/page.html", values, style="report/report.css", script="report/report.js"
    )


def _photos(found: Evidence) -> Path:
    """Where the photos are: where they were evaluated, which may be elsewhere than for training."""
    evaluated = found.evaluation.data if found.evaluation else None
    trained = found.recipe.data.dir
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


def _diagrams(evaluation: Evaluation | None) -> tuple[Diagram, ...]:
    if evaluation is None or not evaluation.reliability.bins:
        return ()
    drawn = [diagrams.reliability("as trained", evaluation.reliability.bins, evaluation.ece)]
    if evaluation.calibrated and evaluation.reliability.calibrated_bins:
        title = f"calibrated, temperature {evaluation.calibrated.temperature:.2f}"
        bins = evaluation.reliability.calibrated_bins
        drawn.append(diagrams.reliability(title, bins, evaluation.calibrated.ece))
    return tuple(drawn)


def _missing(found: Evidence) -> dict[str, Missing]:
    run = _quoted(found.run.path)
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


def _commands(run: Run) -> tuple[tuple[str, str], ...]:
    path = _quoted(run.path)
    return (
        ("train it again", f"tlcli finetune --config {_quoted(run.file(runs.RECIPE))}"),
        ("measure it again", f"tlcli evaluate --run {path}"),
        ("classify photos with it", f"tlcli predict --run {path} PHOTO..."),
        ("write this page again", f"tlcli report --run {path}"),
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
