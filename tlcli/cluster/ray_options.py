"""Which Ray cluster computes, as options say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RayOptions:
    """Which cluster: that at an address ('auto': of this machine's node), or one of this process.

    Attributes:
        workers: how many; None for as many as the processors, or the GPUs, of all nodes allow.
    """

    address: str | None = None
    workers: int | None = None
