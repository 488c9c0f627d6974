"""`tlcli compare`: two runs on the same photos, and whether they differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RequirementError, RunError
from tlcli.evaluation import class_changes, labelled_photos
from tlcli.evaluation.class_changes import ClassChanges
from tlcli.evaluation.intervals import (
    CONFIDENCE_LEVEL,
    Interval,
    McNemarTest,
    PairedCounts,
    wilson_interval,
)
from tlcli.evaluation.predictions import RunProbabilities
from tlcli.networks.probabilities import likeliest_class
from tlcli.networks.temperature import log_loss
from tlcli.runs.directory import Run
from tlcli.runs.run_settings import SettingDifference, compare_settings, known_settings
from tlcli.system import console
from tlcli.system.console import counted

Array = npt.NDArray[Any]

#: Class and logits of photos by the SHA-256 of their bytes; of copies one entry each, in the
#: order of their classes.
PhotoTable = dict[str, list[tuple[str, Array]]]


@dataclass(frozen=True)
class RunScores:
    """One of the two runs: its name, its folder, and its scores on the shared photos.

    `log_loss` is that of probabilities under `temperature`; None: of the network's own.
    """

    run: str
    path: str
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    temperature: float | None
    log_loss: float


@dataclass(frozen=True)
class RunComparison:
    """Two runs on the photos that both have in a split.

    Attributes:
        n: the shared photos. Copies, which have the same bytes, count each, as in training and
            evaluation; of a photo that one run has more often, the surplus is left out.
        copies: how many of the shared photos are copies of another one.
        left_out: photos of the split that only one run has, for each run.
        level: the confidence level of the intervals.
        pairs: the shared photos by which of the runs is right.
        difference: accuracy of the second run less that of the first.
        more_than_chance: whether the test rejects that both are right equally often.
        settings: all that differ between the recipes of the runs.
        classes: old classes and new, where the second run knows more classes than the first, or
            started from it.
    """

    split: str
    n: int
    copies: int
    left_out: tuple[int, int]
    level: float
    runs: tuple[RunScores, RunScores]
    pairs: PairedCounts
    difference: float
    difference_interval: Interval
    test: McNemarTest
    more_than_chance: bool
    verdict: str
    settings: tuple[SettingDifference, ...] = ()
    classes: ClassChanges | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `--json`."""
        return asdict(self)


def compare(first: Run, second: Run, split: str = "test", *, raw: bool = False) -> RunComparison:
    """Both runs on the photos that both have in `split`, identified by their bytes.

    The log loss is that of the probabilities of each run, calibrated unless `raw`.

    Photos that one of the runs was trained on are in the training split of that run, and so never
    among them. The second run may know more classes than the first. Raises a `TlcliError` where it
    knows fewer, and where they have no photo in common.
    """
    sources = (RunProbabilities(first, raw=raw), RunProbabilities(second, raw=raw))
    _check_classes(*sources)
    for source in sources:
        source.calibration.without_threshold().note()
    tables = (_by_digest(sources[0], split), _by_digest(sources[1], split))
    shared = _shared_photos(*tables, f"{first.path} and {second.path}", split)
    names = [name for (name, _), _ in shared]
    values = [np.array([photo[which][1] for photo in shared]) for which in (0, 1)]
    labels = [np.array([*map(source.classes.index, names)]) for source in sources]
    pairs = count_pairs(
        *(likeliest_class(rows) == own for rows, own in zip(values, labels, strict=True))
    )
    test = pairs.mcnemar_test()
    first_scores, second_scores = (
        _scores(_shown_name(*runs), source, logits, own)
        for runs, source, logits, own in zip(
            ((first, second), (second, first)), sources, values, labels, strict=True
        )
    )
    return RunComparison(
        split=split,
        n=pairs.n,
        copies=pairs.n - len(tables[0].keys() & tables[1].keys()),
        left_out=(_count(tables[0]) - len(shared), _count(tables[1]) - len(shared)),
        level=CONFIDENCE_LEVEL,
        runs=(first_scores, second_scores),
        pairs=pairs,
        difference=pairs.difference,
        difference_interval=pairs.difference_interval(CONFIDENCE_LEVEL),
        test=test,
        more_than_chance=test.p < 1 - CONFIDENCE_LEVEL,
        verdict=_verdict(first_scores.run, second_scores.run, pairs, test.p),
        settings=compare_settings(known_settings(first), known_settings(second)),
        classes=_class_changes(sources, tables[1], names, values),
    )


def _class_changes(
    sources: tuple[RunProbabilities, RunProbabilities],
    photos: PhotoTable,
    names: Sequence[str],
    values: Sequence[Array],
) -> ClassChanges | None:
    """Old classes and new; `photos` are all of the second run, the others those of both runs."""
    first, second = sources
    started = class_changes.started_from(second.run, first.run)
    if not started and set(first.classes) == set(second.classes):
        return None

    def guess(source: RunProbabilities, rows: Array) -> list[str]:
        return [source.classes[best] for best in likeliest_class(rows)]

    guesses = guess(first, values[0]), guess(second, values[1])
    level, old = class_changes.compare_classes(names, guesses, first.classes)
    every = [entry for copies in photos.values() for entry in copies]
    guessed = guess(second, np.array([logits for _, logits in every]))
    labels = [name for name, _ in every]
    new = class_changes.score_new_classes(labels, guessed, first.classes, second.classes)
    return ClassChanges(started, level, old, new)


