"""`tlcli report`: a run told in one HTML file that needs nothing else.

Everything comes from what the run holds; photos and heat maps go in as small pictures. What the run
does not hold yet is told with the command that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import __version__
from tlcli.errors import Problem, RunError
from tlcli.evaluation import chart_data
from tlcli.report import contents, examples, run_data
from tlcli.report.contents import ReportContents
from tlcli.report.html import render
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console, files

#: Bytes of the largest report: what mail and messengers carry.
LIMIT = 10_000_000

#: Epochs that are listed one by one, findings of the audit, and photos named in each.
MOST_EPOCHS, MOST_FINDINGS, MOST_PATHS = 200, 50, 10

#: How a file shows that it is a report, and may be replaced by another.
_MARK = '<meta name="generator" content="tlcli report">'


@dataclass(frozen=True)
class Written:
    """A report on the disk."""

    path: Path
    bytes: int
    contents: ReportContents

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
    path = out or run.file(directory.REPORT)
    _check_out(path)
    if data is not None and not data.is_dir():
        raise RunError(
            Problem(f"--data {data}", "is not a folder", "name the folder of the photos")
        )
    shown = contents.gather(run, data)
    text = html(shown)
    if (over := len(text.encode()) - LIMIT) > 0:  # very many classes, or very long names
        shown = contents.gather(run, data, room=max(0, shown.album.used - over))
        text = html(shown)
    files.write_text(path, text)
    for problem in shown.hidden[:1]:
        rest = len(shown.hidden) - 1
        more = f" (and {console.counted(rest, 'photo')} more)" if rest else ""
        console.warn(f"{problem}{more}; left out of the report")
    for one in shown.missing.values():
        console.note(f"not in the report: {one.what}; to add it: {one.command}")
    return Written(path, len(text.encode()), shown)


def explain(run: Run, data: Path | None = None) -> None:
    """Make the heat maps of the photos that a report shows, and keep them in the run.

    Raises `RunError` where the run was not evaluated: its mistakes are not known.
    """
    found = run_data.read(run)
    if found.evaluation is None:
        missing = contents.missing_from(found)["evaluation"]
        message = "its mistakes are not known yet"
        raise RunError(Problem(str(run.path), message, f"run `{missing.command}` first"))
    # Imported here because it brings TensorFlow.
    from tlcli.explain import explain as explanations

    wanted = examples.asked_for(found.evaluation)
    explanations.for_report(run, wanted, limit=len(wanted), data=data or contents.photos_of(found))


def _check_out(path: Path) -> None:
    """A file of somebody else's is not overwritten."""
    if path.is_dir():
        raise RunError(Problem(f"--out {path}", "is a folder", "name a file, such as report.html"))
    if path.is_file():
        with path.open("rb") as file:
            if _MARK.encode() not in file.read(1000):
                hint = "name another, or remove it"
                raise RunError(Problem(f"--out {path}", "exists and is not a report", hint))
    elif problems := files.check_writable(path.absolute().parent):
        raise RunError(problems)


def html(shown: ReportContents) -> str:
    """The page as text."""
    found = shown.evidence
    values = {
        "report": shown,
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
        "smoothing": chart_data.SMOOTHING,
        "version": __version__,
    }
    return render("page.html", values, style="report.css", script="report.js")


def _commands(run: Run) -> tuple[tuple[str, str], ...]:
    path = contents.quoted(run.path)
    return (
        ("train it again and compare every bit", f"tlcli reproduce {path}"),
        (
            "train its recipe",
            f"tlcli finetune --config {contents.quoted(run.file(directory.RECIPE))}",
        ),
        ("evaluate it again", f"tlcli evaluate --run {path}"),
        ("classify photos with it", f"tlcli predict --run {path} PHOTO..."),
        ("write this page again", f"tlcli report --run {path}"),
    )
