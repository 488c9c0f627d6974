"""`tlcli runs diff`: two runs side by side, from their recipes to their outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from tlcli.errors import RunError
from tlcli.report.run_table import interval_of_test, score_text
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.runs.overview import RunEntry, read_entry
from tlcli.runs.run_settings import SettingDifference, compare_settings, differences_table
from tlcli.system import console


@dataclass(frozen=True)
class PhotoDifference:
    """How the photos of two runs differ: by their bytes, labels and splits.

    Attributes:
        both: photos that both have, with the same label and split.
        moved: those that both have, in another class or split.
        first_only, second_only: the others.
    """

    both: int
    moved: int
    first_only: int
    second_only: int

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not (self.moved or self.first_only or self.second_only)


@dataclass(frozen=True)
class RunDifference:
    """Two runs side by side.

    Attributes:
        settings: all that differ, in the order of the recipe.
        photos: None where the photos of a run are not recorded.
        versions: of programs and libraries that differ.
        results: scores, times and sizes, the same or not.
    """

    runs: tuple[RunEntry, RunEntry]
    settings: tuple[SettingDifference, ...]
    photos: PhotoDifference | None
    versions: tuple[SettingDifference, ...]
    results: tuple[SettingDifference, ...]

    @property
    def names(self) -> tuple[str, str]:
        """Of the runs; with their folders where these alone differ."""
        names = tuple(entry.run.path.resolve().name for entry in self.runs)
        if names[0] == names[1]:
            names = tuple(str(entry.run.path) for entry in self.runs)
        return names[0], names[1]

    def text(self) -> str:
        """As people read it."""
        parts = [self._table("setting", self.settings) or "the same settings", self._photos_text()]
        if self.versions:
            parts.append(self._table("version", self.versions))
        parts.append(self._table("result", self.results))
        return "\n\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "runs": [str(entry.run.path) for entry in self.runs],
            "settings": [asdict(each) for each in self.settings],
            "photos": None if self.photos is None else asdict(self.photos),
            "versions": [asdict(each) for each in self.versions],
            "results": [asdict(each) for each in self.results],
        }

    def _table(self, what: str, rows: tuple[SettingDifference, ...]) -> str:
        return differences_table(what, rows, self.names) if rows else ""

    def _photos_text(self) -> str:
        photos, (first, second) = self.photos, self.names
        if photos is None:
            return "photos: not recorded"
        if photos.same:
            return f"the same {console.counted(photos.both, 'photo')}, in the same splits"
        parts = (
            (photos.moved, "in another class or split"),
            (photos.first_only, f"only in {first}"),
            (photos.second_only, f"only in {second}"),
        )
        named = [f"{console.count(number)} {where}" for number, where in parts if number]
        return f"photos: {console.count(photos.both)} the same, {', '.join(named)}"


def compare_runs(first: Run, second: Run) -> RunDifference:
    """What two runs, finished or not, have in common and what not.

    What is damaged in one of them is a warning and counts as missing.
    """
    entries = (read_entry(first), read_entry(second))
    versions = [_versions(run) for run in (first, second)]
    return RunDifference(
        runs=entries,
        settings=compare_settings(entries[0].settings, entries[1].settings),
        photos=_compare_photos(first, second),
        versions=compare_settings(*versions),
        results=tuple(
            SettingDifference(key, *(values.get(key) for values in map(_results, entries)))
            for key in dict.fromkeys((*_results(entries[0]), *_results(entries[1])))
        ),
    )


def _versions(run: Run) -> dict[str, Any]:
    try:
        versions = run.record().get("versions")
    except RunError:  # the entry has warned of it
        return {}
    return versions if isinstance(versions, dict) else {}


def _compare_photos(first: Run, second: Run) -> PhotoDifference | None:
    try:
        tables = [
            Counter((row.sha256, row.label, row.split) for row in read_split(run))
            for run in (first, second)
        ]
    except RunError as error:
        console.warn(str(error))
        return None
    left, right = tables
    only = [Counter(key[0] for key in part.elements()) for part in (left - right, right - left)]
    moved = (only[0] & only[1]).total()
    return PhotoDifference(
        (left & right).total(), moved, only[0].total() - moved, only[1].total() - moved
    )


def _results(entry: RunEntry) -> dict[str, str]:
    """What a run came to, as text, by name."""
    results = {"state": entry.state}
    for number, stage in enumerate(entry.outcome.stages, 1):
        name = f"{stage.name or f'stage {number}'}: val accuracy"
        results[name] = score_text(stage.val_accuracy)
    if entry.test_accuracy is not None:
        results["test accuracy"] = score_text(entry.test_accuracy, interval_of_test(entry))
    if entry.seconds is not None:
        results["time"] = console.duration(entry.seconds)
    results["size"] = console.size(entry.bytes)
    if entry.note:
        results["note"] = entry.note
    return results
