"""What is counted in an epoch, against Keras' own metrics."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.networks.framework import keras, tf
from tlcli.networks.logits import cross_entropy
from tlcli.runs.records import Epoch
from tlcli.training.progress import make_epoch
from tlcli.training.step import _Tally


@pytest.mark.parametrize("classes", [2, 5, 6, 10])
def test_an_epoch_counts_what_keras_counts(classes: int):
    generator = np.random.default_rng(classes)
    tally, top_5 = (
        _Tally(1 if classes == 2 else classes),
        keras.metrics.SparseTopKCategoricalAccuracy(5),
    )
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    for n in (8, 8, 3):
        labels = generator.integers(0, classes, n).astype(np.int32)
        logits = generator.normal(size=(n, classes)).astype(np.float32)
        if classes == 2:
            logits[:, 0] = 0
        own = tf.constant(logits[:, 1:] if classes == 2 else logits)
        tally.add(tf.constant(labels), own, cross_entropy(tf.constant(labels), own, 0.0))
        accuracy.update_state(labels, logits)
        top_5.update_state(labels, logits)
    means = tally.take()
    assert means.n == 19
    assert means.accuracy == pytest.approx(float(accuracy.result()))
    if classes <= 5:
        assert means.top_5 is None
    else:
        assert means.top_5 == pytest.approx(float(top_5.result()))
        assert means.accuracy < means.top_5 < 1
    assert tally.take() == (0.0, 0.0, 0, None if classes <= 5 else 0.0), "it counts anew"


def test_metrics_have_top_5_only_where_there_are_more_classes():
    tally = _Tally(6)
    epoch = make_epoch("head", 0, tally.take(), tally.take(), 0.1, 0.0)
    written = epoch.model_dump()
    assert (written["top_5"], written["val_top_5"]) == (0.0, 0.0)
    assert Epoch(**written) == epoch
    few = make_epoch("head", 0, _Tally(5).take(), None, 0.1, 0.0)
    assert "top_5" not in few.model_dump() and "val_top_5" not in few.model_dump()
    assert few.model_dump()["val_loss"] is None
