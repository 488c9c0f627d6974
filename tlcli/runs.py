"""Run directories: every file name in them, how they are made, found and read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, reason, suggestion
from tlcli.files import existing, replacing, write_text
from tlcli.locks import HOLDER, LOCK

RECORD = "run.json"  # versions, fingerprints, state; its presence makes a folder a run
RECIPE = "recipe.yaml"  # resolved: every default and path written out
SPLIT = "split.csv"  # path, label, split, sha256 of every photo
AUDIT = "audit.json"  # what was found in the photos before training
METRICS = "metrics.jsonl"  # one line an epoch
SUMMARY = "summary.json"  # the outcome
MODEL = "model.keras"  # raw RGB in, probabilities out
MODEL_CARD = "tlcli.json"  # a member of the model archive: classes, size, resize
CHECKPOINTS = "checkpoints"  # a folder that is there until the run is closed
LATEST = "latest"  # beside the runs: the last one that finished

#: What a finished run consists of.
FILES = (RECORD, RECIPE, SPLIT, AUDIT, METRICS, MODEL, SUMMARY)

# What other commands add to a finished run.
CALIBRATION = "calibration.json"  # temperature and threshold that predict applies
CURVES = ("curves.png", "curves.svg")  # accuracy, loss and learning rate over all stages
EXPLANATIONS = "explanations"  # a folder of heat maps and the index of them
EXPLANATIONS_INDEX = "index.json"  # in that folder: which picture explains what
VIEWS_SHEET = "views.png"  # augmented views of some training photos
REPORT = "report.html"


def evaluation(split: str) -> str:
    """The file with what `tlcli evaluate` found on a split."""
    return f"evaluation-{split}.json"


def predictions(split: str) -> str:
    """The file with the uncalibrated probabilities of a split's photos."""
    return f"predictions-{split}.csv"


def reliability(split: str, form: str = "png") -> str:
    """The reliability diagram of a split, `png` or `svg`."""
    return f"reliability-{split}.{form}"


def confusion(split: str, form: str = "png") -> str:
    """The confusion matrix of a split as a picture, `png` or `svg`."""
    return f"confusion-{split}.{form}"


_SPLITS, _FORMS = ("train", "val", "test"), ("png", "svg")

#: All that follows from a model, and is out of date with another one in its place.
DERIVED = (
    CALIBRATION,
    *CURVES,
    EXPLANATIONS,
    VIEWS_SHEET,
    REPORT,
    *(name(split) for name in (evaluation, predictions) for split in _SPLITS),
    *(
        name(split, form)
        for name in (reliability, confusion)
        for split in _SPLITS
        for form in _FORMS
    ),
)


