"""`batch_norm: train`: what else is in the base stays in inference mode, against plain Keras."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders.model_archives import read_model_archive

from tlcli.images import decode
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.metrics import read_metrics
from tlcli.training import order as orders
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

#: Between the two boundaries are two layers of stochastic depth, and one is above the second.
LOW, HIGH = "block6b_add", "block6c_add"
RECIPE = f"""
data: {{dir: 'PHOTOS'}}
base: {{name: EfficientNetB0, weights: random, image_size: 32, batch_norm: train}}
head: {{hidden: [], dropout: 0}}
batch_size: 8
stages:
  - {{name: head, epochs: 1, learning_rate: 0.1, optimizer: sgd}}
  - {{name: deep, freeze_until: {LOW}, epochs: 2, learning_rate: 0.01, optimizer: sgd}}
  - {{name: high, freeze_until: {HIGH}, epochs: 2, learning_rate: 0.01, optimizer: sgd}}
"""


@pytest.fixture
def plan(photos: Path, write_recipe):
    for folder in photos.glob("*/red"):
        shutil.rmtree(folder)
    path = write_recipe(RECIPE.replace("PHOTOS", str(photos)), "norms.yaml")
    return make_plan(preflight(load_recipe(path)))


def load(items):
    pixels = [decode.load_image(i.path, height=32, width=32, resize="squash") for i in items]
    labels = [item.label for item in items]
    return np.stack(pixels).astype(np.float32), np.array(labels, np.float32)[:, None]


def train_with_keras(plan):
    """The losses and the network of the same plan by Keras' `train_on_batch`, from pixels.

    All of the network is called in training mode. Layers are frozen by `trainable`, which keeps
    batch norm in inference mode, and the layers of stochastic depth have a rate of zero.
    """
    chosen = plan.recipe
    network = build_network(plan.row, (32, 32), chosen.head, 2, seed=chosen.seed)
    names = list(plan.row.layers)
    for name in names:
        layer = network.base.get_layer(name)
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    (pixels, labels), val = load(plan.index.of("train")), load(plan.index.of("val"))
    losses = []
    for number, stage in enumerate(chosen.stages):
        first = names.index(stage.freeze_until) + 1 if stage.freeze_until else len(names)
        for place, name in enumerate(names):
            network.base.get_layer(name).trainable = place >= first
        network.whole.compile(
            keras.optimizers.SGD(stage.learning_rate), keras.losses.BinaryCrossentropy(),
            jit_compile=False,
        )  # fmt: skip
        best, kept = np.inf, []
        for epoch in range(stage.epochs):
            order, total = orders.epoch_order(chosen.seed, number, epoch, len(labels)), 0.0
            for start in range(0, len(order), 8):
                picked = order[start : start + 8]
                network.whole.reset_metrics()
                loss = network.whole.train_on_batch(pixels[picked], labels[picked])
                total += float(loss) * len(picked)
            losses.append(total / len(labels))
            val_loss = network.whole.evaluate(*val, verbose=0)
            if val_loss < best:
                best, kept = val_loss, network.whole.get_weights()
        network.whole.set_weights(kept)
    return losses, network


@pytest.mark.slow
def test_only_batch_norm_that_trains_is_in_training_mode(plan):
    run = train(plan).run
    losses, network = train_with_keras(plan)
    np.testing.assert_allclose([epoch.loss for epoch in read_metrics(run)], losses, rtol=1e-4)
    saved = keras.saving.load_model(run.file(directory.MODEL))
    for layer in network.whole.layers:
        pairs = zip(layer.get_weights(), saved.get_layer(layer.name).get_weights(), strict=True)
        for expected, actual in pairs:
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5, err_msg=layer.name)
    # What was called in another way for training is saved as Keras has built it.
    config = read_model_archive(run.file(directory.MODEL))["config.json"]["config"]
    layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    assert {layer["module"] for layer in layers.values()} == {"keras.layers"}
    assert {len(layer["inbound_nodes"]) for layer in layers.values()} == {0, 1}
    assert layers["block6d_drop"]["config"]["rate"] == pytest.approx(0.175)
