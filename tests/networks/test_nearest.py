"""The nearest rows and the limit of distances, against scikit-learn and counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from tlcli.networks.nearest import NearestRows, choose_limit, normalise, take_roots, thin_rows


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).gamma(0.5, 2.0, (300, 40)).astype(np.float32)


def test_the_nearest_are_those_of_scikit_learn(rows):
    photos = np.random.default_rng(1).gamma(0.5, 2.0, (150, 40)).astype(np.float32)
    truth = NearestNeighbors(algorithm="brute").fit(normalize(rows.astype(np.float64)))
    distances, positions = truth.kneighbors(normalize(photos.astype(np.float64)), 7)
    nearest = NearestRows(rows).search(photos, 7)
    np.testing.assert_array_equal(nearest.positions, positions)
    np.testing.assert_allclose(nearest.distances, distances, atol=1e-6)


def test_numbers_of_float16_are_the_same_in_float32():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 2)
    np.testing.assert_array_equal(normalise(halves), normalise(halves.astype(np.float32)))


def test_photos_are_compared_by_square_roots_where_the_rows_are(rows):
    photos = np.random.default_rng(1).gamma(0.5, 2.0, (9, 40))
    truth = NearestNeighbors(algorithm="brute").fit(normalize(np.sqrt(rows)))
    distances, positions = truth.kneighbors(normalize(np.sqrt(photos)), 4)
    nearest = NearestRows(normalise(take_roots(rows)), rooted=True).search(photos, 4)
    np.testing.assert_array_equal(nearest.positions, positions)
    np.testing.assert_allclose(nearest.distances, distances, atol=1e-6)
    np.testing.assert_allclose(take_roots(np.array([-4.0, 0, 9])), [-2, 0, 3])


def test_more_neighbours_than_rows_are_all_of_them(rows):
    nearest = NearestRows(rows[:3]).search(rows[:2], 5)
    assert nearest.positions.shape == nearest.distances.shape == (2, 3)
    assert sorted(nearest.positions[0]) == [0, 1, 2]
    assert NearestRows(rows).search(rows[:0], 5).distances.shape == (0, 5)


def test_the_scale_of_features_does_not_count_and_nothing_is_a_row_too(rows):
    search = NearestRows(np.concatenate([rows, np.zeros((1, 40), np.float32)])).search
    near, scaled = search(rows[:9], 3), search(1000 * rows[:9], 3)
    np.testing.assert_array_equal(near.positions, scaled.positions)
    np.testing.assert_array_equal(near.positions[:, 0], np.arange(9))
    np.testing.assert_allclose(near.distances[:, 0], 0, atol=1e-3)
    assert np.isfinite(search(np.zeros((1, 40)), 2).distances).all()
    assert not normalise(np.zeros((1, 40))).any()


def test_the_limit_lets_so_many_lie_beyond_it():
    # Of 99 distances, the 95th is the limit: one more photo is among the 5 beyond it of 100.
    distances = np.random.default_rng(0).permutation(np.arange(1, 100)).astype(float)
    assert choose_limit(distances, 0.05) == (95.0, pytest.approx(0.05))
    assert choose_limit(distances, 0.2) == (80.0, pytest.approx(0.2))
    # Twelve photos cannot promise less than 1 in 13; three cannot promise a tenth.
    assert choose_limit(np.arange(1.0, 13), 0.05) == (12.0, pytest.approx(1 / 13))
    assert choose_limit(np.arange(3.0), 0.05) is None
    assert choose_limit(np.empty(0), 0.05) is None


def test_the_share_beyond_the_limit_is_what_it_says_whatever_the_distribution():
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(400):
        drawn = generator.exponential(size=(1050,)) ** 3
        limit = choose_limit(drawn[:50], 0.1)
        assert limit is not None
        shares.append((drawn[50:] > limit.distance).mean())
    assert np.mean(shares) == pytest.approx(limit.rate, abs=0.005)
    assert limit.rate == pytest.approx(5 / 51)


def test_thinned_rows_are_even_over_the_classes():
    labels = np.repeat([0, 1, 2], [1000, 100, 3])
    kept = thin_rows(labels, 103)
    assert list(np.bincount(labels[kept])) == [50, 50, 3]
    assert list(kept) == sorted(set(kept))
    assert list(kept) == list(thin_rows(labels, 103))
    assert list(thin_rows(labels, 5000)) == list(range(1103))
    assert len(thin_rows(labels, 101)) == 101
