"""The figures that every chart draws, counted by hand."""

from __future__ import annotations

import pytest

from tlcli.evaluation.chart_data import confusion_table, learning_curves, moving_average
from tlcli.runs.records import Epoch


def epochs(stage: str, count: int, *, val: bool = True) -> list[Epoch]:
    return [
        Epoch(
            stage=stage, epoch=number, loss=1 / number, accuracy=number / 20, learning_rate=1e-3,
            val_loss=1.5 / number if val else None, val_accuracy=number / 30 if val else None,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


class Scores:
    """As much of an evaluation as a confusion table reads."""

    def __init__(self, *rows: tuple[int, ...]) -> None:
        self.classes = tuple("abcdefgh"[: len(rows)])
        self.confusion = rows


def test_the_moving_average_counted_by_hand():
    assert moving_average([4.0, 0.0, 2.0], 0.5) == pytest.approx(
        [4.0, (0.25 * 4 + 0) / 0.75, (0.125 * 4 + 0.5 * 2) / 0.875]
    )
    assert moving_average([3.0] * 5) == pytest.approx([3.0] * 5)
    assert moving_average([]) == []


def test_curves_have_a_part_for_each_stage():
    curves = learning_curves([*epochs("head", 4), *epochs("top", 3)], [3, 2])
    assert [(stage.name, stage.border) for stage in curves.stages] == [("head", 0.5), ("top", 4.5)]
    assert [list(stage.positions) for stage in curves.stages] == [[1, 2, 3, 4], [5, 6, 7]]
    train, val = curves.loss.series
    assert train.stages[1].values == pytest.approx((1, 1 / 2, 1 / 3))
    assert train.stages[1].smooth == train.stages[1].values  # too short for an average
    assert val.values == pytest.approx([1.5, 0.75, 0.5, 0.375, 1.5, 0.75, 0.5])
    assert [(best.position, best.value) for best in curves.loss.best] == [(3, 0.5), (6, 0.75)]
    assert curves.learning_rate.values == [1e-3] * 7


def test_stages_of_15_epochs_and_more_are_smoothed():
    curves = learning_curves([*epochs("short", 14), *epochs("long", 15)], [1, 1])
    short, long = curves.loss.series[0].stages
    assert short.smooth == short.values
    assert long.smooth == tuple(moving_average(long.values)) != long.values


def test_top_5_has_a_curve_where_it_was_measured():
    assert learning_curves(epochs("head", 4), [3]).top_5 is None
    ranked = [
        epoch.model_copy(update={"top_5": 0.9, "val_top_5": 0.5 + epoch.epoch / 10})
        for epoch in epochs("head", 4)
    ]
    curve = learning_curves(ranked, [3]).top_5
    assert [series.values for series in curve.series] == [
        [0.9] * 4, pytest.approx([0.6, 0.7, 0.8, 0.9])
    ]  # fmt: skip
    (best,) = curve.best
    assert best.value == pytest.approx(0.8)


def test_best_epochs_may_come_one_by_one():
    curves = learning_curves(epochs("head", 4), iter([3]))
    assert [best.epoch for best in curves.accuracy.best] == [3]
    assert [best.epoch for best in curves.loss.best] == [3]


def test_what_was_not_measured_is_not_drawn():
    curves = learning_curves(epochs("head", 2, val=False), [5])
    assert [series.kind for series in curves.accuracy.series] == ["train"]
    assert curves.accuracy.best == (), "an epoch that is not there is not marked"
    trained = learning_curves(epochs("head", 2, val=False), [2])
    assert [best.value for best in trained.accuracy.best] == [2 / 20]
    assert learning_curves([], []).stages == ()


def test_shares_of_a_confusion_table():
    table = confusion_table(Scores((3, 1), (0, 0)))
    assert table.names == ("a", "b") and table.folded == 0
    assert table.shares == ((0.75, 0.25), (0, 0))


def test_the_classes_without_mistakes_are_folded():
    table = confusion_table(Scores((5, 0, 0, 0), (0, 1, 0, 2), (0, 0, 3, 0), (0, 1, 0, 4)), most=2)
    assert table.names == ("b", "d", None) and table.folded == 2
    assert table.counts == ((1, 2, 0), (1, 4, 0), (0, 0, 8))
