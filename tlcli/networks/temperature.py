"""Temperature scaling: the one number by which logits are divided so that probabilities are honest.

A network that is right nine times in ten should give a probability of 0.9. Fine-tuned ones mostly
give a higher one; dividing their logits by one number, fitted on the validation photos, corrects
most of that and changes no answer (Guo et al., "On Calibration of Modern Neural Networks", ICML
2017). Logits are those of a softmax, shape (n, classes): see `probabilities.class_logits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.probabilities import log_softmax, softmax

Array = npt.NDArray[Any]

#: A temperature outside of these is no calibration: there are too few mistakes to determine one.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0

#: Bisection or Newton steps at most; ten are usual.
MAX_STEPS = 200


def log_probabilities(logits: Array, temperature: float = 1.0) -> Array:
    """ln of the probabilities of `logits / temperature`, float64, shape (n, classes)."""
    return log_softmax(np.asarray(logits, np.float64) / temperature)


def log_odds(logits: Array, temperature: float = 1.0) -> Array:
    """ln(p / (1 - p)) of the probabilities of `logits / temperature`, float64, shape (n, classes).

    A probability is 1 to every digit of a float64 from odds of 37 on; its odds go on growing.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    values = log_softmax(scaled)
    rows, first = np.arange(len(scaled)), scaled.argmax(axis=1)
    others = scaled.copy()
    others[rows, first] = -np.inf
    highest = others.max(axis=1)
    rest = highest + np.log(np.exp(others - highest[:, None]).sum(axis=1))
    # All but the likeliest class have a probability of 1/2 at most, so that 1 - p is exact enough.
    values[rows, first] = -np.inf
    values -= np.log1p(-np.exp(values))
    values[rows, first] = scaled[rows, first] - rest
    return np.asarray(values)


def log_loss(logits: Array, labels: Array, temperature: float = 1.0) -> float:
    """The mean of -ln(probability of the true class); `labels` are class numbers, shape (n,)."""
    values = log_probabilities(logits, temperature)
    return float(-values[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature under which the labels of validation photos, n at least 1, are likeliest.

    Minimises the log loss over b = 1 / temperature, in which it is convex, with Newton's steps, and
    bisection where one would leave the bracket. Where every photo is right, or nearly, the loss
    falls for ever as b grows: such photos determine no temperature, and it stays 1, so that
    probabilities do not become more extreme without evidence.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    if _slopes(logits, labels, high)[0] <= 0:
        return 1.0
    if _slopes(logits, labels, low)[0] >= 0:
        return HIGHEST_TEMPERATURE
    b = 1.0
    for _ in range(MAX_STEPS):
        slope, curvature = _slopes(logits, labels, b)
        if slope > 0:
            high = b
        else:
            low = b
        step = b - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - b) <= 1e-12 * b:
            break
        b = following
    return 1 / b


def _slopes(logits: Array, labels: Array, b: float) -> tuple[float, float]:
    """First and second derivative of the log loss by b, where logits are multiplied by b."""
    p = softmax(b * logits)
    mean = (p * logits).sum(axis=1)
    spread = (p * (logits - mean[:, None]) ** 2).sum(axis=1)
    true = logits[np.arange(len(labels)), labels]
    return float((mean - true).mean()), float(spread.mean())
