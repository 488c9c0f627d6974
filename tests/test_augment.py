"""Views against Keras' legacy generator, and views that know their address."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import pytest

from tlcli import augment
from tlcli.augment import Draws
from tlcli.framework import keras
from tlcli.settings import Augment

EVERYTHING = Augment(
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

#: theta, rows and columns (pixels), shear, zx, zy, mirrored left to right, top to bottom.
GEOMETRIES = {
    "rotation": {"theta": 20.0},
    "rotation back": {"theta": -33.0},
    "quarter turn": {"theta": 90.0},
    "down": {"rows": 3.25},
    "up": {"rows": -7.5},
    "right": {"columns": 4.5},
    "left": {"columns": -2.75},
    "shear": {"shear": 17.0},
    "shear back": {"shear": -12.0},
    "wider": {"zx": 1.4},
    "taller": {"zy": 1.3},
    "closer": {"zx": 0.6, "zy": 0.8},
    "mirrored": {"flip_horizontal": True},
    "upside down": {"flip_vertical": True},
    "all": {"theta": -14.0, "rows": 2.5, "columns": -3.5, "shear": 9.0, "zx": 0.8, "zy": 1.3},
    "all and mirrored": {
        "theta": 31.0,
        "rows": -2.5,
        "columns": 5.5,
        "shear": -9.0,
        "zx": 1.2,
        "zy": 0.9,
        "flip_horizontal": True,
    },
    "all and upside down": {
        "theta": -31.0,
        "rows": 1.5,
        "columns": 5.5,
        "shear": 19.0,
        "zx": 1.2,
        "zy": 1.1,
        "flip_vertical": True,
    },
}


def smooth(height: int, width: int) -> Any:
    rows, columns = np.mgrid[:height, :width].astype("float32")
    channels = [
        127 + 90 * np.sin(rows / 5 + phase) * np.cos(columns / 7 - phase) + rows - columns / 2
        for phase in range(3)
    ]
    return np.clip(np.stack(channels, -1), 0, 255).astype("float32")


def fixed(geometry: dict[str, Any]) -> Draws:
    plain = {"theta": 0.0, "rows": 0.0, "columns": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0}
    flips = {"flip_horizontal": False, "flip_vertical": False}
    values = {name: np.array([value]) for name, value in {**plain, **flips, **geometry}.items()}
    return Draws(**values, rows_in_pixels=True, columns_in_pixels=True)


def ours(photo: Any, geometry: dict[str, Any], fill_mode: str, cval: float = 0.0) -> Any:
    settings = Augment(fill_mode=fill_mode, cval=cval)
    transforms = augment.matrices(fixed(geometry), *photo.shape[:2])
    return augment.apply(photo[None], transforms, settings).numpy()[0]


def legacy(photo: Any, geometry: dict[str, Any], fill_mode: str, cval: float = 0.0) -> Any:
    """Keras' own result for a square photo; its `tx` moves columns (see the module)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls a scipy namespace that is going away
        generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(
            fill_mode=fill_mode, cval=cval
        )
        names = {"columns": "tx", "rows": "ty"}
        parameters = {names.get(name, name): value for name, value in geometry.items()}
        return generator.apply_transform(photo, parameters)


def on_canvas(photo: Any, geometry: dict[str, Any], fill_mode: str, cval: float) -> Any:
    """Keras' result for a photo of any shape, laid on a large square that continues it.

    On it nothing reaches beyond the border, and the middle of both sides is the photo's.
    """
    height, width = photo.shape[:2]
    side = 4 * max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padding = ((top, top), (left, left), (0, 0))
    mode: Any = {"nearest": "edge", "reflect": "symmetric"}.get(fill_mode, fill_mode)
    canvas = np.pad(
        photo, padding, mode, **({"constant_values": cval} if mode == "constant" else {})
    )
    view = legacy(canvas, geometry, "nearest")
    return view[top : top + height, left : left + width]


