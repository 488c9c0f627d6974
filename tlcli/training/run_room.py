"""Whether the disk has room for the directory of a run, before anything is spent on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tlcli.errors import Problem
from tlcli.runs.checkpoints import KEPT
from tlcli.system import console, files
from tlcli.training.stage_plan import StagePlan

#: Bytes of a weight, and copies of the trained ones in a checkpoint: the weights, and what Adam
#: remembers of each, which is twice as much.
_WEIGHT, _COPIES = 4, 3

#: Checkpoints on the disk at a time: those kept, the best epoch of each, and the one being written.
_AT_A_TIME = 2 * KEPT + 1


def check_run_room(folder: Path, stages: Sequence[StagePlan]) -> Iterator[Problem]:
    """What stands in the way of a run with these stages in `folder`: too little free room.

    An error where not even the model and one checkpoint fit, a warning where all that a run keeps
    at a time may not. A stopped run has a part of it on the disk already.
    """
    folder = files.nearest_existing(folder)
    free = shutil.disk_usage(folder).free
    model = _WEIGHT * (stages[0].trainable + stages[0].frozen)
    checkpoint = _WEIGHT * _COPIES * max(stage.trainable for stage in stages)
    least, most = model + checkpoint, model + _AT_A_TIME * checkpoint
    if free >= most:
        return
    hint = "free some, or name a folder on another disk with --out"
    needs = f"needs {console.size(least)}" if free < least else f"may need {console.size(most)}"
    message = f"the run {needs}, but only {console.size(free)} is free"
    yield Problem(str(folder), message, hint, "error" if free < least else "warning")
