"""What follows from the folds of a k-fold evaluation: the figures, and the text of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.evaluation.intervals import CONFIDENCE_LEVEL, resampled_interval, wilson_interval
from tlcli.runs.fold_record import FoldRecord, FoldResult
from tlcli.system import console

#: Mistakes that are listed.
MOST_MISTAKES = 10


@dataclass(frozen=True)
class ClassRecall:
    """A class: its photos, its mean recall over folds and seeds, and the least of all folds."""

    name: str
    photos: int
    recall: float
    least: float


@dataclass(frozen=True)
class HardPhoto:
    """A photo that was judged wrongly: by how many of the seeds, and as which class most often."""

    path: str
    label: str
    predicted: str
    seeds: int


@dataclass(frozen=True)
class FoldSummary:
    """The figures of a k-fold evaluation.

    Attributes:
        accuracy: the mean over folds and seeds.
        interval: of the accuracy on other photos; see `summarise_folds`.
        between_folds: the standard deviation of the accuracy over the folds of a division.
        between_seeds: that of the seeds' means; None with a single seed.
        least, most: accuracies of a fold.
        balanced_accuracy: the mean recall of the classes.
        majority: the accuracy of always answering the most frequent class, which is named.
    """

    accuracy: float
    interval: tuple[float, float]
    between_folds: float
    between_seeds: float | None
    least: float
    most: float
    balanced_accuracy: float
    log_loss: float
    majority: tuple[str, float]
    recalls: tuple[ClassRecall, ...]
    hard: tuple[HardPhoto, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        name, accuracy = self.majority
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "level": CONFIDENCE_LEVEL,
            "between_folds": self.between_folds,
            "between_seeds": self.between_seeds,
            "least": self.least,
            "most": self.most,
            "balanced_accuracy": self.balanced_accuracy,
            "log_loss": self.log_loss,
            "majority": {"class": name, "accuracy": accuracy},
            "per_class": [
                {"class": r.name, "photos": r.photos, "recall": r.recall, "least": r.least}
                for r in self.recalls
            ],
            "mistakes": [
                {"path": h.path, "label": h.label, "predicted": h.predicted, "seeds": h.seeds}
                for h in self.hard
            ],
        }


def summarise_folds(record: FoldRecord) -> FoldSummary:
    """The figures of a record with at least two folds.

    The interval is the wider of two: that of scores from divisions of the same photos, which
    covers the chance of training and of the division (`resampled_interval`), and the one of so many
    right answers among as many photos, which is wide where few photos happen to be all right.
    """
    results = record.results
    scores = [result.accuracy for result in results]
    accuracy = statistics.mean(scores)
    resampled = resampled_interval(scores, 1 / record.settings.folds)
    counted = wilson_interval(round(accuracy * record.photos), record.photos)
    by_seed = _by_seed(results)
    means = [statistics.mean(r.accuracy for r in of_seed) for of_seed in by_seed]
    spreads = [statistics.variance(r.accuracy for r in s) for s in by_seed if len(s) > 1]
    photos = [sum(of_class) for of_class in zip(*(r.judged for r in by_seed[0]), strict=True)]
    recalls = tuple(_recalls(record, photos))
    largest = max(range(len(photos)), key=photos.__getitem__)
    return FoldSummary(
        accuracy=accuracy,
        interval=(
            max(0.0, min(resampled[0], counted[0])),
            min(1.0, max(resampled[1], counted[1])),
        ),
        between_folds=math.sqrt(statistics.mean(spreads)),
        between_seeds=statistics.stdev(means) if len(means) > 1 else None,
        least=min(scores),
        most=max(scores),
        balanced_accuracy=statistics.mean(each.recall for each in recalls),
        log_loss=statistics.mean(result.log_loss for result in results),
        majority=(record.classes[largest], photos[largest] / sum(photos)),
        recalls=recalls,
        hard=_hard(results),
    )


def _by_seed(results: Sequence[FoldResult]) -> list[list[FoldResult]]:
    seeds = dict.fromkeys(result.seed for result in results)
    return [[result for result in results if result.seed == seed] for seed in seeds]


def _recalls(record: FoldRecord, photos: Sequence[int]) -> list[ClassRecall]:
    """Of each class; every photo counts the same, whatever fold it was in."""
    recalls = []
    for number, name in enumerate(record.classes):
        pairs = [(r.right[number], r.judged[number]) for r in record.results if r.judged[number]]
        right, judged = (sum(values) for values in zip(*pairs, strict=True))
        least = min(hits / n for hits, n in pairs)
        recalls.append(ClassRecall(name, photos[number], right / judged, least))
    return recalls


def _hard(results: Sequence[FoldResult]) -> tuple[HardPhoto, ...]:
    """The photos that were judged wrongly, those of the most seeds first."""
    answers: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for guess in result.mistakes:
            answers.setdefault((guess.path, guess.label), []).append(guess.predicted)
    photos = [
        HardPhoto(path, label, statistics.mode(given), len(given))
        for (path, label), given in answers.items()
    ]
    return tuple(sorted(photos, key=lambda photo: (-photo.seeds, photo.path)))


def fold_result(record: FoldRecord, where: object) -> tuple[str, dict[str, Any]]:
    """What `tlcli evaluate --folds` prints, as text and for JSON; `where` is its file."""
    summary = summarise_folds(record)
    results = [result.model_dump(exclude={"mistakes"}) for result in record.results]
    settings = record.settings
    head = {
        "photos": record.photos, "folds": settings.folds, "stages": list(settings.stages),
        "seeds": sorted({result.seed for result in record.results}),
    }  # fmt: skip
    value = {**head, **summary.as_dict(), "results": results, "images": record.images}
    return _text(record, summary), {**value, "file": str(where)}


def _text(record: FoldRecord, summary: FoldSummary) -> str:
    by_seed = _by_seed(record.results)
    parts = [
        f"{record.name}: {record.photos:,} training and validation photos of "
        f"{console.counted(len(record.classes), 'class')}, {record.settings.folds} folds, "
        f"{console.counted(len(by_seed), 'seed')}; trained: {', '.join(record.settings.stages)}",
        _figures(summary),
        _table(record, by_seed),
        console.table(
            ["class", "photos", "recall", "least in a fold"],
            [[r.name, r.photos, f"{r.recall:.4f}", f"{r.least:.4f}"] for r in summary.recalls],
        ),
    ]
    if summary.hard:
        parts.append(_mistakes(summary, len(by_seed)))
    return "\n\n".join(parts)


def _figures(summary: FoldSummary) -> str:
    low, high = summary.interval
    name, majority = summary.majority
    rows = [
        ("accuracy", f"{summary.accuracy:.4f}",
         f"{CONFIDENCE_LEVEL:.0%} interval {low:.4f} to {high:.4f}"),
        ("spread over folds", f"{summary.between_folds:.4f}",
         f"standard deviation; {summary.least:.4f} to {summary.most:.4f}"),
    ]  # fmt: skip
    if summary.between_seeds is not None:
        about = "standard deviation of the means: division and training"
        rows.append(("spread over seeds", f"{summary.between_seeds:.4f}", about))
    rows += [
        ("majority baseline", f"{majority:.4f}", f"always '{name}'"),
        ("balanced accuracy", f"{summary.balanced_accuracy:.4f}", "mean recall of the classes"),
        ("log loss", f"{summary.log_loss:.4f}", "mean over the folds"),
    ]
    return console.table(("", "value", ""), rows)


def _table(record: FoldRecord, by_seed: Sequence[Sequence[FoldResult]]) -> str:
    numbers = range(1, record.settings.folds + 1)
    rows = []
    for results in by_seed:
        scores = [result.accuracy for result in results]
        cells = [f"{score:.4f}" for score in (*scores, statistics.mean(scores))]
        rows.append([results[0].seed, *cells])
    return console.table(["seed", *(f"fold {number}" for number in numbers), "mean"], rows)


def _mistakes(summary: FoldSummary, seeds: int) -> str:
    shown = summary.hard[:MOST_MISTAKES]
    rows = [[h.path, h.label, h.predicted, f"{h.seeds} of {seeds}"] for h in shown]
    text = console.table(["wrong", "label", "predicted", "seeds"], rows)
    more = len(summary.hard) - len(shown)
    return f"{text}\nand {more:,} more; --json has all" if more else text
