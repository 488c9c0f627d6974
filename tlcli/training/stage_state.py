"""Stages as a checkpoint keeps them: those that are done, and the one that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tlcli.runs.checkpoints import BEST
from tlcli.runs.records import Epoch, Score
from tlcli.training.kept_weights import Snapshot, StageOutcome

Array = npt.NDArray[Any]

_WEIGHTS, _OPTIMIZER, _OTHERS = "weights/", "optimizer/", "others/"


@dataclass(frozen=True)
class FinishedStage:
    """A stage that is done, and its score on the test photos, as a checkpoint keeps them."""

    outcome: StageOutcome
    test: Score | None

    def as_state(self) -> dict[str, Any]:
        """Plain values for the state of a checkpoint."""
        return {
            "outcome": {
                "name": self.outcome.name,
                "history": [epoch.model_dump() for epoch in self.outcome.history],
                "best": self.outcome.best.model_dump(),
                "averaged": list(self.outcome.averaged),
                "score": self.outcome.score,
            },
            "test": self.test.model_dump() if self.test else None,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FinishedStage:
        """What `as_state` has given; `ValueError`, `KeyError` or `TypeError` for anything else."""
        outcome = state["outcome"]
        history = tuple(Epoch(**epoch) for epoch in outcome["history"])
        test = Score(**state["test"]) if state["test"] else None
        score = outcome.get("score")  # the average of epochs, of which version 0.1.0 did not know
        return cls(
            StageOutcome(
                outcome["name"], history, Epoch(**outcome["best"]),
                tuple(map(int, outcome.get("averaged", ()))),
                None if score is None else (float(score[0]), float(score[1])),
            ),
            test,
        )  # fmt: skip


def snapshot_arrays(snapshot: Snapshot) -> dict[str, Array]:
    """The arrays of a checkpoint, by name."""
    arrays = _packed(_WEIGHTS, snapshot.weights) | _packed(_OPTIMIZER, snapshot.optimizer)
    if snapshot.best_weights is not snapshot.weights:
        arrays |= _packed(BEST + _WEIGHTS, snapshot.best_weights)
    for epoch, weights in snapshot.others.items():
        arrays |= _packed(f"{_OTHERS}{epoch}/", weights)
    return arrays


def read_snapshot(history: tuple[Epoch, ...], best: int, arrays: dict[str, Array]) -> Snapshot:
    """What `snapshot_arrays` has given; `KeyError` or `ValueError` for anything else."""
    weights = _unpacked(_WEIGHTS, arrays)
    numbers = {int(name.split("/")[1]) for name in arrays if name.startswith(_OTHERS)}
    return Snapshot(
        history, best, weights, _unpacked(_OPTIMIZER, arrays),
        _unpacked(BEST + _WEIGHTS, arrays) or weights,
        {epoch: _unpacked(f"{_OTHERS}{epoch}/", arrays) for epoch in sorted(numbers)},
    )  # fmt: skip


def _packed(kind: str, arrays: Sequence[Array]) -> dict[str, Array]:
    return {f"{kind}{number}": array for number, array in enumerate(arrays)}


def _unpacked(kind: str, arrays: dict[str, Array]) -> list[Array]:
    count = sum(name.startswith(kind) for name in arrays)
    return [arrays[f"{kind}{number}"] for number in range(count)]
