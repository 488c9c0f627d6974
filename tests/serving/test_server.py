"""Whole servers, as a user starts them: their address, their signals, their models."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tlcli.errors import RunError
from tlcli.runs.directory import MODEL
from tlcli.serving import server
from tlcli.serving.models import name_sources

ROOT = Path(__file__).parents[2]


@contextmanager
def started(*words: object, cwd: Path, **environ: str) -> Iterator[Any]:
    """A server as a process of its own, and its address as it prints it."""
    with (cwd / "stderr.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tlcli", "serve", "--port", "0", *map(str, words)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout
        process.url = process.stdout.readline().strip()  # type: ignore[attr-defined]
        assert process.url, (cwd / "stderr.txt").read_text()  # type: ignore[attr-defined]
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def raw_answer(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What a server sends to bytes that need not be HTTP."""
    with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) as link:
        link.settimeout(20)
        answer = b""
        try:
            for piece in pieces:
                link.sendall(piece)
                time.sleep(pause)
            while chunk := link.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
    return answer


def test_a_server_starts_without_tensorflow_and_answers_what_it_has_when_it_is_stopped(
    trained, tmp_path, test_photos
):
    content = test_photos[0].read_bytes()
    with started("--run", f"pets={trained[0].path}", cwd=tmp_path) as process:
        predict = f"{process.url}v1/models/pets:predict"
        maps = Path(f"/proc/{process.pid}/maps")
        if maps.exists():
            assert "_pywrap_tensorflow" not in maps.read_text()
        files = [("photo", ("a.png", content))] * 64
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(predict, files=files, timeout=30))
        )
        asking.start()
        while "tlcli_waiting_photos{" not in (text := httpx.get(f"{process.url}metrics").text) or (
            'pets"} 0' in text.partition("tlcli_waiting_photos{")[2][:30] and asking.is_alive()
        ):
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert len(answers[0].json()["predictions"]) == 64
        assert process.wait(20) == 0
    assert (tmp_path / "stderr.txt").read_text().splitlines()[-1] == "stopped"
    with pytest.raises(httpx.ConnectError):
        httpx.get(predict)


