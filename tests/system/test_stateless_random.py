"""Numbers with an address."""

from __future__ import annotations

import numpy as np

from tlcli.system.stateless_random import RandomAddresses, random_bytes


def test_seed_photo_view_and_purpose_each_give_other_numbers():
    def first(seed: int, digest: str, view: int, purpose: str) -> float:
        return float(RandomAddresses(seed, [digest], [view]).uniform(purpose, 1)[0, 0])

    every = {
        first(5, "a", 1, "view"),
        first(6, "a", 1, "view"),
        first(5, "b", 1, "view"),
        first(5, "a", 2, "view"),
        first(5, "a", 1, "crop"),
    }
    assert len(every) == 5


def test_asking_for_more_numbers_keeps_the_first_ones():
    at = RandomAddresses(0, ["a", "b"], [1, 2])
    many = at.uniform("erase", 24)
    assert many.shape == (2, 24)
    assert (many[:, :7] == at.uniform("erase", 7)).all()
    assert (many[1] == RandomAddresses(0, ["b"], [2]).uniform("erase", 24)[0]).all()
    assert len(set(many.ravel())) == 48


def test_noise_is_even_and_repeatable():
    bytes_ = random_bytes(0.25, 100_003)
    assert bytes_.shape == (100_003,) and bytes_.dtype == np.uint8
    assert (bytes_[:1000] == random_bytes(0.25, 1000)).all()
    assert (bytes_[:1000] != random_bytes(0.26, 1000)).any()
    counts = np.bincount(bytes_, minlength=256)
    assert counts.min() > 300 and counts.max() < 480  # 391 each, within 4.7 standard deviations
