"""A run beside its repetition: the first number that came out otherwise."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError, reason
from tlcli.runs import directory
from tlcli.runs.calibration_record import CalibrationRecord, read_calibration_record
from tlcli.runs.directory import Run
from tlcli.runs.metrics import read_metrics
from tlcli.runs.records import Epoch, Summary, validate_record
from tlcli.system import console
from tlcli.training import saving

#: The member of a Keras archive that holds the weights.
WEIGHTS = "model.weights.h5"

#: The share by which a loss of a trial that was trained beside others may differ.
ROUNDING = 0.02


@dataclass(frozen=True)
class Difference:
    """The first number that came out otherwise.

    Attributes:
        where: stage and epoch, or the name of a tensor.
        what: the name of the value.
        then, now: the value in the run, and in its repetition.
    """

    where: str
    what: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.then}, is now {self.now}"


@dataclass(frozen=True)
class Compared:
    """A run and its repetition.

    Attributes:
        epochs, tensors: how many were compared.
        difference: the first, in the order of time; None where all numbers are the same.
        circumstances: what else is not as it was: versions, processor, threads.
        rounding: of a trial that was trained beside others, the largest difference of a loss, as a
            share of it; such a trial has no tensors to compare.
    """

    run: Path
    again: Path
    epochs: int
    tensors: int
    difference: Difference | None
    circumstances: tuple[str, ...]
    rounding: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        first = self.difference
        return {
            "run": str(self.run),
            "again": str(self.again),
            "identical": first is None and not self.rounding,
            "epochs": self.epochs,
            "tensors": self.tensors,
            "difference": None if first is None else vars(first),
            "circumstances": list(self.circumstances),
            **({} if self.rounding is None else {"rounding": self.rounding}),
        }

    def text(self) -> str:
        """The outcome as people read it."""
        epochs = console.counted(self.epochs, "epoch")
        if self.difference is None and self.rounding is not None:
            lines = [
                f"the same within rounding: the metrics of {epochs}, losses within "
                f"{100 * self.rounding:.2g} % (the trial was trained beside others)"
            ]
        elif self.difference is None:
            lines = [f"identical: the metrics of {epochs}, {self.tensors:,} tensors, all bits"]
        else:
            lines = [f"different, first at {self.difference}"]
        lines += [f"circumstances: {line}" for line in self.circumstances]
        return "\n".join([*lines, f"run: {self.again}"])


def compare(run: Run, again: Run) -> Compared:
    """Compare two runs of one recipe: epochs, test scores, the temperature, then every weight."""
    epochs = read_metrics(run)
    tensors = _tensors(run)
    differences = (
        *_different_epochs(epochs, read_metrics(again)),
        *_different_scores(_summary(run), _summary(again)),
        *_different_temperature(read_calibration_record(run), read_calibration_record(again)),
        *_different_tensors(tensors, _tensors(again)),
    )
    first = differences[0] if differences else None
    circumstances = tuple(_circumstances(run.record(), again.record()))
    return Compared(run.path, again.path, len(epochs), len(tensors), first, circumstances)


def compare_trial(run: Run, again: Run) -> Compared:
    """Compare a trial that has kept no model with its repetition, by the losses of its epochs.

    One that was pruned has fewer epochs; one beside others may differ by `ROUNDING`.
    """
    epochs = read_metrics(run)
    largest, difference = 0.0, None
    for first, second in zip(epochs, read_metrics(again), strict=False):
        for name in ("loss", "val_loss"):
            then, now = (float(getattr(epoch, name) or 0) for epoch in (first, second))
            share = abs(then - now) / max(then, 1e-3)
            largest = max(largest, share)
            if share > ROUNDING and difference is None:
                difference = Difference(
                    f"stage '{first.stage}', epoch {first.epoch}", name, then, now
                )
    circumstances = tuple(_circumstances(run.record(), again.record()))
    return Compared(run.path, again.path, len(epochs), 0, difference, circumstances, largest)


def _different_epochs(earlier: Sequence[Epoch], repeated: Sequence[Epoch]) -> Iterator[Difference]:
    for first, second in zip(earlier, repeated, strict=False):
        where = f"stage '{first.stage}', epoch {first.epoch}"
        for name in Epoch.model_fields:
            values = getattr(first, name), getattr(second, name)
            if name != "seconds" and values[0] != values[1]:
                yield Difference(where, name, *values)
    if len(earlier) != len(repeated):
        yield Difference("the whole run", "epochs", len(earlier), len(repeated))


def _summary(run: Run) -> Summary:
    return validate_record(run.file(directory.SUMMARY), run.read(directory.SUMMARY), Summary)


def _different_scores(earlier: Summary, repeated: Summary) -> Iterator[Difference]:
    for first, second in zip(earlier.stages, repeated.stages, strict=False):
        if first.test != second.test:
            scores = [stage.test and stage.test.model_dump() for stage in (first, second)]
            yield Difference(f"stage '{first.name}'", "test", *scores)


def _different_temperature(
    earlier: CalibrationRecord | None, repeated: CalibrationRecord | None
) -> Iterator[Difference]:
    """A run of tlcli 0.1.0, which was calibrated otherwise or not at all, is passed over."""
    if earlier and repeated and earlier.fitted_on == repeated.fitted_on:
        values = earlier.temperature, repeated.temperature
        if values[0] != values[1]:
            yield Difference("the calibration", "temperature", *values)


def _tensors(run: Run) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of a saved model by its path in the archive; no model is built for it."""
    tensors: dict[str, npt.NDArray[Any]] = {}

    def take(name: str, value: Any) -> None:
        if isinstance(value, h5py.Dataset):
            tensors[name] = np.asarray(value)

    path = run.file(directory.MODEL)
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(WEIGHTS) as member,
            h5py.File(member) as file,
        ):
            file.visititems(take)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error
    return tensors


def _different_tensors(
    earlier: dict[str, npt.NDArray[Any]], repeated: dict[str, npt.NDArray[Any]]
) -> Iterator[Difference]:
    for name in sorted(earlier.keys() | repeated.keys()):
        first, second = earlier.get(name), repeated.get(name)
        if first is None or second is None or first.shape != second.shape:
            shapes = [None if value is None else value.shape for value in (first, second)]
            yield Difference(f"tensor {name}", "shape", *shapes)
        elif first.tobytes() != second.tobytes():
            # By bits, so that two zeros or two values that are no numbers can differ.
            bits = [np.ascontiguousarray(v).view(f"u{v.itemsize}") for v in (first, second)]
            index = np.unravel_index(np.argmax(bits[0] != bits[1]), first.shape)
            place = f"value {list(map(int, index))}"
            yield Difference(f"tensor {name}", place, float(first[index]), float(second[index]))


def _circumstances(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for block in ("versions", "machine"):
        blocks = (record.get(block) for record in (then, now))
        before, after = (value if isinstance(value, dict) else {} for value in blocks)
        for key in saving.differing_keys(before, after):
            yield f"{key} was {before[key]}, is now {after[key]}"
    if now.get("deterministic") is False:
        yield "deterministic: false in the recipe allows different bits every time"
