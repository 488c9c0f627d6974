"""The temperature of logits, against SciPy's general minimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special

from tlcli.networks import temperature
from tlcli.networks.temperature import fit_temperature, log_loss, log_odds, log_probabilities


def draw_logits(n: int, classes: int, factor: float, seed: int = 0):
    """Logits that are `factor` times too large for their labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, classes))
    chances = special.softmax(logits, axis=1)
    labels = np.array([random.choice(classes, p=row) for row in chances])
    return logits * factor, labels


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_it_is_that_of_a_general_minimiser(classes: int, factor: float):
    logits, labels = draw_logits(400, classes, factor)

    def loss(log_t: float) -> float:
        values = special.log_softmax(logits / math.exp(log_t), axis=1)
        return -values[np.arange(len(labels)), labels].mean()

    truth = optimize.minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-10})
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(math.exp(truth.x), rel=1e-5)
    assert log_loss(logits, labels, fitted) == pytest.approx(truth.fun, abs=1e-8)
    assert log_loss(logits, labels) == pytest.approx(loss(0))


def test_a_known_temperature_is_found_again():
    assert fit_temperature(*draw_logits(20_000, 4, 3.0)) == pytest.approx(3.0, rel=0.03)


def test_what_is_added_to_all_logits_of_a_photo_does_not_matter():
    logits, labels = draw_logits(200, 3, 2.0)
    moved = logits + np.random.default_rng(1).normal(0, 500, (200, 1))
    assert fit_temperature(moved, labels) == pytest.approx(fit_temperature(logits, labels))


def test_the_surest_photos_keep_their_order():
    """Far beyond where float32 probabilities, and those cut off at 1 - 1e-7, are all the same."""
    logits = np.stack([np.zeros(50), np.linspace(5, 900, 50)], axis=1)
    losses = log_probabilities(logits, 2.9)[:, 0]
    assert (np.diff(losses) < 0).all()
    assert losses == pytest.approx(special.log_expit(-logits[:, 1] / 2.9))
    odds = log_odds(logits, 2.9)
    assert odds[:, 1] == pytest.approx(logits[:, 1] / 2.9)
    assert odds[:, 0] == pytest.approx(-odds[:, 1])
    assert (special.expit(odds[:, 1]) == 1).sum() > 40


def test_log_odds_are_those_of_the_probabilities():
    logits, _ = draw_logits(300, 5, 2.0)
    logits[0] = 0.0
    values = special.softmax(logits / 1.3, axis=1)
    assert log_odds(logits, 1.3) == pytest.approx(special.logit(values), rel=1e-9)


def test_photos_that_are_all_right_determine_no_temperature():
    logits, _ = draw_logits(50, 3, 1.0)
    assert fit_temperature(logits, logits.argmax(axis=1)) == 1.0


def test_a_model_worse_than_chance_is_flattened():
    logits, _ = draw_logits(50, 3, 1.0)
    fitted = fit_temperature(logits, logits.argmin(axis=1))
    assert fitted == temperature.HIGHEST_TEMPERATURE


def test_a_mistake_of_a_very_sure_network_counts_in_full():
    logits = np.array([[0.0, 40.0], [40.0, 0.0], [0.0, 40.0]])
    labels = np.array([1, 0, 0])
    assert log_loss(logits, labels) == pytest.approx(40 / 3)
    assert 1 < fit_temperature(logits, labels) <= temperature.HIGHEST_TEMPERATURE
