"""Checksums of the weights below each boundary, which are part of the address of stored rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.boundaries import PIXELS

#: The name of a variable, and its values.
NamedValues = tuple[str, npt.NDArray[Any]]


def compute_checksums(
    layers: Iterable[tuple[str, Iterable[NamedValues]]], boundaries: Iterable[str]
) -> dict[str, str]:
    """Hex SHA-256 of the weights up to and including each boundary, in one pass.

    A checksum is taken over the names of layer and variable, the shape and the little-endian
    float32 bytes of each variable in the order of the graph, so that the same weights have the same
    one whatever file they came from. `layers` are those of a base from the bottom up, each with its
    variables.
    """
    requested = set(boundaries)
    digest = hashlib.sha256()
    by_boundary = {PIXELS: digest.hexdigest()} if PIXELS in requested else {}
    for layer, variables in layers:
        for name, given in variables:
            values = np.ascontiguousarray(given, dtype="<f4")
            digest.update(f"{layer}/{name}{values.shape}".encode())
            digest.update(values.data)
        if layer in requested:
            by_boundary[layer] = digest.hexdigest()
            if len(by_boundary) == len(requested):
                break
    return by_boundary
