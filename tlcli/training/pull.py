"""The pull of a base to its pretrained weights."""

from __future__ import annotations

from typing import Any

from tlcli.networks.framework import tf
from tlcli.networks.network import Network, Variable


class Pull:
    """L2-SP: the pull of what trains in the base to its pretrained weights (Li et al., 2018).

    Half of `strength` times the sum of the squared distances. The network has been told to remember
    where it started; a pull to where the stage starts would let go a little with every stage.
    """

    def __init__(self, network: Network, strength: float) -> None:
        self._strength = strength
        self._pairs: list[tuple[Variable, Any]] = []
        for name, start in network.start.items():
            layer = network.base.get_layer(name)
            trained = {id(variable) for variable in layer.trainable_variables}
            for variable, value in zip(layer.weights, start, strict=True):
                if id(variable) in trained:
                    self._pairs.append((variable, tf.Variable(value, trainable=False)))

    def penalty(self) -> Any:
        """What is added to the loss."""
        squares = [tf.reduce_sum(tf.square(v.value - start)) for v, start in self._pairs]
        return 0.5 * self._strength * sum(squares)
