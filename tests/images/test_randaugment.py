"""RandAugment: which operations, how strong, and what they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.images import geometry, randaugment
from tlcli.images.randaugment import GEOMETRIC, OPERATIONS, Picks
from tlcli.recipe.augment import RandAugment
from tlcli.system.stateless_random import RandomAddresses

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8")


def picks(*names: str, sign: float = 1.0, magnitude: int = 30) -> Picks:
    operations = np.array([[OPERATIONS.index(name) for name in names]])
    return Picks(operations, np.full(operations.shape, sign), magnitude)


def changed(photo: Any, picked: Picks) -> Any:
    planes = np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32)
    return randaugment.change_colours(planes, picked, 0).transpose(1, 2, 0)


def test_every_operation_is_as_likely_as_any_other():
    at = RandomAddresses(0, [str(n) for n in range(10_000)], [1] * 10_000)
    drawn = randaugment.draw(RandAugment(number=3), at)
    assert drawn.operations.shape == (10_000, 3)
    counts = np.bincount(drawn.operations.ravel(), minlength=len(OPERATIONS))
    assert len(counts) == len(OPERATIONS) == 14
    assert abs(counts / 30_000 - 1 / 14).max() < 0.008  # five standard errors
    assert abs((drawn.signs > 0).mean() - 0.5) < 0.015


def test_what_colours_become_at_full_strength():
    """By hand, from the definitions of the paper."""
    assert (changed(PHOTO, picks("posterize")) == (PHOTO & 0b11110000)).all()
    assert (changed(PHOTO, picks("solarize")) == 255 - PHOTO.astype("float32")).all()
    brighter = np.minimum(np.float32(PHOTO) * 1.9, 255)
    assert np.abs(changed(PHOTO, picks("brightness")) - brighter).max() <= 1
    assert changed(PHOTO, picks("brightness", sign=-1)).max() <= 26
    low, high = PHOTO.min((0, 1)).astype("float32"), PHOTO.max((0, 1)).astype("float32")
    stretched = (PHOTO - low) * 255 / (high - low)
    assert np.abs(changed(PHOTO, picks("autocontrast")) - stretched).max() <= 1
    grey = changed(PHOTO, picks("color", sign=-1))
    assert np.ptp(grey, axis=2).max() <= 0.1 * 255 + 2
    dark = np.clip(np.random.default_rng(0).normal(50, 9, (64, 64, 3)), 0, 255).astype("uint8")
    flat = changed(dark, picks("equalize"))
    assert np.abs(np.quantile(flat, [0.25, 0.5, 0.75]) - [64, 128, 191]).max() < 12
    soft = changed(PHOTO, picks("sharpness", sign=-1))
    assert (
        np.abs(np.diff(soft, axis=0)).mean()
        < 0.5 * np.abs(np.diff(np.float32(PHOTO), axis=0)).mean()
    )


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - {"equalize", "autocontrast", *GEOMETRIC}))
def test_magnitude_0_changes_nothing(name: str):
    assert (changed(PHOTO, picks(name, magnitude=0)) == PHOTO).all()


def test_operations_follow_each_other_in_their_order():
    posterize_first, solarize_first = picks("posterize", "solarize"), picks("solarize", "posterize")
    expected = 255 - (PHOTO & 0b11110000).astype("float32")
    assert (changed(PHOTO, posterize_first) == expected).all()
    assert (changed(PHOTO, solarize_first) != expected).any()


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        ("rotate", (np.cos(np.pi / 6) * 4 - np.sin(np.pi / 6) * 2,
                    np.sin(np.pi / 6) * 4 + np.cos(np.pi / 6) * 2)),
        ("shear_x", (4 + 0.3 * 2, 2)),
        ("shear_y", (4, 2 + 0.3 * 4)),
        ("translate_x", (4 + 150 / 331 * 100, 2)),
        ("translate_y", (4, 2 + 150 / 331 * 80)),
    ],
)  # fmt: skip
def test_where_geometry_takes_a_point_at_full_strength(name: str, corner: tuple[float, float]):
    """A point 4 right and 2 below the centre of a photo of 80 x 100 pixels."""
    (matrix,) = randaugment.build_matrices(picks(name), 80, 100)
    np.testing.assert_allclose(matrix[0] @ [4, 2, 1], [*corner, 1])
    assert (changed(PHOTO, picks(name)) == PHOTO).all()


def test_geometry_becomes_part_of_the_one_matrix():
    at = RandomAddresses(0, ["a"], [1])
    settings = RandAugment()
    drawn = randaugment.draw(settings, at)
    after = randaugment.build_matrices(drawn, 20, 30)
    assert [matrix.shape for matrix in after] == [(1, 3, 3)] * 2
    still = randaugment.build_matrices(picks("color", "identity"), 20, 30)
    np.testing.assert_array_equal(still, np.tile(np.eye(3), (2, 1, 1, 1)))
    turned = randaugment.build_matrices(picks("rotate"), 20, 30)[0]
    plain = geometry.rotation(np.array([30.0]))
    np.testing.assert_allclose(turned, plain)
