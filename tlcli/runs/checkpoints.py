"""Checkpoints: everything training needs to go on after any of its epochs, one file each.

    RUN/checkpoints/epoch-00007.npz    after the seventh epoch of the run

A file is read back before an older one goes, and is never changed. The last two are kept, each of
which is enough by itself. They are zip archives of plain arrays, whose CRC-32s tell a damaged one;
nothing in them is pickled. A file that cannot be read for another reason is not damaged, and
damaged ones go only after a sound one was written.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError, reason
from tlcli.system.files import make_folder, parse_json, replacing, sync_folder

Array = npt.NDArray[Any]

#: Checkpoints to go back to: the newest, and one more in case it is damaged.
KEPT = 2

#: What the names of arrays begin with that are those of the best epoch, not of the last.
BEST = "best/"

#: An array with JSON in it, and a key there: how many other arrays the file holds. The list of an
#: archive's members has no checksum, and a flipped bit can make it shorter.
_STATE, _COUNT = "state", "arrays"


class _Damaged(ValueError):
    """A file that is missing, or is no sound checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """What is known after an epoch of a run, which counts from 1.

    Attributes:
        state: everything that JSON can say; `state["best"]` is the best epoch of the stage.
        arrays: everything else, by name; those of the best epoch under `BEST`, if it is an earlier
            one.
    """

    epoch: int
    state: dict[str, Any]
    arrays: dict[str, Array]


class Checkpoints:
    """The checkpoints in one folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needed: list[set[int]] = []  # by each of those that a new one leaves in place

    def write(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, check that it can be read, and remove those that are not needed now."""
        make_folder(self._folder)
        path = self._path(checkpoint.epoch)
        state = {**checkpoint.state, _COUNT: len(checkpoint.arrays)}
        text = json.dumps(state, allow_nan=False).encode()
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                header = np.frombuffer(text, np.uint8)
                arrays: dict[str, Any] = {_STATE: header, **checkpoint.arrays}
                np.savez(file, **arrays)
            _verify(temporary)
        self._needed = [*self._needed, _needs(checkpoint)][-KEPT:]
        for epoch in self._epochs().difference(*self._needed):
            self._path(epoch).unlink(missing_ok=True)

    def newest(self) -> tuple[Checkpoint | None, list[Problem]]:
        """The newest sound checkpoint, and what is wrong with those after it.

        Those stay until a sound one was written. Raises `RunError` where one cannot be looked at,
        which does not tell whether it is damaged.
        """
        problems = []
        for epoch in sorted(self._epochs(), reverse=True):
            reading = epoch
            try:
                checkpoint = self._read(epoch)
                needed = _needs(checkpoint)
                if needed != {epoch}:
                    reading = checkpoint.state["best"]
                    best = self._read(reading).arrays
                    best_arrays = {f"{BEST}{name}": array for name, array in best.items()}
                    checkpoint.arrays.update(best_arrays)
            except _Damaged as error:
                where = str(self._path(reading))
                message = f"this checkpoint cannot be read: {reason(error)}"
                hint = "training resumes from the previous one, or else from the start"
                problems.append(Problem(where, message, hint, "warning"))
            else:
                self._needed = [needed]
                return checkpoint, problems
        return None, problems

    def clear(self) -> None:
        """Remove all of them at once, so that a crash leaves either all or none."""
        if self._folder.is_dir():
            away = trash(self._folder)
            shutil.rmtree(away, ignore_errors=True)
            self._folder.rename(away)
            sync_folder(away.parent)
            shutil.rmtree(away, ignore_errors=True)

    def _read(self, epoch: int) -> Checkpoint:
        path = self._path(epoch)
        with _checkpoint_errors(path):
            _verify(path)
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = parse_json(arrays.pop(_STATE).tobytes())
            if not isinstance(state, dict):
                raise ValueError("its state is no mapping")
            state["best"] = int(state["best"])
            if state.pop(_COUNT, len(arrays)) != len(arrays):
                raise ValueError("it lacks some of its arrays")
        return Checkpoint(epoch, state, arrays)

    def _epochs(self) -> set[int]:
        # With as many digits as we write: another spelling of a number would name another file.
        pattern = r"epoch-([0-9]{5}|[1-9][0-9]{5,8})\.npz"
        matches = (re.fullmatch(pattern, path.name) for path in self._folder.glob("epoch-*"))
        return {int(match[1]) for match in matches if match}

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:05d}.npz"


def trash(folder: Path) -> Path:
    """Where the checkpoints of a folder are while they are removed."""
    return folder.with_name(f".{folder.name}-done")


def _needs(sound: Checkpoint) -> set[int]:
    """The checkpoints that it takes to go back to one: itself, and for those of earlier versions of
    tlcli the one of the best epoch."""
    complete = any(name.startswith(BEST) for name in sound.arrays)
    return {sound.epoch} if complete else {sound.epoch, sound.state["best"]}


@contextmanager
def _checkpoint_errors(path: Path) -> Iterator[None]:
    """Raise `_Damaged` for a damaged file, and `RunError` for one that cannot be read just now."""
    try:
        yield
    except OSError as error:
        # EINVAL: an address in the archive leads to before its beginning.
        if error.errno in (errno.ENOENT, errno.EINVAL):
            raise _Damaged(reason(error)) from error
        hint = "nothing was removed; run the command again when it can be read"
        message = f"this checkpoint cannot be read: {reason(error)}"
        raise RunError(Problem(str(path), message, hint)) from error
    # RuntimeError and its NotImplementedError: a flipped bit can claim a password or a new version.
    # SyntaxError and TokenError: numpy reads the header of an array as Python.
    except (
        ValueError, TypeError, KeyError, EOFError, RuntimeError, OverflowError,
        SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise _Damaged(reason(error)) from error


def _verify(path: Path) -> None:
    """Compare the CRC-32 of every array."""
    with zipfile.ZipFile(path) as archive:
        # Ours are not compressed; a small file that unpacks to a large one is not ours.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its arrays are compressed")
        bad = archive.testzip()
    if bad is not None:
        raise ValueError(f"{bad} does not match its checksum")
