"""Mixup and cutmix: what is drawn, and what becomes of a batch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, kstest

from tlcli.recipe.augment import Augment
from tlcli.training import mixing
from tlcli.training.mixing import Mix, Step

MIXUP, CUTMIX = Augment(mixup=0.4), Augment(views="live", cutmix=1.0)
STEP = Step(seed=3, stage="head", epoch=5, batch=2)


def same(first: Mix, second: Mix) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("settings", [MIXUP, CUTMIX])
def test_a_batch_is_mixed_by_its_address(settings: Augment):
    first = mixing.draw_mix(settings, STEP, 32, (20, 30))
    assert same(first, mixing.draw_mix(settings, STEP, 32, (20, 30)))
    for other in (
        Step(4, "head", 5, 2), Step(3, "top", 5, 2), Step(3, "head", 6, 2), Step(3, "head", 5, 3)
    ):  # fmt: skip
        assert not same(first, mixing.draw_mix(settings, other, 32, (20, 30)))
    assert sorted(first.partners) == list(range(32))


def test_mixup_blends_each_photo_with_its_partner():
    mix = mixing.draw_mix(MIXUP, STEP, 8, (1, 1))
    batch = np.random.default_rng(0).uniform(0, 255, (8, 3, 4, 5)).astype("float32")
    made = mix.apply(batch)
    for n in range(8):
        share = mix.shares[n]
        expected = share * batch[n] + (1 - share) * batch[mix.partners[n]]
        np.testing.assert_allclose(made[n], expected, rtol=1e-6)


def test_cutmix_pastes_what_it_says_it_does():
    mix = mixing.draw_mix(CUTMIX, STEP, 16, (20, 30))
    batch = np.arange(16, dtype="float32")[:, None, None, None] * np.ones((1, 20, 30, 3), "f4")
    made = mix.apply(batch)
    for n in range(16):
        own = (made[n] == n).mean()
        if mix.partners[n] != n:
            assert own == pytest.approx(mix.shares[n], abs=1e-6)
        assert set(np.unique(made[n])) <= {n, mix.partners[n]}
    assert (batch[3] == 3).all(), "the batch itself is left alone"


def test_shares_are_beta_distributed():
    drawn = [mixing.draw_mix(MIXUP, Step(0, "a", 0, n), 50, (1, 1)).shares for n in range(200)]
    assert kstest(np.concatenate(drawn), beta(0.4, 0.4).cdf).pvalue > 1e-4
    pasted = [mixing.draw_mix(CUTMIX, Step(0, "a", 0, n), 50, (500, 500)) for n in range(200)]
    boxes = np.concatenate([mix.boxes for mix in pasted])
    inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < 500).all(axis=1)
    shares = np.concatenate([mix.shares for mix in pasted])
    # A rectangle that is not cut off has the shape of the photo.
    sides = boxes[inside, 2:] - boxes[inside, :2]
    assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 1
    assert shares.min() >= 0 and shares.max() <= 1
    # Cutting off leaves more of the photo than Beta(1, 1) says.
    assert shares.mean() > 0.55


def test_where_both_are_wanted_a_batch_takes_one():
    both = Augment(views="live", mixup=0.2, cutmix=1.0)
    kinds = [
        mixing.draw_mix(both, Step(0, "a", 0, n), 2, (9, 9)).boxes is None for n in range(1000)
    ]
    assert 420 < sum(kinds) < 580
    assert (
        mixing.mixes_photos(both)
        and mixing.mixes_photos(MIXUP)
        and not mixing.mixes_photos(Augment())
    )
