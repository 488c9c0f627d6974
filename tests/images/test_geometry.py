"""Where pixels come from: against Keras' legacy generator and TensorFlow's own resampling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kstest

from tlcli.images import geometry
from tlcli.images.geometry import GeometryDraws
from tlcli.networks.framework import keras, tf
from tlcli.recipe.augment import Augment
from tlcli.system.stateless_random import RandomAddresses

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


def fixed(drawn: dict[str, Any]) -> GeometryDraws:
    plain = {"theta": 0.0, "rows": 0.0, "columns": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0}
    flips = {"flip_horizontal": False, "flip_vertical": False}
    values = {name: np.array([value]) for name, value in {**plain, **flips, **drawn}.items()}
    return GeometryDraws(**values, rows_in_pixels=True, columns_in_pixels=True)


def ours(photo: Any, values: dict[str, Any], fill_mode: str, cval: float = 0.0) -> Any:
    (matrix,) = geometry.compose(fixed(values), *photo.shape[:2])
    return geometry.warp(photo, matrix, fill_mode, cval).transpose(1, 2, 0)


def legacy(photo: Any, values: dict[str, Any], fill_mode: str, cval: float = 0.0) -> Any:
    """Keras' own result for a square photo; its `tx` moves columns (see the module)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls a scipy namespace that is going away
        generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(
            fill_mode=fill_mode, cval=cval
        )
        names = {"columns": "tx", "rows": "ty"}
        parameters = {names.get(name, name): value for name, value in values.items()}
        return generator.apply_transform(photo, parameters)


def on_canvas(photo: Any, values: dict[str, Any], fill_mode: str, cval: float) -> Any:
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
    view = legacy(canvas, values, "nearest")
    return view[top : top + height, left : left + width]


@pytest.mark.parametrize("values", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("fill_mode", ["nearest", "reflect"])
def test_a_square_view_is_the_one_keras_makes(values: Any, fill_mode: str) -> None:
    photo = smooth(48, 48)
    expected = legacy(photo, values, fill_mode)
    np.testing.assert_allclose(ours(photo, values, fill_mode), expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("values", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("shape", [(30, 44), (46, 32)])
def test_any_view_is_the_one_keras_makes_of_the_continued_photo(
    values: Any, fill_mode: str, shape: tuple[int, int]
) -> None:
    photo = smooth(*shape)
    expected = on_canvas(photo, values, fill_mode, 40.0)
    difference = np.abs(ours(photo, values, fill_mode, 40.0) - expected)
    # Coordinates are float32, and the edge to a constant colour or to a repetition is steep.
    assert difference.max() < (2e-3 if fill_mode in ("constant", "wrap") else 5e-4)


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "wrap"])
@pytest.mark.parametrize(
    "values",
    [{"zx": 3.0, "zy": 3.0}, {"theta": 90.0}, {"columns": 70.5}, {"rows": -55.25, "zy": 2.2}],
    ids=["zoom", "turn", "right", "up"],
)
def test_views_that_reach_over_several_repetitions(values: Any, fill_mode: str) -> None:
    photo = smooth(20, 90)
    expected = on_canvas(photo, values, fill_mode, 0.0)
    np.testing.assert_allclose(ours(photo, values, fill_mode), expected, rtol=0, atol=2e-3)


ANYTHING = Augment(
    rotation_range=180,
    width_shift_range=0.9,
    height_shift_range=0.9,
    shear_range=40,
    zoom_range=(0.2, 3),
    horizontal_flip=True,
    vertical_flip=True,
)


def addresses(count: int, seed: int = 0) -> RandomAddresses:
    return RandomAddresses(seed, [str(n) for n in range(count)], [1 + n % 4 for n in range(count)])


@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect"])  # its period is off
@pytest.mark.parametrize("shape", [(30, 44), (46, 32), (1, 7), (64, 64)])
def test_a_view_has_the_bits_of_tensorflows_resampling(fill_mode: str, shape: tuple[int, int]):
    """Rows that are stored were made by it."""
    count = 40
    photos = np.random.default_rng(0).integers(0, 256, (count, *shape, 3), dtype="uint8")
    matrices = geometry.compose(geometry.draw(ANYTHING, addresses(count)), *shape)
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(photos, tf.float32),
        transforms=matrices,
        output_shape=shape,
        fill_value=77.7,
        interpolation="BILINEAR",
        fill_mode=fill_mode.upper(),
    ).numpy()
    for photo, matrix, view in zip(photos, matrices, expected, strict=True):
        warped = geometry.warp(photo, matrix, fill_mode, 77.7).transpose(1, 2, 0)
        np.testing.assert_array_equal(warped, np.minimum(view, 255))


def test_rounding_does_not_lift_white_above_255():
    matrices = geometry.compose(geometry.draw(ANYTHING, addresses(20)), 64, 64)
    white = np.full((64, 64, 3), 255, "uint8")
    assert max(geometry.warp(white, matrix, "nearest", 0).max() for matrix in matrices) == 255


