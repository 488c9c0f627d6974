"""All runs of a folder, each with its settings, its scores and what it takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tlcli.errors import Problem, RunError
from tlcli.runs import directory
from tlcli.runs.notes import read_note
from tlcli.runs.records import BriefRecord, BriefSummary, validate_record
from tlcli.runs.run_settings import Settings, known_settings
from tlcli.runs.study_records import TrialRecord, is_study, read_trial_record
from tlcli.system import console, locks

Brief = TypeVar("Brief", BriefRecord, BriefSummary)


@dataclass(frozen=True)
class RunEntry:
    """A run as a list shows it.

    Attributes:
        run: its directory.
        state: `finished`, `unfinished`, `training`, or of a trial `complete`, `pruned`, `failed`.
        record, outcome: as much of its records as is shown; without values where they are damaged.
        settings: by key; {} where its recipe cannot be read.
        bytes: of all its files.
        note: what the user says of it, on one line.
        trial: what it has as a trial of a search.
        latest: whether commands take it where no run is named.
        best: whether its validation accuracy is the highest of all runs with the same photos.
    """

    run: directory.Run
    state: str
    record: BriefRecord
    outcome: BriefSummary
    settings: Settings
    bytes: int
    note: str = ""
    trial: TrialRecord | None = None
    latest: bool = False
    best: bool = False

    @property
    def val_accuracy(self) -> float | None:
        """On the validation photos, after the last stage."""
        return self.outcome.stages[-1].val_accuracy if self.outcome.stages else None

    @property
    def val_loss(self) -> float | None:
        """On the validation photos, after the last stage."""
        return self.outcome.stages[-1].val_loss if self.outcome.stages else None

    @property
    def test_accuracy(self) -> float | None:
        """On the test photos."""
        return self.outcome.test.accuracy if self.outcome.test else None

    @property
    def seconds(self) -> float | None:
        """Of all that it has done; None where that is not known."""
        return sum(self.outcome.seconds.values()) if self.outcome.seconds else None

    @property
    def marks(self) -> str:
        """`best`, `latest`, both or none."""
        return ", ".join(name for name in ("best", "latest") if getattr(self, name))


def read_entries(folder: Path | None = None) -> list[RunEntry]:
    """The runs of a folder, oldest first; of a study, its trials and its two complete runs.

    Without a folder, those of this one. Raises `RunError` where there is no such folder. What is
    damaged in a run is a warning: one bad run must not hide the others.
    """
    if folder is not None and not folder.is_dir():
        raise RunError(Problem(str(folder), "no such folder", "name one that has runs in it"))
    folder = folder or directory.runs_root()
    study = is_study(directory.Run(folder))
    trials = sorted(directory.list_runs(folder / directory.TRIALS), key=lambda run: run.name)
    runs = [*(trials if study else ()), *directory.list_runs(folder)]
    latest = directory.latest_path(folder)
    entries = [read_entry(run, latest) for run in runs if run.name != directory.STUDY_INPUTS]
    return _mark_best(entries)


def read_entry(run: directory.Run, latest: Path | None = None) -> RunEntry:
    """A run by itself; `latest` is where the pointer of that name leads."""
    record = _readable(run, directory.RECORD, BriefRecord())
    trial = None
    with suppress(RunError):  # the warning about its record says it already
        trial = read_trial_record(run)
    outcome = BriefSummary()
    if run.finished or (trial is not None and run.file(directory.SUMMARY).is_file()):
        outcome = _readable(run, directory.SUMMARY, outcome)
    return RunEntry(
        run=run,
        state=trial.state if trial else _state(run),
        record=record,
        outcome=outcome,
        settings=known_settings(run),
        bytes=folder_size(run.path),
        note=" ".join(read_note(run).split()),
        trial=trial,
        latest=latest is not None and run.path.resolve() == latest,
    )


def _state(run: directory.Run) -> str:
    if run.finished:
        return "finished"
    # Asking for a lock makes its file; where there is none, nobody holds it.
    held = run.file(locks.LOCK_FILE).exists() and locks.is_locked(run.path)
    return "training" if held else "unfinished"


def _readable(run: directory.Run, name: str, otherwise: Brief) -> Brief:
    """A file of a run; where it is damaged, a warning, and a value without what it tells."""
    try:
        return validate_record(run.file(name), run.read(name), type(otherwise))
    except RunError as error:
        console.warn(str(error))
        return otherwise


def _mark_best(entries: Iterable[RunEntry]) -> list[RunEntry]:
    """The entries, with the best of several on the same photos marked; of equal ones the first.

    It is chosen by the validation photos, so that the test photos stay a test.
    """
    entries = list(entries)
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        if entry.val_accuracy is not None and entry.record.dataset_fingerprint:
            alike[entry.record.dataset_fingerprint].append(position)

    def rank(position: int) -> tuple[float, float]:
        entry = entries[position]
        loss = entry.val_loss if entry.val_loss is not None else float("inf")
        return -(entry.val_accuracy or 0.0), loss

    for positions in alike.values():
        if len(positions) > 1:
            best = min(positions, key=rank)
            entries[best] = replace(entries[best], best=True)
    return entries


def folder_size(folder: Path) -> int:
    """The bytes of all files in a folder, links not followed."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # others come and go
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def entry_as_json(entry: RunEntry) -> dict[str, Any]:
    """What `tlcli runs --json` says of a run."""
    value = {
        "name": entry.run.name,
        "path": str(entry.run.path),
        "created": entry.record.created,
        "base": entry.record.base,
        "precision": entry.record.precision or entry.settings.get("precision"),
        "finished": entry.run.finished,
        "state": entry.state,
        "stages": len(entry.outcome.stages),
        "val_accuracy": entry.val_accuracy,
        "test_accuracy": entry.test_accuracy,
        "seconds": entry.seconds,
        "bytes": entry.bytes,
        "latest": entry.latest,
        "best": entry.best,
        "note": entry.note,
    }
    return value if entry.trial is None else {**value, "trial": entry.trial.model_dump()}
