"""`tlcli report`: one HTML file about a run, which needs no other file.

Everything comes from the files of the run; photos and heat maps are included as small pictures. For
what the run does not have yet, the page names the command that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.errors import Problem, RunError
from tlcli.evaluation import chart_data, colours
from tlcli.report import contents
from tlcli.report.contents import ReportContents
from tlcli.report.examples import photos_to_explain
from tlcli.report.html import render_page
from tlcli.report.run_data import read_run_data
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console, files, own_files

#: Bytes of the largest report: what mail and messengers carry.
LIMIT = 10_000_000

#: Epochs that are listed one by one, findings of the audit, and photos named in each.
MOST_EPOCHS, MOST_FINDINGS, MOST_PATHS = 200, 50, 10


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written: its file, its size and its contents."""

    path: Path
    bytes: int
    contents: ReportContents

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "report": str(self.path),
            "bytes": self.bytes,
            "run": str(self.contents.data.run.path),
            "split": self.contents.data.split,
            "verdict": self.contents.verdict.sentences(),
            "calibrated": self.contents.data.calibration.temperature is not None,
            "photos": self.contents.pictures,
            "photos_missing": len(self.contents.hidden),
            "missing": [
                {"what": part.what, "command": part.command}
                for part in self.contents.missing.values()
            ],
        }


def write_report(
    run: Run, *, out: Path | None = None, data: Path | None = None, raw: bool = False,
    force: bool = False,
) -> WrittenReport:  # fmt: skip
    """Write the report of a finished run.

    Args:
        run: what to report on.
        out: the file; by default `report.html` in the run.
        data: the folder where the photos are now; by default that of the recipe.
        raw: show the network's own probabilities.
        force: replace a file that is not by tlcli.

    Raises `RunError` for files of the run that are damaged, or a file in the way.
    """
    path = out or run.file(directory.REPORT)
    check_page(path, named=out is not None, force=force)
    if data is not None and not data.is_dir():
        raise RunError(
            Problem(f"--data {data}", "is not a folder", "name the folder of the photos")
        )
    shown = contents.gather_contents(run, data, raw=raw)
    text = report_html(shown)
    excess = len(text.encode()) - LIMIT
    if excess > 0:  # very many classes, or very long names
        shown = contents.gather_contents(
            run, data, raw=raw, most_bytes=max(0, shown.thumbnails.bytes_used - excess)
        )
        text = report_html(shown)
    files.write_text(path, text)
    shown.data.calibration.without_threshold().note()
    for problem in shown.hidden[:1]:
        rest = len(shown.hidden) - 1
        more = f" (and {console.counted(rest, 'photo')} more)" if rest else ""
        console.warn(f"{problem}{more}; left out of the report")
    for part in shown.missing.values():
        console.note(f"not in the report: {part.what}; to add it: {part.command}")
    return WrittenReport(path, len(text.encode()), shown)


def explain_photos(run: Run, data: Path | None = None, *, raw: bool = False) -> None:
    """Make the heat maps of the photos that a report shows, and keep them in the run.

    Raises `RunError` where the run was not evaluated: its mistakes are not known.
    """
    recorded = read_run_data(run, raw=raw)
    if recorded.evaluation is None:
        missing = contents.missing_parts(recorded)["evaluation"]
        message = "its mistakes are not known yet"
        raise RunError(Problem(str(run.path), message, f"run `{missing.command}` first"))
    # Imported here because it brings TensorFlow.
    from tlcli.explain.run_explanations import explain_for_report

    photos = photos_to_explain(recorded.evaluation)
    explain_for_report(run, photos, limit=len(photos), data=data or contents.photo_folder(recorded))


def check_page(path: Path, *, named: bool, force: bool) -> None:
    """Raise `RunError` where the page cannot be written, or would replace what is not by tlcli."""
    if path.is_dir():
        where = f"--out {path}" if named else str(path)
        raise RunError(Problem(where, "is a folder", "name a file, such as report.html"))
    problems = own_files.check_file(path, named=named, force=force)
    if problems := problems or files.check_writable(path.absolute().parent):
        raise RunError(problems)


def report_html(shown: ReportContents) -> str:
    """The page as text."""
    data = shown.data
    values = {
        "report": shown,
        "run": data.run,
        "record": data.record,
        "recipe": data.recipe,
        "outcome": data.outcome,
        "evaluation": data.evaluation,
        "kind": {"test": "test", "val": "validation"}[data.split],
        "settings": data.recipe.as_yaml(),
        "commands": _commands(data.run),
        "most_epochs": MOST_EPOCHS,
        "most_findings": MOST_FINDINGS,
        "most_paths": MOST_PATHS,
        "smoothing": chart_data.SMOOTHING,
        "smoothed_from": chart_data.SMOOTHED_FROM,
        "version": __version__,
    }
    palette = {"blue": colours.BLUE, "orange": colours.ORANGE, **colours.SERIES}
    scripts = ("report.js", "sort.js")
    return render_page(
        "page.html", values, styles=("report.css",), scripts=scripts, colours=palette
    )


def _commands(run: Run) -> tuple[tuple[str, str], ...]:
    path = contents.shell_quoted(run.path)
    return (
        ("train it again and compare every bit", f"tlcli reproduce {path}"),
        (
            "train its recipe",
            f"tlcli finetune --config {contents.shell_quoted(run.file(directory.RECIPE))}",
        ),
        ("evaluate it again", f"tlcli evaluate --run {path}"),
        ("classify photos with it", f"tlcli predict --run {path} PHOTO..."),
        ("write this page again", f"tlcli report --run {path}"),
    )