def test_a_range_from_one_on_is_in_pixels():
    address = RandomAddresses(0, ["a"], [1])
    drawn = geometry.draw(Augment(height_shift_range=6.0), address)
    assert geometry.compose(drawn, 100, 200)[0, 5] == np.float32(drawn.rows[0])
    share = geometry.draw(Augment(height_shift_range=0.5), address)
    offset = geometry.compose(share, 100, 200)[0, 5]
    assert offset == pytest.approx(100 * 0.5 * drawn.rows[0] / 6.0)


DRAWN = Augment(
    rotation_range=25,
    width_shift_range=0.2,
    height_shift_range=0.1,
    shear_range=15,
    zoom_range=(0.7, 1.2),
    horizontal_flip=True,
    vertical_flip=True,
)
RANGES = {
    "theta": (-25, 25),
    "rows": (-0.1, 0.1),
    "columns": (-0.2, 0.2),
    "shear": (-15, 15),
    "zx": (0.7, 1.2),
    "zy": (0.7, 1.2),
}


def assert_uniform(values: Any, low: float, high: float) -> None:
    """Within the range, and evenly: Kolmogorov and Smirnov would doubt it once in 10,000 times."""
    assert low <= values.min() and values.max() <= high
    assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-4


def test_distributions_are_those_of_the_settings():
    drawn = geometry.draw(DRAWN, addresses(10_000))
    for name, (low, high) in RANGES.items():
        assert_uniform(getattr(drawn, name), low, high)
    # Five standard errors of a share of a half.
    assert abs(drawn.flip_horizontal.mean() - 0.5) < 0.025
    assert abs(drawn.flip_vertical.mean() - 0.5) < 0.025
    every = [getattr(drawn, name) for name in (*RANGES, "flip_horizontal", "flip_vertical")]
    assert abs(np.corrcoef(every) - np.eye(8)).max() < 0.05


def test_crops_have_the_area_the_shape_and_the_place_that_the_settings_say():
    crop = Augment(random_resized_crop={"scale": [0.2, 0.6], "ratio": [0.5, 2]})
    uniform = addresses(10_000).uniform("crop", 22)
    boxes = geometry.fit_boxes(uniform, (0.2, 0.6), (0.5, 2.0), 100, 150)
    assert boxes.fits.all()
    area, shape = boxes.height * boxes.width / 15_000, boxes.width / boxes.height
    assert (area.min(), area.max()) == pytest.approx((0.2, 0.6), abs=0.001)
    assert (shape.min(), shape.max()) == pytest.approx((0.5, 2.0), abs=0.01)
    assert (boxes.top + boxes.height).max() <= 100 and (boxes.left + boxes.width).max() <= 150
    fully = geometry.fit_boxes(uniform, (0.2, 0.2), (1.0, 1.0), 100, 150)
    assert_uniform(fully.left, 0, 150 - np.sqrt(3_000))
    assert_uniform(fully.top, 0, 100 - np.sqrt(3_000))
    square = geometry.fit_boxes(uniform, (0.1, 0.3), (0.5, 2.0), 100, 100)
    assert_uniform(square.height * square.width / 10_000, 0.1, 0.3)
    assert_uniform(np.log(square.width / square.height), np.log(0.5), np.log(2))
    matrices = geometry.draw_crops(crop, addresses(10_000), 100, 150)
    assert matrices is not None
    np.testing.assert_allclose(matrices[:, 0, 0], boxes.width / 150)
    np.testing.assert_allclose(matrices[:, 1, 1], boxes.height / 100)


def test_a_crop_that_never_fits_is_the_largest_of_the_nearest_shape():
    crop = Augment(random_resized_crop={"scale": [1, 1], "ratio": [2, 3]})
    matrices = geometry.draw_crops(crop, addresses(5), 80, 80)
    assert matrices is not None
    for matrix in matrices:
        np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 0.5, 0], [0, 0, 1]], atol=1e-12)


def test_a_crop_shows_its_part_of_the_photo():
    """Against Pillow's enlargement by 2 of the same part."""
    photo = smooth(40, 60)
    matrix = np.array([[[0.5, 0, 5.0], [0, 0.5, -3.0], [0, 0, 1]]])
    plain = fixed({})
    (whole,) = geometry.compose(plain, 40, 60, matrix)
    view = geometry.warp(photo, whole, "nearest", 0)[0]
    # Centred 5 right and 3 up of the middle, 30 wide and 20 high: columns 20 to 50, rows 7 to 27.
    plane = Image.fromarray(np.ascontiguousarray(photo[..., 0]))
    part = np.asarray(plane.resize((60, 40), Image.Resampling.BILINEAR, box=(20, 7, 50, 27)))
    # Pillow does not look beyond the box.
    np.testing.assert_allclose(view[1:-1, 1:-1], part[1:-1, 1:-1], atol=1e-3)
