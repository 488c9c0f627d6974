"""The models of a server by name, and putting a new one in the place of an old one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, TlcliError, reason, suggestion
from tlcli.evaluation.engines import choose_engine
from tlcli.evaluation.predict import Predictor
from tlcli.runs import directory
from tlcli.runs.model_file import run_of_model
from tlcli.serving.refusals import Refusal
from tlcli.serving.served_model import ServedModel, Shared
from tlcli.system import console
from tlcli.system.threads import WorkerPool

#: Seconds between two looks at whether a run has changed.
WATCH_SECONDS = 1.0

#: Seconds that a run that has just ended has to make its instant file. Without one it would be
#: loaded with TensorFlow, and a moment later again.
INSTANT_GRACE = 90.0

#: What tells one model from another: for each of its files the path, the time of its last change,
#: its size and its inode.
_Identity = tuple[tuple[str, int, int, int] | None, ...]


class ModelSlot:
    """A name, the model that answers under it now, and where a newer one would appear.

    Args:
        name: in the addresses of the server.
        which: a run directory, its name, or a model file; None for the latest run.
    """

    def __init__(self, name: str, which: str | None, shared: Shared, *, raw: bool) -> None:
        self.name, self._which, self._shared, self._raw = name, which, shared, raw
        self.problem = ""
        self._refused: _Identity | None = None
        self._missing_since = 0.0
        path = self._find()
        self._identity = _identity(path)
        self.current = self._load(path, version=1)

    def _find(self) -> Path:
        return directory.find_model(self._which, named=False).resolve()

    def _load(self, path: Path, version: int) -> ServedModel:
        chosen = choose_engine(path)
        predictor = Predictor(path, raw=self._raw, engine=chosen.engine)
        model = ServedModel(self.name, version, predictor, self._shared, chosen.why)
        model.warm_up()
        return model

    def newer(self) -> ServedModel | None:
        """The model that has taken the place of the current one on the disk, ready to answer.

        None where there is none, or it cannot be loaded, which is printed once. It takes seconds.
        """
        identity: _Identity | None = None
        try:
            path = self._find()
            identity = _identity(path)
            if identity == self._identity:
                self._refused, self.problem, self._missing_since = None, "", 0.0
                return None
            if identity == self._refused or self._lacks_instant(path):
                return None
            model = self._load(path, self.current.version + 1)
        # Whatever is wrong with a new model, the old one goes on.
        except Exception as error:
            self._report(identity, error)
            return None
        self._identity = identity
        self._refused, self.problem, self._missing_since = None, "", 0.0
        return model

    def _lacks_instant(self, path: Path) -> bool:
        """Whether the instant file of a run that has just ended is still to be waited for."""
        if self.current.predictor.engine.name != "instant" or run_of_model(path) is None:
            return False
        if path.with_name(directory.INSTANT).is_file():
            return False
        self._missing_since = self._missing_since or time.monotonic()
        return time.monotonic() - self._missing_since < INSTANT_GRACE

    def _report(self, identity: _Identity | None, error: Exception) -> None:
        text = str(error) if isinstance(error, TlcliError) else reason(error)
        if text != self.problem or identity != self._refused:
            self._shared.metrics.failures.add(self.name)
            hint = f"{self.current.path} goes on answering"
            console.warn(str(Problem(f"new model of '{self.name}'", text, hint)))
        self.problem, self._refused = text, identity

    def swap(self, model: ServedModel) -> None:
        """Have a model answer from now on; requests that the old one has begun are its own."""
        old, self.current = self.current, model
        old.retire()
        self._shared.metrics.swaps.add(self.name)
        console.note(f"{self.name}: {describe(model)} has taken the place of {old.path}")


class ModelTable:
    """All models of a server.

    Args:
        sources: names with what each stands for; see `ModelSlot`.

    Raises:
        RunError: where a run is missing, unfinished or damaged.
    """

    def __init__(
        self, sources: Sequence[tuple[str, str | None]], shared: Shared, *, raw: bool = False
    ) -> None:
        self.shared = shared
        self.slots = {name: ModelSlot(name, which, shared, raw=raw) for name, which in sources}
        self._loader = WorkerPool(1, "load")

    def __iter__(self) -> Iterator[ServedModel]:
        return (slot.current for slot in self.slots.values())

    def find(self, name: str) -> ServedModel:
        """The model that answers under a name now; raises `Refusal` where there is none."""
        if name not in self.slots:
            names = ", ".join(f"'{known}'" for known in self.slots)
            raise Refusal(404, f"no model '{name[:80]}'; there is {names}")
        return self.slots[name].current

    async def watch(self) -> None:
        """Swap models as their runs change, for ever."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once whether runs have changed, and swap the models of those that have."""
        for slot in self.slots.values():
            newer = self._loader.submit(ModelSlot.newer, slot)
            if (model := await asyncio.wrap_future(newer)) is not None:
                slot.swap(model)

    def close(self) -> None:
        """End all threads."""
        self._loader.close()
        for model in self:
            model.retire()
        self.shared.decoders.close()


def name_sources(runs: Sequence[str]) -> list[tuple[str, str | None]]:
    """The names of --run options: that of the directory, or the one before `=`.

    Without any, it is the latest run under the name `latest`. Raises `RunError` for a name that is
    given twice, or cannot stand in an address.
    """
    if not runs:
        return [(directory.LATEST, None)]
    sources: list[tuple[str, str | None]] = []
    for text in runs:
        name, equals, which = text.partition("=")
        if not equals or Path(text).exists():
            path = Path(text)
            name, which = (path.stem if path.is_file() else path.name or path.resolve().name), text
        where = f"--run {text}"
        if not name or any(character in "/:?#%" or character < " " for character in name):
            hint = "put another before it, as in --run pets=FOLDER"
            raise RunError(Problem(where, f"'{name}' cannot be a name in an address", hint))
        if name in dict(sources):
            hint = "put a name before it, as in --run other=FOLDER"
            raise RunError(Problem(where, f"there are two models '{name}'", hint))
        sources.append((name, which))
    return sources


def describe(model: ServedModel) -> str:
    """A model in one line: where it lies, and what computes."""
    return f"{console.one_line(str(model.path))} ({model.predictor.engine.name})"


def model_as_json(slot: ModelSlot) -> dict[str, Any]:
    """What /v1/models says of a model."""
    model, predictor = slot.current, slot.current.predictor
    settings, calibration = predictor.pixel_settings, predictor.calibration
    value: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "run": model.path.parent.name,
        "engine": predictor.engine.name,
        "classes": list(predictor.classes),
        "image_size": [settings.height, settings.width],
        "resize": settings.resize,
        "calibrated": calibration.temperature is not None,
        "threshold": calibration.threshold.probability if calibration.threshold else None,
        "waiting": model.pending,
    }
    return value | ({"problem": slot.problem} if slot.problem else {})


def _identity(path: Path) -> _Identity:
    """What tells the model at a path from all others, its instant file included."""
    return (_file_identity(path), _file_identity(path.with_name(directory.INSTANT)))


def _file_identity(path: Path) -> tuple[str, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (str(path), status.st_mtime_ns, status.st_size, status.st_ino)


def no_version(model: ServedModel, version: str) -> Refusal:
    """The refusal of a version that does not answer (any more)."""
    hint = suggestion(version, [str(model.version)])
    return Refusal(404, f"no version '{version[:20]}' of '{model.name}'; {hint}")
