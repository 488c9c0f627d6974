"""From what a network puts out to probabilities and the likeliest class, in NumPy.

A network for two classes ends in one sigmoid unit, which stands for the second class; one for more
classes ends in a softmax. `logits` has the same for tensors while a network is trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Top-k accuracy is given where there are more than k classes.
TOP_K = 5


def class_logits(logits: Array) -> Array:
    """Logits before sigmoid, (n, 1), or softmax, (n, classes) -> those of a softmax, (n, classes).

    Two classes with the logits 0 and l have the same softmax as a sigmoid of l.
    """
    if logits.shape[1] == 1:
        return np.concatenate([np.zeros_like(logits), logits], axis=1)
    return np.asarray(logits)


def softmax(logits: Array) -> Array:
    """Logits -> probabilities, shape (n, classes), without overflow."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """Logits -> ln of their probabilities, shape (n, classes), without overflow or a limit."""
    below = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def likeliest_class(values: Array) -> Array:
    """The number of the class with the highest value, shape (n,); of equal ones the first.

    Values are logits or probabilities, shape (n, classes).
    """
    return np.asarray(np.argmax(values, axis=1))
