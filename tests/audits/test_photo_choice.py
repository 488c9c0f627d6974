"""The choice of photos, against scikit-learn and against trying every photo."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tlcli.audits import photo_choice
from tlcli.audits.photo_choice import PENALTY, choose_photos, class_scores
from tlcli.audits.replay import replay_choice


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def clusters(random: np.random.Generator, sizes, channels: int = 12, spread: float = 0.15):
    """Rows around a direction of their own for each cluster, and the number of the cluster."""
    directions = np.random.default_rng(0).normal(size=(len(sizes), channels))
    rows = [
        direction / np.linalg.norm(direction) + random.normal(0, spread, (size, channels))
        for direction, size in zip(directions, sizes, strict=True)
    ]
    return np.concatenate(rows).astype(np.float32), np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("labelled", [8, 60], ids=["fewer than channels", "more"])
def test_the_classifier_is_the_ridge_of_scikit_learn(random, labelled):
    rows = random.normal(size=(100, 20)) * random.uniform(0.1, 5, 20)
    labels = np.arange(labelled) % 3
    scaled = StandardScaler().fit_transform(rows)
    truth = Ridge(alpha=PENALTY * labelled).fit(scaled[:labelled], np.eye(3)[labels])
    scores = class_scores(rows[:labelled], labels, rows[labelled:])
    np.testing.assert_allclose(scores, truth.predict(scaled[labelled:]), atol=1e-8)


@pytest.mark.parametrize("power", [0, 2])
def test_it_chooses_what_trying_every_photo_chooses(random, monkeypatch, power):
    monkeypatch.setattr(photo_choice, "_LAZY", 7)
    rows, labels = clusters(random, [40, 30, 20, 10])
    labelled = np.array([0, 41, 71])
    free = np.setdiff1d(np.arange(100), labelled)
    chosen = choose_photos(rows[labelled], labels[labelled], rows[free], 12, power=power)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = ((unit[:, None] - unit[None]) ** 2).sum(axis=2)
    pool = distances[np.ix_(free, free)]
    scale = np.median(np.sort(pool, axis=1)[:, photo_choice.NEIGHBOURS])
    likeness = np.exp(-pool / scale)
    covered = np.exp(-distances[np.ix_(labelled, free)] / scale).max(axis=0)
    scores = np.sort(class_scores(rows[labelled], labels[labelled], rows[free]), axis=1)
    margins = scores[:, -1] - scores[:, -2]
    weights = np.clip(1 - margins, photo_choice.LEAST_WEIGHT, 1) ** power
    for photo in chosen:
        added = np.maximum(likeness - covered, 0) @ weights
        assert added[photo.position] == pytest.approx(added.max(), rel=1e-6)
        assert photo.like == (likeness[photo.position] > covered).sum()
        assert photo.margin == pytest.approx(margins[photo.position])
        covered = np.maximum(covered, likeness[photo.position])
    assert len({photo.position for photo in chosen}) == 12


def test_what_no_label_is_like_comes_first_and_no_two_are_alike(random):
    rows, kind = clusters(random, [50, 50, 50, 50], spread=0.05)
    labelled = np.flatnonzero(kind < 2)[::10]
    free = np.setdiff1d(np.arange(200), labelled)
    chosen = choose_photos(rows[labelled], kind[labelled], rows[free], 2)
    assert {int(kind[free[photo.position]]) for photo in chosen} == {2, 3}
    twice = np.concatenate([rows[free], rows[free]])
    positions = [p.position for p in choose_photos(rows[labelled], kind[labelled], twice, 20)]
    assert len({position % len(free) for position in positions}) == 20


def test_more_than_there_are_gives_all(random):
    rows, kind = clusters(random, [5, 5])
    chosen = choose_photos(rows[[0, 5]], kind[[0, 5]], rows[[1, 6, 7]], 10)
    assert sorted(photo.position for photo in chosen) == [0, 1, 2]


def test_a_replay_is_the_same_each_time_and_its_numbers_fit(random):
    rows, labels = clusters(random, [40, 40, 40], spread=0.4)
    groups = [str(number) for number in range(120)]
    replay = replay_choice(rows, labels, groups, 10, 0)
    assert replay == replay_choice(rows, labels, groups, 10, 0)
    assert (replay.labelled, replay.added) == (96 - 40, 10)
    assert replay.difference == pytest.approx(replay.chosen - replay.random)
    low, high = replay.interval
    assert low < replay.difference < high
    assert replay_choice(rows, labels, groups, 10, 1) != replay


def test_choosing_beats_chance_where_most_photos_are_of_one_kind(random):
    rows, labels = clusters(random, [160, 12, 12, 12], spread=0.1)
    replay = replay_choice(rows, labels, [str(n) for n in range(len(rows))], 8, 0)
    assert replay.chosen >= replay.random


@pytest.mark.parametrize("sizes", [[1, 30], [3, 3]], ids=["one photo in a class", "six photos"])
def test_too_few_labels_for_a_replay(random, sizes):
    rows, labels = clusters(random, sizes)
    assert replay_choice(rows, labels, [str(n) for n in range(len(rows))], 5, 0) is None
