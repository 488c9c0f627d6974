"""Probabilities from a network's output, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tlcli.networks.probabilities import class_logits, class_probabilities, likeliest_class, softmax


def test_softmax_is_scipys():
    logits = np.random.default_rng(0).normal(0, 3, (20, 5))
    assert softmax(logits) == pytest.approx(special.softmax(logits, axis=1))
    assert softmax(np.array([[1000.0, 0.0, -1000.0]])).tolist() == [[1.0, 0.0, 0.0]]


def test_a_sigmoid_unit_stands_for_the_second_class():
    logits = np.float32([[-2.0], [0.0], [3.0]])
    probabilities = class_probabilities(special.expit(logits))
    assert probabilities.dtype == np.float32
    assert probabilities[:, 1] == pytest.approx(special.expit(logits[:, 0]))
    assert probabilities.sum(axis=1).tolist() == [1.0, 1.0, 1.0]
    assert softmax(class_logits(logits)) == pytest.approx(probabilities, abs=1e-6)


def test_outputs_of_more_classes_stay():
    outputs = np.float32([[0.2, 0.3, 0.5]])
    assert class_probabilities(outputs) is outputs
    assert class_logits(outputs) is outputs


def test_the_likeliest_class_is_the_first_of_equal_ones():
    assert likeliest_class(np.array([[0.1, 0.9], [0.5, 0.5]])).tolist() == [1, 0]
