"""From logits to what follows from them: scores, losses, the likeliest class.

A network for two classes has one logit for a photo, that of the second class before the sigmoid;
one for more classes has a logit for each class before the softmax. Every function takes both
forms, (n, 1) and (n, classes), as TensorFlow tensors; `probabilities` has the same in NumPy.
"""

from __future__ import annotations

from typing import Any

from tlcli.networks.framework import tf


def class_scores(logits: Any, class_numbers: Any) -> Any:
    """The score of one class of each photo, shape (n,); `class_numbers` says which, shape (n,).

    A single logit is the score of the second class; that of the first is the same negated.
    """
    if logits.shape[-1] == 1:
        return tf.where(class_numbers == 1, logits[:, 0], -logits[:, 0])
    return tf.gather(logits, class_numbers, batch_dims=1)


def cross_entropy(labels: Any, logits: Any, smoothing: float) -> Any:
    """Cross-entropy of each photo, shape (n,); `labels` are class numbers, shape (n,).

    Smoothing spreads that share of the target evenly over the classes, as Keras' losses do.
    """
    classes = logits.shape[-1]
    if classes == 1:
        targets = tf.cast(labels, tf.float32) * (1 - smoothing) + 0.5 * smoothing
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits[:, 0])
    targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def focal_loss(labels: Any, logits: Any, gamma: float) -> Any:
    """Cross-entropy times (1 - p)**gamma, p the probability of the label, of each photo, (n,).

    Photos that are classified well already count less (Lin et al., 2017).
    """
    entropy = cross_entropy(labels, logits, 0.0)
    # The gradient of a small power of 0 is no number.
    missing = tf.maximum(1 - tf.exp(-entropy), 1e-7)
    return missing**gamma * entropy


def is_among_likeliest(labels: Any, logits: Any, k: int) -> Any:
    """Whether the label of each photo is among its k likeliest classes, bool, shape (n,).

    `logits` are those of more than k classes. Of classes that are equally likely all count.
    """
    return tf.math.in_top_k(labels, logits, k)


def likeliest_class(logits: Any) -> Any:
    """The number of the class with the highest probability, int32, shape (n,)."""
    if logits.shape[-1] == 1:
        return tf.cast(logits[:, 0] > 0, tf.int32)
    return tf.argmax(logits, axis=-1, output_type=tf.int32)
