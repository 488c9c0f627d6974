"""Heat maps against the papers' formulas in plain NumPy, on what plain Keras exports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builders.networks import network, noise, save

from tlcli.explain import gradcam
from tlcli.explain.explained_model import open_run
from tlcli.networks.framework import keras, tf

NAMES = ("cats", "dogs", "eels")
SLOW = pytest.mark.slow


def exported(model: Any, layer: str, pixels: np.ndarray, score: Any) -> tuple[np.ndarray, ...]:
    """Activations, and gradients of a score of the logits, by nothing but Keras."""
    logits = model.get_layer("head_logits").output
    outputs = keras.Model(model.inputs[0], [model.get_layer(layer).output, logits])
    with tf.GradientTape() as tape:
        x = tf.constant(pixels)
        tape.watch(x)
        activations, values = outputs(x, training=False)
        total = score(values)
    return activations.numpy(), tape.gradient(total, activations).numpy()


def formula(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM of one photo, index by index: equations 1 and 2 of the paper."""
    rows, columns, channels = activations.shape
    heat = np.zeros((rows, columns))
    for k in range(channels):
        alpha = gradients[:, :, k].sum() / (rows * columns)
        heat += alpha * activations[:, :, k]
    return np.maximum(heat, 0)


def formula_plus_plus(activations: np.ndarray, gradients: np.ndarray, score: float) -> np.ndarray:
    """Grad-CAM++ of one photo for the class score exp(S): equations 19, 5 and 10 of the paper."""
    rows, columns, channels = activations.shape
    y = np.exp(score)
    heat = np.zeros((rows, columns))
    for k in range(channels):
        g, total, weight = gradients[:, :, k], activations[:, :, k].sum(), 0.0
        for i in range(rows):
            for j in range(columns):
                second, third = y * g[i, j] ** 2, y * g[i, j] ** 3
                below = 2 * second + total * third
                alpha = second / below if below else 0.0
                weight += alpha * max(y * g[i, j], 0)
        heat += weight * activations[:, :, k]
    return np.maximum(heat, 0)


@pytest.mark.parametrize(
    ("base", "side", "layer"),
    [
        ("VGG16", 64, "block5_conv3"),
        pytest.param("ResNet50", 96, "conv5_block3_out", marks=SLOW),
        pytest.param("InceptionV3", 128, "mixed10", marks=SLOW),
    ],
)
def test_maps_are_the_formulas_before_and_after_saving(tmp_path, base, side, layer):
    built = network(base, (side, side))
    pixels, numbers = noise(2, side, side), np.array([2, 0])
    path = save(built, tmp_path / "model.keras", NAMES)
    probe = gradcam.Probe(open_run(path), layer)
    probed = probe.layer_gradients(pixels, numbers)
    plain, _ = gradcam.heat_maps(probe, pixels, numbers, "grad-cam")
    better, _ = gradcam.heat_maps(probe, pixels, numbers, "grad-cam++")
    slopes = probe.pixel_gradients(pixels, numbers)
    for photo, number in enumerate(numbers):
        _, slope = exported(
            built.whole, "preprocess", pixels[photo : photo + 1], lambda v, n=number: v[:, n]
        )
        if base == "VGG16":  # its preprocessing turns the channels round, and scales nothing
            # One photo may be computed by other instructions than two, and a unit that is as good
            # as 0 be on in the one and off in the other.
            error = np.linalg.norm(slopes[photo] - slope[0, :, :, ::-1])
            assert error < 0.03 * np.linalg.norm(slope)
        activations, gradients = exported(
            built.whole, layer, pixels[photo : photo + 1], lambda v, n=number: v[:, n]
        )
        scale = np.abs(gradients).max()
        assert scale > 0
        np.testing.assert_allclose(probed.activations[photo], activations[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            probed.gradients[photo], gradients[0], rtol=1e-3, atol=1e-4 * scale
        )
        expected = formula(activations[0], gradients[0])
        assert expected.max() > 0
        np.testing.assert_allclose(plain[photo], expected / expected.max(), atol=1e-3)
        score = float(probed.logits[photo, number])
        expected = formula_plus_plus(activations[0], gradients[0], score)
        np.testing.assert_allclose(better[photo], expected / expected.max(), atol=1e-3)


def test_grad_cam_plus_plus_where_the_formula_divides_by_zero():
    activations = np.array([[[[1.0, -2.0], [1.0, 0.0]]]])
    gradients = np.array([[[[0.0, 1.0], [0.0, 0.0]]]])  # 2 * 1 + -2 * 1 = 0
    assert gradcam.grad_cam_plus_plus(activations, gradients).tolist() == [[[0.0, 0.0]]]


def test_the_two_classes_of_a_sigmoid_have_opposite_gradients(tmp_path):
    built = network(size=(32, 32), classes=2)
    # So sure that the probability has no slope left: explained is the score in front of it.
    built.whole.get_layer("head_logits").bias.assign([200.0])
    probe = gradcam.Probe(
        open_run(save(built, tmp_path / "model.keras", NAMES[:2])), "block5_conv3"
    )
    pixels = noise(1, 32, 32)
    first, second = (probe.layer_gradients(pixels, np.array([n])) for n in (0, 1))
    np.testing.assert_array_equal(first.gradients, -second.gradients)
    _, expected = exported(built.whole, "block5_conv3", pixels, lambda v: v[:, 0])
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(second.gradients, expected, rtol=1e-3, atol=1e-4 * scale)
    likeliest = probe.layer_gradients(pixels, np.array([gradcam.LIKELIEST]))
    assert likeliest.numbers.tolist() == [1]


def test_integrated_gradients_of_a_linear_score_are_its_terms():
    weights = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    photo = noise(1, 4, 5)[0]
    attributions = gradcam.integrated_gradients(photo, lambda points: weights + 0 * points, steps=3)
    np.testing.assert_allclose(attributions, weights * (photo - 127.5), rtol=1e-5)


def test_integrated_gradients_add_up_to_the_score():
    """For a score whose gradient is linear the midpoint rule has no error."""
    weights = np.random.default_rng(1).normal(size=(4, 5, 3))

    def score(points: np.ndarray) -> np.ndarray:
        return (weights * points.astype(np.float64) ** 2).sum(axis=(1, 2, 3))

    photo = noise(1, 4, 5)[0]
    attributions = gradcam.integrated_gradients(
        photo, lambda points: 2 * weights * points, steps=20
    )
    black, white = score(np.stack([np.zeros_like(photo), np.full_like(photo, 255)]))
    assert attributions.sum() == pytest.approx(
        score(photo[None])[0] - (black + white) / 2, rel=1e-5
    )


def test_maps_reach_from_zero_to_one_and_a_cold_one_stays_cold():
    maps = np.array([[[0.0, 2.0]], [[0.0, 0.0]]])
    assert gradcam.scale_to_one(maps).tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]]
    assert gradcam.scale_to_one(maps).dtype == np.float32
