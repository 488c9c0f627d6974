"""Which strategy of transfer learning fits: a rule on three measurements.

The usual advice is a table: how much data, and how similar to ImageNet. Here, whether the learning
curve still rises stands for the amount, and the distance between the best boundary and the top of
the base for the similarity. Where a lower boundary is better, what lies above it has to learn anew;
where the top is best, a short tuning stage says whether tuning pays.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.networks.bases import PretrainedBase
from tlcli.runs.advice_record import MeasuredShare, StrategyName, TuningTrial
from tlcli.runs.probe_record import SIGNIFICANCE, PairedDifference, ProbeRecord

#: A difference that matters, where it is not certain: one photo in a hundred.
MATTERS = 0.01

#: What tuning regains: a boundary that is worse than the best one by no more than this is as good a
#: place to cut. Whether such a difference is certain depends on the number of photos. Whether
#: tuning regains it does not, or more photos regain more.
REGAINED = 0.05

#: Training photos below which tuning is not tried. A third of them judge the trial. Where one photo
#: in five is judged otherwise after tuning, the difference of 60 photos has a standard error of six
#: points: several times what tuning the top gains where the photos are like those of ImageNet.
FEWEST_TRIED = 180


@dataclass(frozen=True)
class Strategy:
    """What to do, why, and what to expect.

    Attributes:
        freeze_until: the boundary of the tuning stage; None where the head alone is trained.
        augment: whether augmented views are to stand in for photos that are missing.
        foreign, few: the answers in the two directions of the table.
    """

    name: StrategyName
    freeze_until: str | None
    augment: bool
    foreign: bool
    few: bool
    reasons: tuple[str, ...]
    expected: MeasuredShare


def is_foreign(record: ProbeRecord) -> bool:
    """Whether a lower boundary is certainly better than the top of the base, and by enough."""
    return record.foreignness.certain and record.foreignness.value >= MATTERS


def has_few_photos(record: ProbeRecord) -> bool:
    """Whether the last doubling of the photos has still gained something, certain or by enough."""
    return _pays(record.slope)


def boundary_to_tune(row: PretrainedBase, record: ProbeRecord) -> str | None:
    """What a tuning stage is to be frozen until; None where nothing useful can be tuned.

    The default of the base. For photos unlike those of ImageNet it is the lowest boundary that is
    as good as the most accurate one, if that is lower: cannot be told apart from it, or lacks no
    more than tuning regains. The layers above lose some of what tells these photos apart.
    """
    if row.default_boundary is None:
        return None
    order = [boundary.name for boundary in row.boundaries]
    if is_foreign(record):
        return min(row.default_boundary, _lowest_as_good(record), key=order.index)
    return row.default_boundary


def _lowest_as_good(record: ProbeRecord) -> str:
    enough = record.most_accurate.accuracy - REGAINED
    return next(
        boundary.name
        for boundary in record.boundaries
        if boundary.p >= SIGNIFICANCE or boundary.accuracy >= enough
    )


def why_no_trial(row: PretrainedBase, record: ProbeRecord) -> str | None:
    """Why a tuning trial could not change the advice; None where it can."""
    boundary, top = boundary_to_tune(row, record), record.boundaries[-1]
    if boundary is None:
        return "this base has no boundary that tuning would help at"
    if is_foreign(record):
        return f"what is lost above {boundary} has to be learned anew"
    if top.accuracy > 1 - MATTERS:
        return f"with the head alone, less than one photo in {1 / MATTERS:.0f} is wrong"
    if record.photos < FEWEST_TRIED:
        return (
            f"{record.photos:,} photos are too few to tell what tuning gains from chance "
            f"({FEWEST_TRIED} would do)"
        )
    return None


def choose_strategy(
    row: PretrainedBase, record: ProbeRecord, trial: TuningTrial | None
) -> Strategy:
    """The strategy that the measurements ask for."""
    foreign, few = is_foreign(record), has_few_photos(record)
    boundary = boundary_to_tune(row, record)
    pays = boundary is not None and (foreign or (trial is not None and _pays(trial.gain)))
    name: StrategyName = "train the head"
    if pays:
        name = "cut lower and augment" if foreign else "tune the top"
        if foreign and not few and _lowest_as_good(record) == record.boundaries[0].name:
            name, boundary = "train everything", row.boundaries[0].name
    augment = name == "cut lower and augment" or (few and name == "tune the top")
    return Strategy(
        name,
        boundary if pays else None,
        augment,
        foreign,
        few,
        (
            f"amount: {describe_slope(record)}",
            _words_of_similarity(record, foreign),
            _words_of_tuning(row, record, trial, pays),
        ),
        _expected(record, trial if pays else None),
    )


def _pays(gain: PairedDifference) -> bool:
    return gain.value > 0 and (gain.certain or gain.value >= MATTERS)


def _expected(record: ProbeRecord, trial: TuningTrial | None) -> MeasuredShare:
    """What was measured on photos that no part of the classifier had seen."""
    if trial is not None:
        return trial.tuned
    top = record.boundaries[-1]
    return MeasuredShare(accuracy=top.accuracy, low=top.low, high=top.high, photos=record.photos)


def describe_slope(record: ProbeRecord) -> str:
    """What the last doubling of the photos has changed, and whether more would help."""
    points, verdict = record.learning_curve, "that more photos would help is not shown"
    if has_few_photos(record):
        verdict = f"more photos {'would' if record.slope.certain else 'may'} help"
    return (
        f"from {points[-2].photos:,} to {points[-1].photos:,} photos the accuracy at "
        f"{record.best} changes by {in_points(record.slope)}: {verdict}"
    )


def _words_of_similarity(record: ProbeRecord, foreign: bool) -> str:
    leader, top = record.most_accurate, record.boundaries[-1]
    if leader.name == top.name:
        return f"similarity: the top of the base, {top.name}, is best: the photos are like ImageNet"
    verdict = (
        "the photos are unlike ImageNet, and the layers above make them harder to tell apart"
        if foreign
        else "too little to call the photos unlike ImageNet"
    )
    gap = in_points(record.foreignness)
    return f"similarity: {leader.name} is better than the top, {top.name}, by {gap}: {verdict}"


def _words_of_tuning(
    row: PretrainedBase, record: ProbeRecord, trial: TuningTrial | None, pays: bool
) -> str:
    if trial is None:
        why = why_no_trial(row, record) or "there are too few photos to judge it by"
        return f"tuning: not tried, since {why}"
    verdict = "no gain that matters was measured"
    if pays:
        verdict = (
            "tuning pays" if trial.gain.certain else "tuning probably pays, chance is possible"
        )
    return (
        f"tuning: {trial.epochs} epochs above {trial.boundary} on {trial.fitted:,} photos change "
        f"the accuracy on {trial.tuned.photos:,} others by {in_points(trial.gain)}: {verdict}"
    )


def in_points(difference: PairedDifference) -> str:
    """A difference as people read it: points with the interval and p."""
    low, high = 100 * difference.low, 100 * difference.high
    return (
        f"{100 * difference.value:+.1f} points ({low:+.1f} to {high:+.1f}, p = {difference.p:.2g})"
    )
