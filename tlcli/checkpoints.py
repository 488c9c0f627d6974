"""Checkpoints: everything training needs to go on after any of its epochs, one file each.

    RUN/checkpoints/epoch-00007.npz    after the seventh epoch of the run

A file is read back before an older one goes, and is never changed. The last two are kept, and with
each of them the one of the best epoch it goes back to. They are zip archives of plain arrays, whose
CRC-32s tell a damaged one; nothing in them is pickled.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError, reason
from tlcli.files import replacing, sync_folder

Array = npt.NDArray[Any]

#: Checkpoints to go back to: the newest, and one more in case it is damaged.
KEPT = 2

_STATE = "state"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Checkpoint:
    """What is known after an epoch of a run, which counts from 1.

    Attributes:
        state: everything that JSON can say; `state["best"]` is the epoch whose checkpoint holds the
            best weights of the stage.
        arrays: everything else, by name.
    """

    epoch: int
    state: dict[str, Any]
    arrays: dict[str, Array]


class Checkpoints:
    """The checkpoints in one folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, made: Checkpoint) -> None:
        """Add a checkpoint, make sure that it can be read, and drop those it makes needless."""
        self._folder.mkdir(exist_ok=True)
        path = self._path(made.epoch)
        text = json.dumps(made.state, allow_nan=False).encode()
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                arrays: dict[str, Any] = {_STATE: np.frombuffer(text, np.uint8), **made.arrays}
                np.savez(file, **arrays)
            _verify(temporary)
        self._drop_needless()

    def newest(self) -> tuple[Checkpoint | None, list[Problem]]:
        """The newest sound checkpoint, and what is wrong with those after it."""
        problems = []
        for epoch in sorted(self._epochs(), reverse=True):
            reading = epoch
            try:
                found = self._read(epoch)
                reading = int(found.state["best"])
                if reading != epoch:
                    self._read(reading)
            except _DAMAGED as error:
                where = str(self._path(reading))
                message = f"this checkpoint cannot be read: {reason(error)}"
                hint = "training resumes from the previous one, or else from the start"
                problems.append(Problem(where, message, hint, "warning"))
            else:
                return found, problems
        return None, problems

    def forget_after(self, epoch: int) -> None:
        """Remove those of later epochs, which are going to be trained anew."""
        for later in self._epochs():
            if later > epoch:
                self._path(later).unlink()

    def arrays(self, epoch: int) -> dict[str, Array]:
        """The arrays of one checkpoint; raises `RunError` where it is damaged."""
        try:
            return self._read(epoch).arrays
        except _DAMAGED as error:
            raise RunError(Problem(str(self._path(epoch)), reason(error))) from error

    def clear(self) -> None:
        """Remove all of them; at once, so that a crash meanwhile leaves all or none."""
        if self._folder.is_dir():
            trash = self._folder.with_name(f".{self._folder.name}-done")
            shutil.rmtree(trash, ignore_errors=True)
            self._folder.rename(trash)
            sync_folder(trash.parent)
            shutil.rmtree(trash, ignore_errors=True)

    def _read(self, epoch: int) -> Checkpoint:
        path = self._path(epoch)
        _verify(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state = json.loads(arrays.pop(_STATE).tobytes())
        if not isinstance(state, dict):
            raise ValueError("its state is no mapping")
        return Checkpoint(epoch, state, arrays)

    def _drop_needless(self) -> None:
        newest = sorted(self._epochs())[-KEPT:]
        needed = set(newest)
        for epoch in newest:
            with suppress(*_DAMAGED), np.load(self._path(epoch), allow_pickle=False) as archive:
                needed.add(int(json.loads(archive[_STATE].tobytes())["best"]))
        for epoch in self._epochs() - needed:
            self._path(epoch).unlink(missing_ok=True)

    def _epochs(self) -> set[int]:
        matches = (
            re.fullmatch(r"epoch-(\d+)\.npz", path.name) for path in self._folder.glob("epoch-*")
        )
        return {int(match[1]) for match in matches if match}

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:05d}.npz"


def _verify(path: Path) -> None:
    """Compare the CRC-32 of every array; raises one of `_DAMAGED`."""
    with zipfile.ZipFile(path) as archive:
        # Ours are not compressed; a small file that unpacks to a large one is not ours.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its arrays are compressed")
        bad = archive.testzip()
    if bad is not None:
        raise ValueError(f"{bad} does not match its checksum")
