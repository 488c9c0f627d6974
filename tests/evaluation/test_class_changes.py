"""Old classes and new, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.errors import RequirementError
from tlcli.evaluation.class_changes import (
    ClassChanges,
    compare_classes,
    raise_if_lost,
    score_new_classes,
)
from tlcli.evaluation.intervals import PairedCounts


def test_old_classes_are_counted_one_by_one():
    labels = ["a"] * 10 + ["b"] * 5
    first = ["a"] * 8 + ["b"] * 2 + ["b"] * 5
    second = ["a"] * 6 + ["c"] * 3 + ["b"] + ["b"] * 4 + ["a"]
    level, old = compare_classes(labels, (first, second), ["a", "b", "z"])
    assert level == pytest.approx(0.975), "two intervals hold together with 95 %"
    assert [entry.name for entry in old] == ["a", "b"], "z has no photos"
    assert (old[0].n, old[0].recalls, old[0].called_new) == (10, (0.8, 0.6), 3)
    assert old[0].difference == pytest.approx(-0.2)
    assert old[0].interval == PairedCounts(6, 2, 0, 2).difference_interval(0.975)
    assert (old[1].recalls, old[1].called_new) == ((1.0, 0.8), 0)


def test_new_classes_are_scored_on_their_own_photos():
    guesses = ["c", "c", "a", "a"]
    new = score_new_classes(["c", "c", "c", "a"], guesses, ["a", "b"], ["a", "b", "c", "d"])
    assert [(entry.name, entry.n, entry.recall) for entry in new] == [
        ("c", 3, pytest.approx(2 / 3)),
        ("d", 0, None),
    ]
    assert new[1].interval == (0, 1)


def changes(lost: int) -> ClassChanges:
    """Of 100 photos of class a, all are right in the first run, all but `lost` in the second."""
    second = np.array(["a"] * 100)
    second[:lost] = "b"
    level, old = compare_classes(["a"] * 100, (["a"] * 100, list(second)), ["a", "b"])
    return ClassChanges(True, level, old, ())


def test_a_class_that_loses_more_than_its_interval_is_an_error():
    raise_if_lost(changes(2), ("old", "new"), (0, (-0.01, 0.01)))
    with pytest.raises(RequirementError) as caught:
        raise_if_lost(changes(20), ("old", "new"), (0, (-0.01, 0.01)))
    (problem,) = caught.value.problems
    assert problem.where == "new: class 'a'"
    assert "recall 0.8000, old has 1.0000: more than chance" in problem.message
    assert "--allow-loss" in problem.hint


def test_all_together_may_lose_what_no_class_shows():
    with pytest.raises(RequirementError, match=r"the old classes together lose 0\.0200"):
        raise_if_lost(changes(1), ("old", "new"), (-0.02, (-0.03, -0.01)))
