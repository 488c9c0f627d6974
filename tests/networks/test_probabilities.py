"""Probabilities from logits, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tlcli.networks.probabilities import class_logits, likeliest_class, log_softmax, softmax


def test_softmax_is_scipys():
    logits = np.random.default_rng(0).normal(0, 3, (20, 5))
    assert softmax(logits) == pytest.approx(special.softmax(logits, axis=1))
    assert softmax(np.array([[1000.0, 0.0, -1000.0]])).tolist() == [[1.0, 0.0, 0.0]]


def test_log_softmax_is_scipys_and_has_no_limit():
    logits = np.random.default_rng(0).normal(0, 3, (20, 5))
    assert log_softmax(logits) == pytest.approx(special.log_softmax(logits, axis=1))
    assert log_softmax(np.array([[1000.0, 0.0]])).tolist() == [[0.0, -1000.0]]


def test_a_sigmoid_unit_stands_for_the_second_class():
    logits = np.float64([[-2.0], [0.0], [3.0]])
    probabilities = softmax(class_logits(logits))
    assert probabilities[:, 1] == pytest.approx(special.expit(logits[:, 0]))
    assert probabilities.sum(axis=1) == pytest.approx([1.0, 1.0, 1.0])


def test_logits_of_more_classes_stay():
    logits = np.float32([[0.2, 0.3, 0.5]])
    assert class_logits(logits) is logits


def test_the_likeliest_class_is_the_first_of_equal_ones():
    assert likeliest_class(np.array([[0.1, 0.9], [0.5, 0.5]])).tolist() == [1, 0]
