"""Scores, losses and classes that follow from logits, against Keras and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.networks.framework import keras, tf
from tlcli.networks.logits import class_scores, cross_entropy, likeliest_class


def draw(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of 50 photos; of two classes there is one logit."""
    generator = np.random.default_rng(3)
    columns = 1 if classes == 2 else classes
    logits = generator.normal(0, 3, (50, columns)).astype(np.float32)
    return logits, generator.integers(0, classes, 50).astype(np.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_one_logit_is_that_of_keras(smoothing: float):
    logits, labels = draw(2)
    loss = keras.losses.BinaryCrossentropy(True, label_smoothing=smoothing, reduction=None)
    expected = loss(labels[:, None].astype(np.float32), logits)
    actual = cross_entropy(tf.constant(labels), tf.constant(logits), smoothing)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_several_logits_is_that_of_keras(smoothing: float):
    logits, labels = draw(4)
    loss = keras.losses.CategoricalCrossentropy(True, label_smoothing=smoothing, reduction=None)
    expected = loss(np.eye(4, dtype=np.float32)[labels], logits)
    actual = cross_entropy(tf.constant(labels), tf.constant(logits), smoothing)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_the_likeliest_class():
    single, _ = draw(2)
    np.testing.assert_array_equal(likeliest_class(tf.constant(single)), single[:, 0] > 0)
    several, _ = draw(4)
    np.testing.assert_array_equal(likeliest_class(tf.constant(several)), several.argmax(axis=1))


def test_the_score_of_one_class_of_each_photo():
    single, numbers = draw(2)
    actual = class_scores(tf.constant(single), tf.constant(numbers))
    np.testing.assert_array_equal(actual, np.where(numbers == 1, single[:, 0], -single[:, 0]))
    several, numbers = draw(4)
    actual = class_scores(tf.constant(several), tf.constant(numbers))
    np.testing.assert_array_equal(actual, several[np.arange(50), numbers])
