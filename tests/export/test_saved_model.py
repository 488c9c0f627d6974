"""SavedModels of layers that are written in another way than those of VGG16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlcli.export.records import PROBABILITIES
from tlcli.export.saved_model import with_float16_weights, write_saved_model
from tlcli.networks.conversion import freeze
from tlcli.networks.framework import keras, tf


@pytest.mark.parametrize("half", [False, True])
def test_activations_with_gradients_of_their_own_are_written(tmp_path: Path, half: bool):
    """TensorFlow's silu, of EfficientNet, has one, which it cannot save of a frozen graph."""
    layers = keras.layers
    pixels = keras.Input((32, 32, 3))
    features = layers.GlobalAveragePooling2D()(
        layers.Conv2D(40, 3, activation="silu")(layers.Rescaling(1 / 255)(pixels))
    )
    model = keras.Model(pixels, layers.Dense(3, activation="softmax")(features))
    frozen = freeze(model, name=PROBABILITIES)
    folder = tmp_path / "saved_model"
    write_saved_model(with_float16_weights(frozen) if half else frozen, folder, "squash", {})
    photos = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    given = serve(pixels=tf.constant(photos))[PROBABILITIES].numpy()
    np.testing.assert_allclose(given, model.predict_on_batch(photos), atol=1e-3 if half else 1e-6)