def seam(shape: tuple[int, int], geometry: dict[str, Any]) -> Any:
    """Where a view shows the place between two repetitions of a wrapped photo."""
    height, width = shape
    matrix = np.append(augment.matrices(fixed(geometry), height, width)[0], 1).reshape(3, 3)
    y, x = np.mgrid[:height, :width]
    source = matrix @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    between = (np.mod(source[0], width) > width - 1) | (np.mod(source[1], height) > height - 1)
    return between.reshape(height, width)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("fill_mode", ["nearest", "reflect"])
def test_a_square_view_is_the_one_keras_makes(geometry: Any, fill_mode: str) -> None:
    photo = smooth(48, 48)
    expected = legacy(photo, geometry, fill_mode)
    np.testing.assert_allclose(ours(photo, geometry, fill_mode), expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("shape", [(30, 44), (46, 32)])
def test_any_view_is_the_one_keras_makes_of_the_continued_photo(
    geometry: Any, fill_mode: str, shape: tuple[int, int]
) -> None:
    photo = smooth(*shape)
    expected = on_canvas(photo, geometry, fill_mode, 40.0)
    difference = np.abs(ours(photo, geometry, fill_mode, 40.0) - expected)
    if fill_mode == "wrap":
        difference = difference[~seam(shape, geometry)]
    # Coordinates are float32, and the edge to a constant colour is steep.
    assert difference.max() < (2e-3 if fill_mode == "constant" else 5e-4)


def test_width_shifts_go_along_the_width() -> None:
    photo = np.zeros((1, 20, 40, 3), "uint8")
    photo[0, 10, 20] = 200
    settings = Augment(width_shift_range=0.25)
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(64)]
    shown = augment.views(settings, photo.repeat(64, 0), digests, [1] * 64).numpy()
    _, rows, columns, _ = np.nonzero(shown > 1)
    assert set(rows) == {10}
    assert columns.min() in (10, 11, 12) and columns.max() in (28, 29, 30)


def test_a_range_from_one_on_is_in_pixels() -> None:
    drawn = augment.draw(Augment(height_shift_range=6.0), ["a"], [1])
    offset = augment.matrices(drawn, 100, 200)[0, 5]
    assert offset == np.float32(drawn.rows[0])
    assert augment.matrices(augment.draw(Augment(height_shift_range=0.5), ["a"], [1]), 100, 200)[
        0, 5
    ] == pytest.approx(100 * 0.5 * drawn.rows[0] / 6.0)


def test_a_view_has_the_same_bits_in_every_batch() -> None:
    count = 64
    photos = np.random.default_rng(0).integers(0, 256, (count, 24, 31, 3), dtype="uint8")
    digests = [hashlib.sha256(photo.tobytes()).hexdigest() for photo in photos]
    numbers = [n % 5 for n in range(count)]

    def made(chosen: Any) -> Any:
        return augment.views(
            EVERYTHING,
            photos[chosen],
            [digests[n] for n in chosen],
            [numbers[n] for n in chosen],
        ).numpy()

    whole = made(list(range(count)))
    shuffled = np.random.default_rng(1).permutation(count)
    assert (made(shuffled) == whole[shuffled]).all()
    for start in range(0, count, 7):
        chosen = list(range(start, min(start + 7, count)))
        assert (made(chosen) == whole[chosen]).all()
    for n in range(0, count, 9):
        assert (made([n]) == whole[[n]]).all()


def test_view_0_is_the_photo_itself() -> None:
    photos = np.random.default_rng(0).uniform(0, 255, (4, 33, 20, 3)).astype("float32")
    digests = ["a", "b", "c", "d"]
    views = augment.views(EVERYTHING, photos, digests, [0, 1, 0, 7]).numpy()
    assert views.dtype == np.float32
    assert (views[[0, 2]] == photos[[0, 2]]).all()
    assert (views[[1, 3]] != photos[[1, 3]]).any(axis=(1, 2, 3)).all()
    for fill_mode in ("constant", "reflect", "wrap"):
        settings = EVERYTHING.model_copy(update={"fill_mode": fill_mode})
        assert (augment.views(settings, photos, digests, [0] * 4).numpy() == photos).all()