#: What a script may ask of the second of two runs.
REQUIREMENTS = ("better", "not-worse")


@dataclass(frozen=True)
class ComparisonRequirement:
    """What is asked of the second run, and whether it holds; `required` is of `REQUIREMENTS`."""

    required: str
    met: bool


def check_requirement(comparison: RunComparison, required: str) -> ComparisonRequirement:
    """Hold the second run against the first.

    better: its accuracy is higher by more than chance. not-worse: it is not lower by more than
    chance, which few photos can hardly ever show.
    """
    differs, difference = comparison.more_than_chance, comparison.difference
    met = differs and difference > 0 if required == "better" else not (differs and difference < 0)
    return ComparisonRequirement(required, met)


def raise_if_missed(comparison: RunComparison, requirement: ComparisonRequirement) -> None:
    """Raise `RequirementError` with the numbers where the requirement is missed."""
    if requirement.met:
        return
    first, second = (scores.run for scores in comparison.runs)
    better = requirement.required == "better"
    claim = f"{second} is {'not better' if better else 'worse'} than {first} by more than chance"
    low, high = comparison.difference_interval
    numbers = (
        f"difference {comparison.difference:+.4f}, {comparison.level:.0%} interval "
        f"{low:+.4f} to {high:+.4f}, p = {comparison.test.p:.4g}"
    )
    where = f"--require {requirement.required}"
    raise RequirementError(Problem(where, console.one_line(f"missed: {claim} ({numbers})")))


def raise_if_lost(comparison: RunComparison) -> None:
    """Raise `RequirementError` where a run is worse on the classes of the one it started from.

    A class counts, and all of them together do, whose interval lies below zero.
    """
    changes = comparison.classes
    if changes is not None and changes.started:
        first, second = (scores.run for scores in comparison.runs)
        together = comparison.difference, comparison.difference_interval
        class_changes.raise_if_lost(changes, (first, second), together)


def _check_classes(first: RunProbabilities, second: RunProbabilities) -> None:
    if odd := sorted(set(first.classes) - set(second.classes)):
        named = f"{', '.join(odd[:6])}{', ...' if len(odd) > 6 else ''}"
        message = f"does not know all classes of {first.run.path}: {named}"
        fewer = set(second.classes) < set(first.classes)
        hint = "name the run with fewer classes first" if fewer else "compare runs of the same task"
        raise RunError(Problem(str(second.run.path), message, hint))


def _by_digest(source: RunProbabilities, split: str) -> PhotoTable:
    """Class and logits of each photo of a split."""
    predicted = source.split_logits(split)
    table: PhotoTable = {}
    for row, label, values in zip(
        labelled_photos.read_recorded_split(source.run, split),
        predicted.labels,
        predicted.logits,
        strict=True,
    ):
        table.setdefault(row.sha256, []).append((source.classes[label], values))
    return {digest: sorted(copies, key=lambda copy: copy[0]) for digest, copies in table.items()}


def _count(table: PhotoTable) -> int:
    return sum(map(len, table.values()))


def _shared_photos(
    first: PhotoTable, second: PhotoTable, where: str, split: str
) -> list[tuple[tuple[str, Array], tuple[str, Array]]]:
    """The photos of both tables, each with what either says of it.

    Raises `RunError` where there are none or their labels differ.
    """
    shared = [
        pair
        for digest, copies in first.items()
        for pair in zip(copies, second.get(digest, ()), strict=False)
    ]
    differing = sum(left[0] != right[0] for left, right in shared)
    if differing:
        message = f"label {counted(differing, 'shared photo')} differently"
        raise RunError(Problem(where, message, "compare runs with the same labels"))
    if not shared:
        message = f"their {split} splits have no photo in common"
        hint = "compare runs on the same photos, or evaluate both on others with --dir"
        raise RunError(Problem(where, message, hint))
    return shared


def count_pairs(first: Array, second: Array) -> PairedCounts:
    """Counts of photos from whether each run is right, booleans of shape (n,)."""
    cells = ((first & second), (first & ~second), (~first & second), (~first & ~second))
    return PairedCounts(*(int(cell.sum()) for cell in cells))


def _scores(name: str, source: RunProbabilities, logits: Array, labels: Array) -> RunScores:
    temperature = source.calibration.temperature
    right = likeliest_class(logits) == labels
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    return RunScores(
        run=name,
        path=str(source.run.path),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(labels), CONFIDENCE_LEVEL),
        balanced_accuracy=float(np.mean(recalls)),
        temperature=temperature,
        log_loss=log_loss(logits, labels, temperature or 1),
    )


def _shown_name(run: Run, other: Run) -> str:
    """The run's name, or its path where the other has the same name."""
    name = run.path.resolve().name
    return str(run.path) if name == other.path.resolve().name else name


def _verdict(first: str, second: str, pairs: PairedCounts, p: float) -> str:
    if p >= 1 - CONFIDENCE_LEVEL:
        photos = counted(pairs.first_only + pairs.second_only, "photo")
        return f"the difference may be chance: the runs differ on {photos}"
    better, worse = (second, first) if pairs.difference > 0 else (first, second)
    return f"{better} is better than {worse}, by more than chance"
