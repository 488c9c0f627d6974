"""Views that know their address: the same bits whatever is around them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.images import augment, color_jitter, geometry, randaugment
from tlcli.recipe.augment import CHANGES, PRESETS, Augment
from tlcli.system.stateless_random import RandomAddresses

#: The settings of the first version; rows of them are in people's stores.
FIRST = Augment(
    views=3,
    rotation_range=25,
    width_shift_range=0.2,
    height_shift_range=0.1,
    shear_range=15,
    zoom_range=(0.7, 1.2),
    horizontal_flip=True,
    vertical_flip=True,
    seed=5,
)
LATER: dict[str, Any] = {
    "random_resized_crop": {"scale": [0.5, 1]},
    "brightness_range": 0.3,
    "channel_shift_range": 20,
    "contrast": 0.2,
    "saturation": 0.5,
    "hue": 0.1,
    "grayscale": 0.3,
    "blur": 0.5,
    "randaugment": {"number": 2, "magnitude": 12},
    "random_erasing": {"probability": 0.7},
    "probability": 0.8,
}
EVERYTHING = Augment(**{**FIRST.model_dump(exclude={"preset"}), **LATER})


def with_(settings: Augment, **values: Any) -> Augment:
    return Augment(**{**settings.model_dump(exclude={"preset"}), **values})


def some_photos(count: int = 64, shape: tuple[int, int] = (24, 31)) -> tuple[Any, list[str]]:
    photos = np.random.default_rng(0).integers(0, 256, (count, *shape, 3), dtype="uint8")
    return photos, [hashlib.sha256(photo.tobytes()).hexdigest() for photo in photos]


def all_views(settings: Augment, size: int) -> Any:
    """Views 0 to 4 of 64 photos in batches of `size`."""
    photos, digests = some_photos()
    numbers = [n % 5 for n in range(64)]
    return np.concatenate(
        [
            augment.make_views(
                settings, photos[i : i + size], digests[i : i + size], numbers[i : i + size]
            )
            for i in range(0, 64, size)
        ]
    )


@pytest.mark.parametrize("settings", [FIRST, EVERYTHING], ids=["first", "everything"])
def test_a_view_has_the_same_bits_in_every_batch(settings: Augment):
    whole = all_views(settings, 64)
    assert whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 255
    for size in (1, 7):
        np.testing.assert_array_equal(all_views(settings, size), whole)
    photos, digests = some_photos()
    shuffled = np.random.default_rng(1).permutation(64)
    rows = augment.make_views(
        settings, photos[shuffled], [digests[n] for n in shuffled], [n % 5 for n in shuffled]
    )
    np.testing.assert_array_equal(rows, whole[shuffled])


PROGRAM = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_augment import EVERYTHING, all_views
print(hashlib.sha256(all_views(EVERYTHING, int(sys.argv[2])).tobytes()).hexdigest())
print("tensorflow" in sys.modules, file=sys.stderr)
"""


def test_other_processes_make_the_same_bits_without_tensorflow():
    here = hashlib.sha256(all_views(EVERYTHING, 64).tobytes()).hexdigest()
    environ = {**os.environ, "PYTHONPATH": str(Path(augment.__file__).parents[2])}
    for size, hash_seed in ((7, "1"), (1, "2")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(size)],
            env={**environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here
        assert done.stderr.strip() == "False"


def test_one_thread_makes_the_same_bits(monkeypatch):
    many = all_views(EVERYTHING, 64)
    monkeypatch.setattr(augment, "THREADS", 1)
    np.testing.assert_array_equal(all_views(EVERYTHING, 64), many)


def test_view_0_is_the_photo_itself():
    photos = np.random.default_rng(0).uniform(0, 255, (4, 33, 20, 3)).astype("float32")
    digests = ["a", "b", "c", "d"]
    views = augment.make_views(FIRST, photos, digests, [0, 1, 0, 7])
    assert (views[[0, 2]] == photos[[0, 2]]).all()
    assert (views[[1, 3]] != photos[[1, 3]]).any(axis=(1, 2, 3)).all()
    assert (augment.make_views(EVERYTHING, photos, digests, [0] * 4) == photos).all()


def test_width_shifts_go_along_the_width():
    photo = np.zeros((1, 20, 40, 3), "uint8")
    photo[0, 10, 20] = 200
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(64)]
    shown = augment.make_views(
        Augment(width_shift_range=0.25), photo.repeat(64, 0), digests, [1] * 64
    )
    _, rows, columns, _ = np.nonzero(shown > 1)
    assert set(rows) == {10}
    assert columns.min() in (10, 11, 12) and columns.max() in (28, 29, 30)


