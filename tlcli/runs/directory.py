"""Run directories: every file name in them, how they are found and read."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, reason, suggestion
from tlcli.runs.root import runs_root as runs_root
from tlcli.system import console, files
from tlcli.system.files import RECORD_BYTES, read_bytes, read_json

RECORD = "run.json"  # versions, fingerprints, state; its presence makes a folder a run
RECIPE = "recipe.yaml"  # resolved: every default and path written out
SPLIT = "split.csv"  # path, label, split, sha256 of every photo
AUDIT = "audit.json"  # what was found in the photos before training
METRICS = "metrics.jsonl"  # one line an epoch
SUMMARY = "summary.json"  # the outcome
CALIBRATION = "calibration.json"  # the temperature, and the threshold of `evaluate` if any
MODEL = "model.keras"  # raw RGB in, probabilities out
NEIGHBOURS = "neighbours.npz"  # features of the training photos, and the limit of `unknown`
MODEL_CARD = "tlcli.json"  # a member of the model archive: classes, size, resize, temperature
CHECKPOINTS = "checkpoints"  # a folder that is there until the run is closed
LATEST = "latest"  # beside the runs: the last one that finished

#: What a finished run consists of.
FILES = (RECORD, RECIPE, SPLIT, AUDIT, METRICS, CALIBRATION, MODEL, NEIGHBOURS, SUMMARY)

# What other commands add to a finished run.
INSTANT = "instant.tflite"  # the network as LiteRT, which answers without TensorFlow
CURVES = ("curves.png", "curves.svg")  # accuracy, loss and learning rate over all stages
UNKNOWN = "unknown.json"  # how well it tells photos that show none of its classes
EXPLANATIONS = "explanations"  # a folder of heat maps and the index of them
EXPLANATIONS_INDEX = "index.json"  # in that folder: which picture explains what
NOTE = "note.txt"  # what the user says of it
VIEWS_SHEET = "views.png"  # augmented views of some training photos
REPORT = "report.html"  # the page of the run: scores, mistakes, curves, how to reproduce it

# What `tlcli tune` leaves: a folder beside the runs, whose parts are runs.
STUDY = "study.json"  # what is searched and how; its presence makes a folder a study
STUDY_JOURNAL = "study.journal"  # Optuna's: every trial with its settings and values
STUDY_INPUTS = "inputs"  # recipe and photos as a run records them
STUDY_CLAIMS = "claims"  # locks of the trials that processes are training
TRIAL = "trial"  # the key of what the record of a trial has beside that of a run
TRIALS = "trials"  # a folder for each trial, 0000, 0001, ...
SEEDS = "seeds"  # repetitions of default and winner under other seeds
DEFAULT_RUN, WINNER_RUN = "default", "winner"  # complete runs, the only ones that are tested
TUNING = "tuning.json"  # the outcome
WINNER_RECIPE = "winner.yaml"
SEARCH_CHARTS = ("history", "importance", "parallel")  # pictures, as PNG and SVG


def evaluation(split: str) -> str:
    """The file with the results of `tlcli evaluate` on a split."""
    return f"evaluation-{split}.json"


def predictions(split: str) -> str:
    """The file with the probabilities and the logits of a split's photos."""
    return f"predictions-{split}.csv"


def reliability(split: str, form: str = "png") -> str:
    """The reliability diagram of a split, `png` or `svg`."""
    return f"reliability-{split}.{form}"


def confusion(split: str, form: str = "png") -> str:
    """The confusion matrix of a split as a picture, `png` or `svg`."""
    return f"confusion-{split}.{form}"


def evaluation_files(split: str) -> tuple[str, ...]:
    """The files of one evaluation: its numbers, its table and its pictures."""
    return (evaluation(split), predictions(split), reliability(split), confusion(split))


_SPLITS, _FORMS = ("train", "val", "test"), ("png", "svg")

