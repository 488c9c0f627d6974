"""As much of a run's record and outcome as lists and curves tell.

Runs of every version of tlcli have that, and a missing part is no damage.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveInt

from tlcli.runfiles import Share


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class BriefRecord(_Part):
    """As much of `run.json` as a list of runs tells."""

    created: str = "?"
    base: str = "?"


class BriefScore(_Part):
    """As much of a score."""

    accuracy: Share


class BriefStage(_Part):
    """As much of what a stage came to as a list of runs and the curves tell."""

    best_epoch: PositiveInt | None = None
    val_accuracy: Share | None = None


class BriefOutcome(_Part):
    """As much of `summary.json`."""

    stages: tuple[BriefStage, ...] = ()
    test: BriefScore | None = None