def test_probability_is_the_share_of_views_that_change():
    digests, numbers = [str(n) for n in range(10_000)], [1 + n % 4 for n in range(10_000)]
    share = augment.mark_changed(with_(FIRST, probability=0.3), digests, numbers)
    assert abs(share.mean() - 0.3) < 0.023
    photos, digests = some_photos()
    some = augment.make_views(with_(FIRST, probability=0.5), photos, digests, [1] * 64)
    every = augment.make_views(FIRST, photos, digests, [1] * 64)
    changed = augment.mark_changed(with_(FIRST, probability=0.5), digests, [1] * 64)
    assert (some[changed] == every[changed]).all(), "those that change are the same"
    assert (some[~changed] == photos[~changed]).all() and 16 < changed.sum() < 48


def test_erased_rectangles_have_the_share_and_the_noise_that_the_settings_say():
    settings = Augment(random_erasing={"probability": 0.4, "scale": [0.1, 0.2], "ratio": [0.5, 2]})
    photos = np.broadcast_to(np.float32(300), (10_000, 30, 30, 3))  # no noise has this value
    views = augment.make_views(settings, photos, [str(n) for n in range(10_000)], [1] * 10_000)
    gone = (views < 256).all(axis=3)
    hit = gone.any(axis=(1, 2))
    assert abs(hit.mean() - 0.4) < 0.02
    areas = gone[hit].mean(axis=(1, 2))
    assert 0.08 < areas.min() < 0.11 and 0.19 < areas.max() < 0.23
    noise = views[views < 256]
    assert abs(noise.mean() - 127.5) < 0.5 and abs(noise.std() - np.sqrt((256**2 - 1) / 12)) < 0.5
    for mask in gone[hit][:50]:  # a rectangle: as many pixels as rows times columns
        assert mask.sum() == mask.any(axis=0).sum() * mask.any(axis=1).sum()


# What a setting moves

CHANGED: dict[str, Any] = {
    "rotation_range": 11.0,
    "width_shift_range": 0.3,
    "height_shift_range": 0.4,
    "shear_range": 3.0,
    "zoom_range": (0.9, 1.1),
    "horizontal_flip": False,
    "vertical_flip": False,
    "fill_mode": "wrap",
    "cval": 9.0,
    "seed": 6,
    "random_resized_crop": {"scale": [0.4, 1]},
    "brightness_range": 0.1,
    "channel_shift_range": 4,
    "contrast": 0.1,
    "saturation": 0.1,
    "hue": 0.2,
    "grayscale": 0.9,
    "blur": 0.9,
    "randaugment": {"number": 3, "magnitude": 12},
    "random_erasing": {"probability": 0.9},
    "probability": 0.4,
}
DRAWN_FROM = {
    "rotation_range": {"theta"},
    "width_shift_range": {"columns"},
    "height_shift_range": {"rows"},
    "shear_range": {"shear"},
    "zoom_range": {"zx", "zy"},
    "horizontal_flip": {"flip_horizontal"},
    "vertical_flip": {"flip_vertical"},
    "brightness_range": {"brightness"},
    "channel_shift_range": {"channel_shift"},
    "contrast": {"contrast"},
    "saturation": {"saturation"},
    "hue": {"hue"},
    "grayscale": {"grey"},
    "blur": {"sigma"},
    "random_resized_crop": {"crop"},
    "randaugment": {"operations"},
}  # and every other setting moves none


