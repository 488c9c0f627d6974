"""`tlcli compare`: two runs on the same photos, and whether they differ by more than chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.evaluation import calibration, intervals, labelled_photos
from tlcli.evaluation.intervals import CONFIDENCE_LEVEL, PairedCounts
from tlcli.evaluation.predictions import RunProbabilities
from tlcli.networks.probabilities import likeliest_class
from tlcli.runs.directory import Run
from tlcli.system.console import counted

Array = npt.NDArray[Any]


def compare(first: Run, second: Run, split: str = "test") -> dict[str, Any]:
    """Both runs on the photos that both have in `split`, told apart by their bytes.

    Photos that one of the runs was trained on are in the training split of that run, and so never
    among them. Raises a `TlcliError` where the runs have other classes or no photo in common.
    """
    sources = (RunProbabilities(first), RunProbabilities(second))
    _check_classes(*sources)
    tables = [_by_digest(source, split) for source in sources]
    shared = [digest for digest in tables[0] if digest in tables[1]]
    disagreed = [digest for digest in shared if tables[0][digest][0] != tables[1][digest][0]]
    if disagreed:
        message = f"label {counted(len(disagreed), 'shared photo')} differently"
        hint = "compare runs with the same labels"
        raise RunError(Problem(f"{first.path} and {second.path}", message, hint))
    if not shared:
        message = f"their {split} splits have no photo in common"
        hint = "compare runs on the same photos, or evaluate both on others with --data"
        raise RunError(Problem(f"{first.path} and {second.path}", message, hint))
    labels = np.array([tables[0][digest][0] for digest in shared])
    values = [np.array([table[digest][1] for digest in shared]) for table in tables]
    right = [likeliest_class(one) == labels for one in values]
    pairs = _paired(*right)
    test, interval = pairs.test(), pairs.interval(CONFIDENCE_LEVEL)
    names = [_shown(source, sources) for source in sources]
    return {
        "split": split,
        "n": pairs.n,
        "left_out": [len(table) - len(shared) for table in tables],
        "level": CONFIDENCE_LEVEL,
        "runs": [
            {"run": name, "path": str(source.run.path), **_scores(one, labels)}
            for name, source, one in zip(names, sources, values, strict=True)
        ],
        "pairs": {
            "both": pairs.both,
            "first_only": pairs.first_only,
            "second_only": pairs.second_only,
            "neither": pairs.neither,
        },
        "difference": pairs.difference,
        "difference_interval": list(interval),
        "test": test.as_dict(),
        "more_than_chance": test.p < 1 - CONFIDENCE_LEVEL,
        "verdict": _verdict(names, pairs, test.p),
    }


def _check_classes(first: RunProbabilities, second: RunProbabilities) -> None:
    if set(first.classes) != set(second.classes):
        odd = sorted(set(first.classes) ^ set(second.classes))
        message = f"have different classes: {', '.join(odd[:6])}{', ...' if len(odd) > 6 else ''}"
        where = f"{first.run.path} and {second.run.path}"
        raise RunError(Problem(where, message, "compare runs of the same task"))


def _by_digest(source: RunProbabilities, split: str) -> dict[str, tuple[int, Array]]:
    """Label and probabilities of each photo of a split, classes in sorted order."""
    order = np.argsort(source.classes)
    rank = np.argsort(order)
    found = source.split(split)
    return {
        row.sha256: (int(rank[label]), values[order])
        for row, label, values in zip(
            labelled_photos.read_recorded_split(source.run, split),
            found.labels,
            found.probabilities,
            strict=True,
        )
    }


def _paired(first: Array, second: Array) -> PairedCounts:
    cells = ((first & second), (first & ~second), (~first & second), (~first & ~second))
    return PairedCounts(*(int(cell.sum()) for cell in cells))


def _scores(values: Array, labels: Array) -> dict[str, Any]:
    right = likeliest_class(values) == labels
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": list(
            intervals.wilson_interval(int(right.sum()), len(labels), CONFIDENCE_LEVEL)
        ),
        "balanced_accuracy": float(np.mean(recalls)),
        "log_loss": calibration.log_loss(values, labels),
    }


def _shown(source: RunProbabilities, sources: tuple[RunProbabilities, RunProbabilities]) -> str:
    """The run's name, or its path where both have the same name."""
    name = source.run.path.resolve().name
    same = len({other.run.path.resolve().name for other in sources}) == 1
    return str(source.run.path) if same else name


def _verdict(names: list[str], pairs: PairedCounts, p: float) -> str:
    if p >= 1 - CONFIDENCE_LEVEL:
        photos = counted(pairs.first_only + pairs.second_only, "photo")
        return f"the difference may be chance: the runs differ on {photos}"
    better, worse = names[::-1] if pairs.difference > 0 else names
    return f"{better} is better than {worse}, by more than chance"