def test_pixels_stay_in_range() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype="uint8")
    views = augment.views(EVERYTHING, photos, [str(n) for n in range(32)], [1] * 32).numpy()
    assert views.min() >= 0 and views.max() <= 255


CHANGES: dict[str, Any] = {
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
}
DRAWN_FROM = {
    "rotation_range": {"theta"},
    "width_shift_range": {"columns"},
    "height_shift_range": {"rows"},
    "shear_range": {"shear"},
    "zoom_range": {"zx", "zy"},
    "horizontal_flip": {"flip_horizontal"},
    "vertical_flip": {"flip_vertical"},
    "fill_mode": set(),
    "cval": set(),
}
ARRAYS = {"theta", "rows", "columns", "shear", "zx", "zy", "flip_horizontal", "flip_vertical"}


@pytest.mark.parametrize("name", DRAWN_FROM)
def test_a_changed_setting_changes_its_own_numbers_only(name: str) -> None:
    digests, numbers = [str(n) for n in range(50)], [1 + n % 3 for n in range(50)]
    before = augment.draw(EVERYTHING, digests, numbers)
    after = augment.draw(EVERYTHING.model_copy(update={name: CHANGES[name]}), digests, numbers)
    changed = {array for array in ARRAYS if (getattr(before, array) != getattr(after, array)).any()}
    assert changed == DRAWN_FROM[name]


def test_seed_photo_and_view_each_give_other_numbers() -> None:
    def theta(seed: int, digest: str, view: int) -> float:
        settings = EVERYTHING.model_copy(update={"seed": seed})
        return float(augment.draw(settings, [digest], [view]).theta[0])

    thetas = {theta(5, "a", 1), theta(6, "a", 1), theta(5, "b", 1), theta(5, "a", 2)}
    assert len(thetas) == 4


def test_numbers_are_the_published_ones() -> None:
    """Kept feature stores depend on them: a change here asks for another `AUGMENT_VERSION`."""
    drawn = augment.draw(EVERYTHING, ["0" * 64], [1])
    numbers = [round(float(getattr(drawn, array)[0]), 6) for array in sorted(ARRAYS)]
    assert numbers == PUBLISHED
    assert augment.address(EVERYTHING) == ADDRESS


PUBLISHED = [-0.138564, 1.0, 0.0, 0.044128, -8.693838, 14.431626, 1.196201, 1.028756]
ADDRESS = "8d51adb4c0e99b0a"


def test_distributions_are_those_of_the_settings() -> None:
    count = 10_000
    drawn = augment.draw(
        EVERYTHING, [str(n) for n in range(count)], [1 + n % 4 for n in range(count)]
    )
    ranges = {
        "theta": (-25, 25),
        "rows": (-0.1, 0.1),
        "columns": (-0.2, 0.2),
        "shear": (-15, 15),
        "zx": (0.7, 1.2),
        "zy": (0.7, 1.2),
    }
    for name, (low, high) in ranges.items():
        values = getattr(drawn, name)
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        # Five standard errors of the mean of a uniform distribution.
        assert abs(values.mean() - (low + high) / 2) < 5 * (high - low) / np.sqrt(12 * count)
    assert abs(drawn.flip_horizontal.mean() - 0.5) < 0.025
    assert abs(drawn.flip_vertical.mean() - 0.5) < 0.025
    assert (
        abs(np.corrcoef([getattr(drawn, name) for name in sorted(ARRAYS)]) - np.eye(8)).max() < 0.05
    )


@pytest.mark.parametrize("name", CHANGES)
def test_the_address_changes_with_each_setting(name: str) -> None:
    changed = EVERYTHING.model_copy(update={name: CHANGES[name]})
    assert augment.address(changed) != augment.address(EVERYTHING)


def test_the_address_does_not_change_with_the_number_of_views() -> None:
    for views in (0, 9, "live"):
        other = EVERYTHING.model_copy(update={"views": views})
        assert augment.address(other) == augment.address(EVERYTHING)


def test_every_setting_but_views_is_part_of_the_address() -> None:
    assert set(augment.GEOMETRY) == set(Augment.model_fields) - {"views"}