def numbers_of(settings: Augment) -> dict[str, Any]:
    at = RandomAddresses(settings.seed, [str(n) for n in range(50)], [1 + n % 3 for n in range(50)])
    draws: dict[str, Any] = {}
    for drawn in (geometry.draw(settings, at), color_jitter.draw(settings, at)):
        draws |= {name: value for name, value in vars(drawn).items() if np.ndim(value)}
    draws["crop"] = geometry.draw_crops(settings, at, 20, 30)
    assert settings.randaugment is not None
    draws["operations"] = randaugment.draw(settings.randaugment, at).operations
    return draws


@pytest.mark.parametrize("name", sorted(set(CHANGED) - {"seed"}))
def test_a_changed_setting_changes_its_own_numbers_only(name: str):
    before, after = numbers_of(EVERYTHING), numbers_of(with_(EVERYTHING, **{name: CHANGED[name]}))
    moved = {key for key in before if not np.array_equal(before[key], after[key])}
    assert moved == DRAWN_FROM.get(name, set())


def test_a_new_setting_leaves_the_geometry_of_every_view_alone():
    photos, digests = some_photos(8)
    plain = augment.make_views(FIRST, photos, digests, [3] * 8)
    brighter = augment.make_views(
        with_(FIRST, brightness_range=(0.5, 0.5)), photos, digests, [3] * 8
    )
    np.testing.assert_allclose(brighter, plain / 2, atol=1e-4)


# The address


@pytest.mark.parametrize("name", CHANGED)
def test_the_address_changes_with_each_setting(name: str):
    for settings in (FIRST, EVERYTHING):
        if name == "cval":
            settings = with_(settings, fill_mode="constant")
        changed = with_(settings, **{name: CHANGED[name]})
        assert augment.compute_address(changed) != augment.compute_address(settings)


def test_the_address_does_not_change_with_what_moves_no_pixel():
    for values in ({"views": 0}, {"views": 9}, {"views": "live"}, {"mixup": 0.2}, {"cutmix": 1}):
        assert augment.compute_address(with_(FIRST, **values)) == augment.compute_address(FIRST)
    # With `fill_mode: nearest`, no pixel has the value of `cval`.
    assert augment.compute_address(with_(FIRST, cval=9)) == augment.compute_address(FIRST)
    colours = Augment(brightness_range=0.2, horizontal_flip=True)  # nothing beyond the photo shows
    for values in ({"fill_mode": "wrap"}, {"fill_mode": "constant", "cval": 9}):
        assert augment.compute_address(with_(colours, **values)) == augment.compute_address(colours)
    explicit = Augment(**PRESETS["medium"])
    assert augment.compute_address(Augment(preset="medium")) == augment.compute_address(explicit)


def test_every_setting_is_part_of_the_address_or_moves_no_pixel():
    assert set(CHANGED) == set(Augment.model_fields) - set(augment.WITHOUT_PIXELS)
    assert set(CHANGES) == set(CHANGED) - {"fill_mode", "cval", "seed", "probability"}


def test_numbers_are_the_published_ones():
    """Kept feature stores depend on them: a change here asks for another `AUGMENT_VERSION`."""
    at = RandomAddresses(5, ["0" * 64], [1])
    drawn = geometry.draw(FIRST, at)
    names = ("columns", "flip_horizontal", "flip_vertical", "rows", "shear", "theta", "zx", "zy")
    assert [round(float(getattr(drawn, name)[0]), 6) for name in names] == [
        -0.138564, 1.0, 0.0, 0.044128, -8.693838, 14.431626, 1.196201, 1.028756
    ]  # fmt: skip
    assert augment.compute_address(FIRST) == "8d51adb4c0e99b0a"
    assert augment.compute_address(EVERYTHING) == "126e328770d50f6a"
    photos, digests = some_photos(4)
    means = augment.make_views(EVERYTHING, photos, digests, [1, 2, 3, 4]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [159.477, 103.138, 128.167, 106.352], atol=0.05)
