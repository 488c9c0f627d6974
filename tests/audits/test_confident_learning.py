"""Confident learning on a table that was counted by hand, and on labels that were changed."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.audits import confident_learning as cl

#: Nine photos of three classes. Thresholds, the means of the label's own column: class 0 of
#: (.9, .8, .1), class 1 of (.7, .6, .2), class 2 of (.8, .4, .3): .6, .5, .5.
PROBABILITIES = np.array(
    [
        [0.9, 0.05, 0.05],  # surely 0
        [0.8, 0.1, 0.1],  # surely 0
        [0.1, 0.85, 0.05],  # surely 1, and labelled 0
        [0.2, 0.7, 0.1],  # surely 1
        [0.3, 0.6, 0.1],  # surely 1
        [0.2, 0.2, 0.6],  # surely 2, and labelled 1
        [0.1, 0.1, 0.8],  # surely 2
        [0.35, 0.25, 0.4],  # of no class surely
        [0.65, 0.05, 0.3],  # surely 0, and labelled 2
    ]
)
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
COUNTS = [[2, 1, 0], [0, 2, 1], [1, 0, 1]]


def test_the_confident_joint_is_the_one_counted_by_hand():
    assert cl.class_thresholds(PROBABILITIES, LABELS) == pytest.approx([0.6, 0.5, 0.5])
    assert cl.confident_classes(PROBABILITIES, LABELS).tolist() == [0, 0, 1, 1, 1, 2, 2, -1, 0]
    assert cl.count_confident(PROBABILITIES, LABELS).tolist() == COUNTS


def test_the_joint_is_scaled_to_the_photos_of_each_label():
    joint = cl.estimate_joint(np.array(COUNTS), LABELS)
    assert joint == pytest.approx(np.array([[2, 1, 0], [0, 2, 1], [1.5, 0, 1.5]]))
    assert cl.count_wrong(PROBABILITIES, LABELS) == round(1 + 1 + 1.5)


def test_a_label_without_a_confident_photo_counts_as_right():
    joint = cl.estimate_joint(np.array([[3, 1], [0, 0]]), np.array([0, 0, 0, 0, 1, 1]))
    assert joint.tolist() == [[3, 1], [0, 2]]


def test_suspects_are_ranked_by_the_margin_of_the_likelier_class():
    positions, suggested, margins = cl.rank_by_margin(PROBABILITIES, LABELS)
    assert positions.tolist() == [2, 5, 8]
    assert suggested.tolist() == [1, 2, 0]
    assert margins == pytest.approx([0.75, 0.4, 0.35])


def test_where_classes_reach_several_thresholds_the_likeliest_counts():
    probabilities = np.array([[0.5, 0.5], [0.4, 0.6], [0.5, 0.5]])
    assert cl.confident_classes(probabilities, np.array([0, 1, 1])).tolist() == [0, 1, 0]


@pytest.mark.parametrize("classes", [2, 5])
def test_as_many_labels_are_wrong_as_were_changed(classes: int):
    """Probabilities of a classifier that is right but for noise, and 8% changed labels."""
    random = np.random.default_rng(classes)
    true = random.integers(0, classes, 3_000)
    logits = 4.0 * np.eye(classes)[true] + random.normal(0, 1, (3_000, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    changed = random.random(3_000) < 0.08
    labels = np.where(changed, (true + random.integers(1, classes, 3_000)) % classes, true)
    assert cl.count_wrong(probabilities, labels) == pytest.approx(changed.sum(), rel=0.1)
    positions, suggested, _ = cl.rank_by_margin(probabilities, labels)
    first = positions[: changed.sum()]
    assert changed[first].mean() > 0.9
    assert (suggested[: changed.sum()] == true[first]).mean() > 0.9


def test_cleanlab_counts_the_same():
    cleanlab = pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    counts = cleanlab.count.compute_confident_joint(LABELS, PROBABILITIES, calibrate=False)
    assert counts.tolist() == COUNTS
