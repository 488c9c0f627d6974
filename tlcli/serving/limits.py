"""What a client may ask of a server at once, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of a server; whatever exceeds one is refused with its status and a sentence.

    Attributes:
        body: bytes of a request.
        pixels: of a photo.
        files: photos in a request.
        queue: photos of a model that are waiting or in work.
        seconds: for a request to arrive, and again for it to be answered.
        connections: open at the same time.
    """

    body: int = 32_000_000
    pixels: int = 50_000_000
    files: int = 64
    queue: int = 256
    seconds: float = 30.0
    connections: int = 128

    @property
    def held(self) -> int:
        """Bytes of all requests that may lie in memory at the same time."""
        return 8 * self.body