@dataclass(frozen=True)
class Run:
    """One run directory.

    `replaces` is the older run whose place it takes once it is finished.
    """

    path: Path
    replaces: Path | None = None

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.name

    def file(self, name: str) -> Path:
        """One of the files named above."""
        return self.path / name

    def read(self, name: str) -> Any:
        """The contents of a JSON file of the run; a `RunError` where it is missing or damaged."""
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = "the run did not finish; start `tlcli finetune` again"
            raise RunError(Problem(str(self.path), f"has no {name}", hint)) from None
        except (OSError, ValueError) as error:
            raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error

    def record(self) -> dict[str, Any]:
        """The run's record; a `RunError` where it is missing or damaged."""
        value = self.read(RECORD)
        if not isinstance(value, dict):
            hint = "restore it, or remove the run"
            raise RunError(Problem(str(self.file(RECORD)), "is not the record of a run", hint))
        return value

    @property
    def finished(self) -> bool:
        """Whether the run has an outcome and a model."""
        return self.file(SUMMARY).is_file() and self.file(MODEL).is_file()

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do for it, not even tidying up."""
        return self.finished and not self.file(CHECKPOINTS).exists()

    def append_metrics(self, values: dict[str, Any]) -> None:
        """Add one line to the metrics."""
        with self.file(METRICS).open("a", encoding="utf-8") as file:
            file.write(metrics_line(values))


def metrics_line(values: dict[str, Any]) -> str:
    """One line of the metrics."""
    return json.dumps(values, allow_nan=False) + "\n"


def root() -> Path:
    """The folder of the runs: `TLCLI_RUNS`, or `runs` in the working folder."""
    return Path(os.environ.get("TLCLI_RUNS") or "runs")


def check_output(out: Path | None, *, force: bool) -> list[Problem]:
    """What stands in the way of a run in `out` (`None`: a new folder under `root()`).

    A run that was stopped there does not: it may go on, which `claims` decides.
    """
    if out is None:
        return check_writable(root())
    if not out.exists():
        return check_writable(out.parent)
    if not out.is_dir():
        return [Problem(f"--out {out}", "exists and is not a folder", "name another")]
    try:
        if not _contents(out):
            return check_writable(out)
    except OSError as error:
        return [Problem(f"--out {out}", f"cannot be read: {reason(error)}", "name another")]
    if not (out / RECORD).is_file():
        hint = "name another folder; --force replaces only what tlcli has written"
        return [Problem(f"--out {out}", "exists, is not empty and is not a run", hint)]
    if not force and Run(out).closed:
        hint = "name another folder, or replace the run with --force"
        return [Problem(f"--out {out}", "there is already a run", hint)]
    return check_writable(out)


def _contents(folder: Path) -> list[Path]:
    """What is in a folder, beside a lock."""
    return [path for path in folder.iterdir() if path.name not in (LOCK, HOLDER)]


def check_writable(folder: Path) -> list[Problem]:
    """Whether files can be made in a folder, or in the nearest one above it that exists."""
    folder = existing(folder)
    if not folder.is_dir():
        return [Problem(str(folder), "is a file; runs need a folder", "name one with --out")]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Problem(str(folder), "cannot be written to", "name another folder with --out")]
    return []


def create(name: str, out: Path | None, *, force: bool = False) -> Run:
    """Make the directory of a new run: `out`, or `NAME-1`, `NAME-2`, ... under `root()`.

    Raises `RunError` where something is in the way; see `check_output`.
    """
    problems = check_output(out, force=force)
    if problems:
        raise RunError(problems)
    try:
        if out is not None:
            if out.is_dir() and _contents(out):
                # The old run stays until the new one is finished, in a folder beside it.
                old = out.resolve()
                new = Path(tempfile.mkdtemp(prefix=_replacement(old), dir=old.parent))
                return Run(new, replaces=old)
            out.mkdir(parents=True, exist_ok=True)
            return Run(out)
        folder = root()
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((number_of(path, name) for path in folder.iterdir()), default=0)
        while True:
            with suppress(FileExistsError):  # another process took the number
                path = folder / f"{name}-{number}"
                path.mkdir()
                return Run(path)
            number += 1
    except OSError as error:
        raise RunError(Problem(str(error.filename or out or root()), reason(error))) from error


def number_of(path: Path, name: str) -> int:
    """Which of the runs of that name a directory is, from 1; 0 for one of another name."""
    stem, _, number = path.name.rpartition("-")
    return int(number) if stem == name and number.isdecimal() else 0


def replacements(out: Path) -> list[Path]:
    """The folders in which runs that are to replace the one in `out` were begun."""
    old = out.resolve()
    return [path for path in old.parent.iterdir() if path.name.startswith(_replacement(old))]


def _replacement(old: Path) -> str:
    """How the folders of runs that are to replace an older one begin."""
    return f".{old.name}.new-"


def settle(run: Run) -> Run:
    """A finished run in its place: where it replaces an older one, file by file.

    The folder it was trained in stays whole until all is done, so that after a crash the same can
    be done again; and the outcome comes last, so that what is half replaced is no finished run.
    Only the files of a run are replaced. What was derived from the old model goes with it: an old
    temperature would be wrong for the new one.
    """
    if run.replaces is None:
        return run
    (run.replaces / SUMMARY).unlink(missing_ok=True)
    # A stopped run there is not to be gone on with as if it were this one.
    shutil.rmtree(run.replaces / CHECKPOINTS, ignore_errors=True)
    for path in (run.replaces / name for name in DERIVED):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in FILES:
        with replacing(run.replaces / name) as temporary:
            shutil.copyfile(run.file(name), temporary)
    return Run(run.replaces)


def mark_latest(run: Run) -> None:
    """Point `latest` under `root()` at a run, wherever that is.

    A link, or a file with the path where links fail; a file or folder of somebody else's is left.
    """
    root().mkdir(parents=True, exist_ok=True)
    pointer = root() / LATEST
    target = os.path.relpath(run.path.resolve(), root().resolve())
    ours = pointer.is_symlink() or _pointed_at(pointer) is not None
    if pointer.exists() and not ours:
        return
    temporary = pointer.with_name(f".{LATEST}-{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(pointer)
    except OSError:
        write_text(pointer, target + "\n")


def _pointed_at(pointer: Path) -> Path | None:
    """The run that a text file `latest` names, if it is one."""
    try:
        path = pointer.parent / pointer.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return path if (path / RECORD).is_file() else None


def find_model(which: str | None) -> Path:
    """The model a user means: a `.keras` file, or that of the run `find` finds."""
    if which is not None and Path(which).is_file():
        return Path(which)
    return find(which).file(MODEL)


def find(which: str | None, *, where: str = "--run") -> Run:
    """The finished run a user means: a directory, a name under `root()`, or the latest.

    Raises a `RunError` at `where` if there is none.
    """
    folder = root()
    if which is None:
        return _finished(_latest(folder), where)
    place = f"{where} {which}"
    return _finished(named(which, where=place), place)


def named(which: str, *, where: str) -> Run:
    """The run, finished or not, that a directory or a name under `root()` means.

    Raises a `RunError` at `where` if there is none.
    """
    folder = root()
    for path in (Path(which), folder / which):
        if (path / RECORD).is_file():
            return Run(path)
    names = [run.name for run in listed(folder)]
    hint = suggestion(which, names) if names else "train one with `tlcli finetune`"
    raise RunError(Problem(where, "no such run", hint))


def _latest(folder: Path) -> Run:
    pointer = folder / LATEST
    path = pointer
    if pointer.is_file():
        path = folder / pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not (path / RECORD).is_file():
        hint = "train one with `tlcli finetune`, or name one with --run"
        raise RunError(Problem(str(folder), "no run here yet", hint))
    return Run(path.resolve())


def _finished(run: Run, where: str) -> Run:
    if not run.finished:
        hint = "start `tlcli finetune` again, or name another run"
        raise RunError(Problem(where, f"the run {run.path} did not finish", hint))
    return run


def listed(folder: Path) -> list[Run]:
    """Every run in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        if not path.is_symlink() and path.name[0] != ".":
            with suppress(FileNotFoundError, NotADirectoryError):  # others come and go
                found.append(((path / RECORD).stat().st_ctime_ns, path))
    return [Run(path) for _, path in sorted(found)]


__all__ = [
    "AUDIT",
    "CALIBRATION",
    "CHECKPOINTS",
    "CURVES",
    "EXPLANATIONS",
    "EXPLANATIONS_INDEX",
    "FILES",
    "LATEST",
    "METRICS",
    "MODEL",
    "MODEL_CARD",
    "RECIPE",
    "RECORD",
    "REPORT",
    "SPLIT",
    "SUMMARY",
    "VIEWS_SHEET",
    "Run",
    "check_output",
    "confusion",
    "create",
    "evaluation",
    "find",
    "find_model",
    "listed",
    "mark_latest",
    "metrics_line",
    "named",
    "number_of",
    "predictions",
    "reliability",
    "replacements",
    "root",
    "settle",
]