#: All that follows from a model, and is out of date with another one in its place.
DERIVED = (
    INSTANT,
    *CURVES,
    UNKNOWN,
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

    def read(self, name: str, limit: int = RECORD_BYTES) -> Any:
        """The contents of a JSON file of the run; a `RunError` where it is missing or damaged.

        So it is where it has more bytes than `limit`.
        """
        path = self.file(name)
        try:
            return read_json(path, limit)
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
        """Whether it is finished and cleaned up."""
        return self.finished and not self.file(CHECKPOINTS).exists()

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is a checkpoint from which it can be resumed."""
        return any(self.file(CHECKPOINTS).glob("*.npz"))


def mark_latest(run: Run) -> None:
    """Point `latest` under `runs_root()` at a run, wherever that is.

    A link, or a file with the path where links fail; a file or folder of somebody else's is left.
    """
    files.make_folder(runs_root())
    pointer = runs_root() / LATEST
    target = os.path.relpath(run.path.resolve(), runs_root().resolve())
    replaceable = pointer.is_symlink() or _pointed_at(pointer) is not None
    if pointer.exists() and not replaceable:
        return
    temporary = pointer.with_name(f".{LATEST}-{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(pointer)
    except OSError:
        files.write_text(pointer, target + "\n")


def _pointed_at(pointer: Path) -> Path | None:
    """The run that a text file `latest` names, if it is one."""
    try:
        path = pointer.parent / read_bytes(pointer, RECORD_BYTES).decode().strip()
    except (OSError, ValueError):
        return None
    return path if is_run(path) else None


def find_model(which: str | None, *, named: bool = True) -> Path:
    """The model a user means: a `.keras` file, or that of the run from `find_run`."""
    if which is not None and Path(which).is_file():
        return Path(which)
    return find_run(which, named=named).file(MODEL)


def find_run(which: str | None, *, where: str = "--run", named: bool = True) -> Run:
    """The finished run a user means: a directory, a name under `runs_root()`, or the latest.

    Where it is the latest, and `named`, a note says which that is. Raises a `RunError` at `where`
    if there is none.
    """
    folder = runs_root()
    if which is None:
        run = _finished(_latest(folder), where)
        if named:
            console.note(console.one_line(f"the latest run: {run.name}"))
        return run
    place = f"{where} {which}"
    return _finished(run_named(which, where=place), place)


def is_run(path: Path) -> bool:
    """Whether there is a run in a directory, finished or not."""
    return (path / RECORD).is_file()


def names_run(which: str) -> bool:
    """Whether a word is the directory of a run, or the name of one under `runs_root()`."""
    return any(map(is_run, places_of(which)))


def run_named(which: str, *, where: str) -> Run:
    """The run, finished or not, that a directory or a name under `runs_root()` means.

    Raises a `RunError` at `where` if there is none.
    """
    for path in places_of(which):
        if is_run(path):
            return Run(path)
    names = [run.name for run in list_runs(runs_root())]
    hint = suggestion(which, names) if names else "train one with `tlcli finetune`"
    raise RunError(Problem(where, "no such run", hint))


def places_of(which: str) -> tuple[Path, Path]:
    """Where a run may be that a directory or a name under `runs_root()` means."""
    return Path(which), runs_root() / which


def latest_path(folder: Path) -> Path | None:
    """The run that `latest` in a folder leads to, resolved; None where it leads to none."""
    pointer = folder / LATEST
    path = _pointed_at(pointer) if pointer.is_file() else pointer
    return path.resolve() if path is not None and is_run(path) else None


def _latest(folder: Path) -> Run:
    path = latest_path(folder)
    if path is None:
        hint = "train one with `tlcli finetune`, or name one with --run"
        raise RunError(Problem(str(folder), "no run here yet", hint))
    return Run(path)


def _finished(run: Run, where: str) -> Run:
    if not run.finished:
        hint = "start `tlcli finetune` again, or name another run"
        if TRIAL in run.record():
            message = "is a trial of a search, which kept no model"
            hint = f"`tlcli reproduce {run.path}` trains it as a complete run"
            raise RunError(Problem(where, message, hint))
        raise RunError(Problem(where, f"the run {run.path} did not finish", hint))
    return run


def list_runs(folder: Path) -> list[Run]:
    """Every run in `folder`, oldest first by the time in its record.

    Times of files would not do: copying a run, resuming it or changing its permissions moves them.
    """
    if not folder.is_dir():
        return []
    runs = []
    for path in folder.iterdir():
        if not path.is_symlink() and path.name[0] != ".":
            with suppress(FileNotFoundError, NotADirectoryError):  # others come and go
                runs.append((_age(path), Run(path)))
    return [run for _, run in sorted(runs, key=lambda pair: pair[0])]


def _age(path: Path) -> tuple[float, str, int]:
    """What runs are ordered by: when they were begun, and in the same second the number.

    A record that cannot be read does not tell, so the time at which it was written stands in.
    """
    record = path / RECORD
    seconds = record.stat().st_mtime
    with suppress(OSError, ValueError, KeyError, TypeError):
        created = datetime.fromisoformat(read_json(record)["created"])
        seconds = (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()
    stem, _, number = path.name.rpartition("-")
    return (seconds, stem, int(number)) if number.isdecimal() else (seconds, path.name, 0)
