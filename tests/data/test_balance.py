"""Classes of different sizes: the sentence about them, on counts made by hand."""

from __future__ import annotations

import pytest

from tlcli.data.balance import JUDGED, measure_imbalance
from tlcli.evaluation.intervals import wilson_interval

COUNTS = {
    "train": {"cats": 15, "dogs": 120, "foxes": 30, "owls": 20},
    "val": {"cats": 2, "dogs": 20, "foxes": 5, "owls": 3},
    "test": {"cats": 3, "dogs": 24, "foxes": 5, "owls": 0},
}


def test_the_sentence_has_baseline_rare_classes_and_what_weights_would_change():
    imbalance = measure_imbalance(COUNTS)
    assert imbalance is not None
    assert imbalance.message() == (
        "dogs has 8.0 times as many training photos as cats (120 and 15); always answering dogs is "
        "right for 75.0% of test; with fewer than 10 test photos, owls (0), cats (3), foxes (5) "
        "cannot be judged: there is nothing to score owls by"
    )
    assert imbalance.hint() == (
        "with class_weights: balanced, a photo of cats counts 8.0 times as much as one of dogs; "
        "look at balanced accuracy, not at accuracy alone"
    )


@pytest.mark.parametrize("right", [1, 2, 5, 9])
def test_the_lower_end_is_that_of_wilsons_interval(right: int):
    counts = {"train": {"a": 2, "b": 4}, "val": {}, "test": {"a": right, "b": 40}}
    imbalance = measure_imbalance(counts)
    assert imbalance is not None
    low = wilson_interval(right, right)[0]
    assert f"anything from {low:.0%}" in imbalance.message()
    assert imbalance.rare == (("a", right),)


def test_ten_photos_are_enough_and_equal_classes_are_no_matter():
    counts = {"train": {"a": 30, "b": 60}, "val": {}, "test": {"a": JUDGED, "b": 20}}
    imbalance = measure_imbalance(counts)
    assert imbalance is not None
    assert imbalance.rare == ()
    assert "cannot be judged" not in imbalance.message()
    assert measure_imbalance({**counts, "train": {"a": 45, "b": 60}}) is None


def test_without_test_photos_the_validation_photos_count_and_without_both_none():
    imbalance = measure_imbalance({**COUNTS, "test": {}})
    assert imbalance is not None
    assert "owls (3), foxes (5)" in imbalance.message()
    assert "fewer than 10 validation photos, cats (2)" in imbalance.message()
    neither = measure_imbalance({**COUNTS, "test": {}, "val": {}})
    assert neither is not None
    assert (neither.majority, neither.rare) == (None, ())
