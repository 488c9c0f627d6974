"""What became of the classes of a run in another one that knows more: old classes and new apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RequirementError, RunError
from tlcli.evaluation.intervals import (
    CONFIDENCE_LEVEL,
    Interval,
    PairedCounts,
    wilson_interval,
)
from tlcli.runs import parent_record
from tlcli.runs.directory import Run
from tlcli.system.console import one_line

Array = npt.NDArray[Any]

#: The option with which `compare` accepts losses.
ALLOW = "--allow-loss"


@dataclass(frozen=True)
class OldClass:
    """A class that both runs know, on the photos that both have.

    Attributes:
        n: its photos.
        recalls: of the first run and of the second.
        difference: of the recalls.
        interval: of the difference, of the level of `ClassChanges`.
        called_new: how many of the photos the second run takes for a class that the first has not.
    """

    name: str
    n: int
    recalls: tuple[float, float]
    difference: float
    interval: Interval
    called_new: int

    @property
    def lost(self) -> bool:
        """Whether the second run is worse on it by more than chance."""
        return self.interval[1] < 0


@dataclass(frozen=True)
class NewClass:
    """A class that only the second run knows, on its own photos."""

    name: str
    n: int
    recall: float | None
    interval: Interval


@dataclass(frozen=True)
class ClassChanges:
    """Old classes and new.

    Attributes:
        started: whether training of the second run started from the first.
        level: of the interval of each old class, so that with a probability of
            `CONFIDENCE_LEVEL` all of them hold at once (Bonferroni).
    """

    started: bool
    level: float
    old: tuple[OldClass, ...]
    new: tuple[NewClass, ...]


def compare_classes(
    labels: Sequence[str], guesses: tuple[Sequence[str], Sequence[str]], known: Sequence[str]
) -> tuple[float, tuple[OldClass, ...]]:
    """The old classes one by one, and the level of their intervals.

    Args:
        labels: of the photos that both runs have, by name.
        guesses: the likeliest class of each photo, by the first run and by the second.
        known: the classes of the first run.
    """
    names, first, second = (np.asarray(each) for each in (labels, *guesses))
    present = [name for name in known if (names == name).any()]
    level = 1 - (1 - CONFIDENCE_LEVEL) / max(len(present), 1)
    old = []
    for name in present:
        of_class = names == name
        first_right, second_right = first[of_class] == name, second[of_class] == name
        cells = (
            (first_right & second_right),
            (first_right & ~second_right),
            (~first_right & second_right),
            (~first_right & ~second_right),
        )
        pairs = PairedCounts(*(int(cell.sum()) for cell in cells))
        recalls = (float(first_right.mean()), float(second_right.mean()))
        called_new = int((~np.isin(second[of_class], known)).sum())
        interval = pairs.difference_interval(level)
        old.append(OldClass(name, pairs.n, recalls, pairs.difference, interval, called_new))
    return level, tuple(old)


def score_new_classes(
    labels: Sequence[str], guesses: Sequence[str], known: Sequence[str], classes: Sequence[str]
) -> tuple[NewClass, ...]:
    """The recall of the classes that are not among `known`, from all photos of the second run."""
    names, guessed = np.asarray(labels), np.asarray(guesses)
    new = []
    for name in (name for name in classes if name not in known):
        of_class = names == name
        n, right = int(of_class.sum()), int((guessed[of_class] == name).sum())
        new.append(NewClass(name, n, right / n if n else None, wilson_interval(right, n)))
    return tuple(new)


def started_from(run: Run, earlier: Run) -> bool:
    """Whether a run started from an earlier one, or from one that did, as far as they are there."""
    seen = set[str]()
    try:
        while (parent := parent_record.read_parent(run)) and parent.model not in seen:
            if parent.model == parent_record.model_fingerprint(earlier):
                return True
            seen.add(parent.model)
            run = Run(Path(parent.path))
    except RunError:  # one in between was removed
        return False
    return False


def raise_if_lost(
    changes: ClassChanges, runs: tuple[str, str], together: tuple[float, Interval]
) -> None:
    """Raise `RequirementError` with the old classes that are worse by more than chance.

    `together` is the difference over all of them, and its interval.
    """
    first, second = map(one_line, runs)
    hint = f"train longer (--set stages.N.epochs=...), or accept it with {ALLOW}"
    problems = [
        Problem(
            one_line(f"{second}: class '{old.name}'"),
            f"recall {old.recalls[1]:.4f}, {first} has {old.recalls[0]:.4f}: more than chance "
            f"({changes.level:.2%} interval {old.interval[0]:+.4f} to {old.interval[1]:+.4f})",
            hint,
        )
        for old in changes.old
        if old.lost
    ]
    difference, (low, high) = together
    if high < 0:
        what = f"the old classes together lose {-difference:.4f}: more than chance "
        what += f"({CONFIDENCE_LEVEL:.0%} interval {low:+.4f} to {high:+.4f})"
        problems.append(Problem(second, what, hint))
    if problems:
        raise RequirementError(problems)
