"""A model that answers many clients at the same time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import ImageError, Problem
from tlcli.evaluation.predict import Answer, Predictor, Reading
from tlcli.evaluation.prediction import Prediction
from tlcli.images.formats import open_file, read_header
from tlcli.images.loader import THREADS, load_pixels
from tlcli.serving.batcher import Batcher
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.refusals import Refusal, busy, photo_status
from tlcli.system.threads import WorkerPool

Array = npt.NDArray[Any]

#: Photos that Keras computes at once. LiteRT gains nothing from batches (docs/serving.md): there
#: every photo is computed by itself, and is answered as soon as it is.
KERAS_BATCH = 32

#: Seconds that a batch waits for photos that are being decoded.
BATCH_WAIT = 0.004


class Upload(NamedTuple):
    """A photo that a client has sent: how it is called, and its bytes or its pixels.

    Pixels are raw RGB, float32 (height, width, 3), of the size that the model takes.
    """

    name: str
    content: bytes | Array


class Shared(NamedTuple):
    """What all models of a server use."""

    limits: Limits
    metrics: ServerMetrics
    decoders: WorkerPool

    @classmethod
    def create(cls, limits: Limits, metrics: ServerMetrics) -> Shared:
        """With threads of their own for decoding."""
        return cls(limits, metrics, WorkerPool(THREADS, "decode"))


class _Pixels(NamedTuple):
    digest: str
    pixels: Array


class ServedModel:
    """A predictor with its thread, and the photos that are being answered.

    All methods are called in the thread of the event loop.

    Args:
        name: in the addresses of the server.
        version: counts the models that have had this name.
        predictor: whose engine no one else uses.
        why: in a few words, why it has this engine.
    """

    def __init__(
        self, name: str, version: int, predictor: Predictor, shared: Shared, why: str = ""
    ) -> None:
        self.name, self.version, self.predictor, self.why = name, version, predictor, why
        self._shared = shared
        self.pending = 0
        self._users, self._retired = 0, False
        self._seconds = 0.0  # for a photo, a moving average
        size = 1 if predictor.engine.name == "instant" else KERAS_BATCH
        self._batcher: Batcher[Reading] = Batcher(
            predictor.read,
            size=size,
            wait=BATCH_WAIT,
            expected=lambda: self.pending,
            observe=self._observe,
            name=f"compute-{name}",
        )

    @property
    def path(self) -> Path:
        """Of the model file."""
        return self.predictor.path

    def warm_up(self) -> None:
        """Compute once, so that no client waits for what the first computation sets up.

        To be called before any photo is submitted. Raises what the engine raises.
        """
        settings = self.predictor.pixel_settings
        pixels = np.zeros((settings.height, settings.width, 3), np.uint8)
        self._batcher.submit(pixels).result()

    @contextmanager
    def in_use(self) -> Iterator[ServedModel]:
        """Keep the thread running during the block, also if the model is retired meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Let the thread end once the last request of this model is answered."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and self._users == 0:
            self._batcher.close()

    def _observe(self, photos: int, seconds: float) -> None:
        self._shared.metrics.batches.observe(photos, self.name)
        self._shared.metrics.compute_seconds.observe(seconds, self.name)
        each = seconds / photos
        self._seconds = 0.9 * self._seconds + 0.1 * each if self._seconds else each

    async def predict(self, photos: Sequence[Upload], top: int) -> list[Prediction]:
        """The prediction for each photo, or what is wrong with it, as `tlcli predict` gives it."""
        answers = await self.answer(photos)
        return [
            self.predict_from(photo, answer, top)
            for photo, answer in zip(photos, answers, strict=True)
        ]

    def predict_from(self, photo: Upload, answer: Answer | Problem, top: int) -> Prediction:
        """The prediction that an answer comes to; it is counted."""
        most = min(top, len(self.predictor.classes))
        prediction = self.predictor.prediction(photo.name, answer, top=most)
        if prediction.error is None:
            unsure = "yes" if prediction.unsure else "no"
            self._shared.metrics.answers.add(self.name, prediction.label, unsure)
            if prediction.unknown:
                self._shared.metrics.unknown.add(self.name)
        return prediction

    async def answer(self, photos: Sequence[Upload]) -> list[Answer | Problem]:
        """The logits for each photo, or why it cannot be read.

        Raises `Refusal` where too many photos wait already.
        """
        most = self._shared.limits.queue
        if len(photos) > most:
            raise Refusal(413, f"{len(photos)} photos at once are more than the queue of {most}")
        if self.pending + len(photos) > most:
            message = f"the queue of '{self.name}' is full: {most} photos wait already"
            raise busy(message, self.pending * self._seconds)
        self.pending += len(photos)
        with self.in_use():
            tasks = [asyncio.ensure_future(self._answer_one(photo)) for photo in photos]
            for task in tasks:
                task.add_done_callback(self._leave_queue)
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer_one(self, photo: Upload) -> Answer | Problem:
        decoded = await asyncio.wrap_future(self._shared.decoders.submit(self._decode, photo))
        if isinstance(decoded, Problem):
            self._shared.metrics.unreadable.add(self.name)
            return decoded
        reading = await asyncio.wrap_future(self._batcher.submit(decoded.pixels))
        return Answer(reading.logits, decoded.digest, reading.likeness)

    async def check(self, photo: Upload) -> None:
        """Raise `Refusal` for a photo that cannot be decoded."""
        decoded = await asyncio.wrap_future(self._shared.decoders.submit(self._decode, photo))
        if isinstance(decoded, Problem):
            raise Refusal(photo_status(decoded), str(decoded))

    def _leave_queue(self, _: object) -> None:
        self.pending -= 1

    def _decode(self, photo: Upload) -> _Pixels | Problem:
        """The pixels of a photo, and the digest of its bytes; in a thread of the decoders."""
        name, content = photo
        if not isinstance(content, bytes):
            return _Pixels("", content)
        try:
            self._check_size(name, content)
            pixels = load_pixels(content, name, self.predictor.pixel_settings)
        except ImageError as error:
            return error.problems[0]
        return _Pixels(hashlib.sha256(content).hexdigest(), pixels)

    def _check_size(self, name: str, content: bytes) -> None:
        """Raise `ImageError` for a photo of more pixels than the server takes."""
        with open_file(content, name) as stream:
            width, height = read_header(stream, name).size
        if width * height > self._shared.limits.pixels:
            message = f"too many pixels: {width} x {height}"
            hint = f"this server takes {self._shared.limits.pixels:,} at most; scale it down"
            raise ImageError(Problem(name, message, hint, kind="too large"))
