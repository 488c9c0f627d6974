"""The answer for one photo, as every form of output has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlcli.evaluation.neighbours import NearPhoto


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one photo: classes by falling probability, or why it cannot be read.

    Attributes:
        log_odds: ln(p / (1 - p)) of the probabilities in `top`, which rank the surest photos.
        error: what is wrong; `hint` is what to do about it, if anything.
        calibrated: whether the probabilities are, and not the network's own.
        threshold: the probability below which an answer is unsure, if one is in force.
        seen_in_training: whether the run was trained on a photo with the same bytes.
        distance: to the nearest training photo, see `networks.nearest`; None where nobody looked.
        distance_limit: the distance beyond which a photo is unknown, if one is in force.
        neighbours: the training photos that are most like it, where they were asked for.
    """

    path: str
    top: tuple[tuple[str, float], ...]
    log_odds: tuple[float, ...] = ()
    error: str | None = None
    hint: str = ""
    calibrated: bool = False
    threshold: float | None = None
    seen_in_training: bool = False
    distance: float | None = None
    distance_limit: float | None = None
    neighbours: tuple[NearPhoto, ...] | None = None

    @property
    def unsure(self) -> bool:
        """Whether the likeliest class stays below the threshold."""
        return self.threshold is not None and self.probability < self.threshold

    @property
    def unknown(self) -> bool:
        """Whether the photo is like none that the network was trained on."""
        if self.distance is None or self.distance_limit is None:
            return False
        return self.distance > self.distance_limit

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top[0][1]

    def as_dict(self) -> dict[str, Any]:
        """One line of `--format jsonl`."""
        if self.error is not None:
            hint = {"hint": self.hint} if self.hint else {}
            return {"path": self.path, "error": self.error, **hint}
        top = [
            {"label": label, "probability": value, "log_odds": odds}
            for (label, value), odds in zip(self.top, self.log_odds, strict=True)
        ]
        values: dict[str, Any] = {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "log_odds": self.log_odds[0],
            "calibrated": self.calibrated,
            "threshold": self.threshold,
            "unsure": self.unsure,
            "unknown": self.unknown,
            "distance": self.distance,
            "distance_limit": self.distance_limit,
            "top": top,
        }
        if self.neighbours is not None:
            values["neighbours"] = [neighbour.as_dict() for neighbour in self.neighbours]
        values |= {"seen_in_training": True} if self.seen_in_training else {}
        return values