@pytest.fixture
def quick(trained, tmp_path) -> Iterator[str]:
    """The address of a server with a time limit of a second."""
    words = ("--run", f"pets={trained[0].path}", "--timeout", "1", "--json")
    with started(*words, cwd=tmp_path) as process:
        line = json.loads(process.url)
        assert line["models"] == ["pets"]
        yield line["url"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_slow_bodies_slow_heads_and_what_is_no_http(quick, test_photos):
    head = b"POST /v1/models/pets:predict HTTP/1.1\r\nHost: localhost\r\n"
    slow = raw_answer(quick, head + b"Content-Length: 100\r\n\r\n", b"x", b"y")
    assert slow.startswith(b"HTTP/1.1 408 ") and b"the body did not arrive within 1 s" in slow
    unfinished = raw_answer(quick, head)
    assert unfinished.startswith(b"HTTP/1.1 408 ") and b"the head of the request" in unfinished
    silent = raw_answer(quick)
    assert silent.startswith(b"HTTP/1.1 408 ")
    garbage = raw_answer(quick, b"\x16\x03\x01 what\r\n\r\n")
    assert garbage.startswith(b"HTTP/1.1 400 ") and b'{"error": "the request is not' in garbage
    chunks = raw_answer(quick, head + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\nbad\r\n")
    assert chunks.startswith(b"HTTP/1.1 400 ")
    response = httpx.post(f"{quick}v1/models/pets:predict", content=test_photos[0].read_bytes())
    assert response.status_code == 200


def test_a_large_body_is_refused_before_it_is_sent_to_its_end(quick):
    response = httpx.post(f"{quick}v1/models/pets:predict", content=bytes(40_000_000))
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


def link(pointer: Path, target: Path) -> None:
    """Lead `latest` to another run, as tlcli does."""
    temporary = pointer.with_name(".latest")
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(pointer)


def test_a_new_latest_run_takes_over_without_a_failed_request(trained, tmp_path, test_photos):
    runs = tmp_path / "runs"
    for name in ("one", "two", "broken"):
        shutil.copytree(trained[0].path, runs / name, copy_function=os.link)
    (runs / "broken" / MODEL).unlink()
    (runs / "broken" / MODEL).write_bytes(b"no model")
    link(runs / "latest", runs / "one")
    content = test_photos[0].read_bytes()
    with started(cwd=tmp_path, TLCLI_RUNS=str(runs)) as process, httpx.Client() as client:

        def model() -> dict[str, Any]:
            return client.get(f"{process.url}v1/models").json()["models"][0]

        def wait_until(key: str, value: Any) -> None:
            """Ask for photos until the model has a value; every answer must be right."""
            while model().get(key) != value:
                response = client.post(f"{process.url}v1/models/latest:predict", content=content)
                assert response.status_code == 200, response.text
                probabilities.append(response.json()["probability"])

        probabilities: list[float] = []
        wait_until("run", "one")
        link(runs / "latest", runs / "two")
        wait_until("run", "two")
        assert model()["version"] == 2
        link(runs / "latest", runs / "broken")
        problem = f"{runs / 'broken' / MODEL}: is not a model: File is not a zip file"
        wait_until("problem", problem)
        assert (model()["run"], model()["version"]) == ("two", 2)
        link(runs / "latest", runs / "one")
        wait_until("run", "one")
        assert "problem" not in model() and model()["version"] == 3
        assert len(set(probabilities)) == 1
        text = client.get(f"{process.url}metrics").text
        assert 'tlcli_model_swaps_total{model="latest"} 2' in text
        assert 'tlcli_model_failures_total{model="latest"} 1' in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    log = (tmp_path / "stderr.txt").read_text()
    assert log.count(f"warning: new model of 'latest': {problem}") == 1
    assert "two/model.keras goes on answering" in log


def test_names_of_models(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert name_sources([]) == [("latest", None)]
    assert name_sources(["runs/pets-3", "birds", "x=runs/x-1"]) == [
        ("pets-3", "runs/pets-3"), ("birds", "birds"), ("x", "runs/x-1"),
    ]  # fmt: skip
    assert name_sources([f"{tmp_path}/a=b"]) == [("a=b", f"{tmp_path}/a=b")]
    with pytest.raises(RunError, match="--run b/pets: there are two models 'pets'"):
        name_sources(["a/pets", "b/pets"])
    with pytest.raises(RunError, match="'a:b' cannot be a name in an address"):
        name_sources(["a:b=runs/x"])


def test_an_address_in_use_an_unknown_run_and_an_address_of_another_machine(cli, trained):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cli("serve", "--run", trained[0].path, "--port", port)
        assert result.exit_code == 1
        hint = "stop what listens there, or name another port; 0 is any free one"
        assert result.stderr == f"error: --port {port}: is in use; {hint}\n"
    for words in (["--run", "nowhere"], ["nowhere"]):
        result = cli("serve", *words, "--port", 0)
        assert (result.exit_code, result.stderr) == (
            1, "error: --run nowhere: no such run; train one with `tlcli finetune`\n"
        )  # fmt: skip
    result = cli("serve", "--host", "192.0.2.1", "--port", 0)
    assert result.exit_code == 1
    assert result.stderr.endswith("name an address of this machine\n")


def test_without_the_extra_it_says_what_to_install(cli, trained, monkeypatch):
    monkeypatch.delitem(sys.modules, "tlcli.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delattr("tlcli.serving.server", raising=False)
    result = cli("serve", "--run", trained[0].path)
    assert (result.exit_code, result.stderr) == (
        1, "error: tlcli serve: uvicorn is not installed; install it: pip install 'tlcli[serve]'\n"
    )  # fmt: skip


def test_tokens(tmp_path, monkeypatch, capsys):
    path = tmp_path / "token"
    path.write_text("abc123\n")
    path.chmod(0o600)
    assert server.read_token(path) == "abc123"
    assert server.read_token(None) == ""
    monkeypatch.setenv("TLCLI_TOKEN", "xyz")
    assert server.read_token(None) == "xyz"
    assert capsys.readouterr().err == ""
    path.chmod(0o644)
    server.read_token(path)
    assert "other users can read it" in capsys.readouterr().err
    for bad in ("", "a b", "tökén"):
        path.write_text(bad)
        with pytest.raises(RunError, match="is not a token"):
            server.read_token(path)
    with pytest.raises(RunError, match="cannot be read: no such file"):
        server.read_token(tmp_path / "nowhere")


@pytest.mark.slow  # a thousand bodies
def test_a_thousand_malformed_bodies_leave_the_server_as_it_was(quick, trained, test_photos):
    content = test_photos[0].read_bytes()
    predict = f"{quick}v1/models/pets:predict"
    rng = random.Random(0)
    bomb = b"\x89PNG\r\n\x1a\n" + content[8:16] + b"\x7f\xff\xff\xff" * 2 + content[24:]
    kinds = (
        lambda: content[: rng.randrange(1, len(content))],
        lambda: rng.randbytes(rng.randrange(1, 5000)),
        lambda: bomb,
        lambda: bytes(2_000_000),
        lambda: b'{"instances": [' + b"[" * rng.randrange(1, 50_000),
        lambda: json.dumps({"instances": [rng.random()] * rng.randrange(1, 99)}).encode(),
        lambda: bytes(b ^ (rng.random() < 0.01) * 255 for b in content),
    )
    types = (None, "multipart/form-data; boundary=b", "multipart/form-data", "application/json")

    def ask(count: int) -> None:
        with httpx.Client() as client:
            for number in range(count):
                media = types[number % len(types)]
                headers = {"Content-Type": media} if media else {}
                body = kinds[number % len(kinds)]()
                response = client.post(predict, content=body, headers=headers)
                assert 200 <= response.status_code < 500, response.text
                assert response.headers["content-type"] == "application/json"

    def memory() -> int:
        """Of the server, in bytes."""
        pages = next(
            int((entry / "statm").read_text().split()[1])
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and str(trained[0].path).encode() in _command(entry)
        )
        return pages * os.sysconf("SC_PAGE_SIZE")

    ask(200)
    before = memory()
    ask(1000)
    assert memory() < before + 30_000_000
    assert httpx.post(predict, content=content).status_code == 200


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
