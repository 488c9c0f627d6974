"""A rig that runs small real jobs again and again, and breaks them at a chosen change of a file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.model_archives import read_model_archive

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative for a signal), changes of files, what it said, and
    the rows that the feature store has committed by then."""

    code: int
    changes: int
    said: str
    rows: int


class Rig:
    """Forks commands from a process that has TensorFlow imported; see `server.py`.

    Everything is below `folder`: the commands run in `folder/work`, which `reset` empties of all
    but the photos and the recipe. `every` thins out long series; RIG_EVERY sets it.
    """

    every = int(os.environ.get("RIG_EVERY", "23"))

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        library = folder / "faults.so"
        if not library.exists():
            source = str(HERE / "faults.c")
            command = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"]
            subprocess.run(command, check=True)
        # Files of the commands come and go in the work folder, so that they are counted.
        (folder / "tmp").mkdir(exist_ok=True)
        environ = {
            **os.environ, "LD_PRELOAD": str(library), "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE.parent}",
        }  # fmt: skip
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True,
        )  # fmt: skip

    def run(
        self,
        *args: str,
        action: str = "nothing",
        at: int = 0,
        after: float | None = None,
        log: str = "log.txt",
    ) -> Ended:
        """One command. `action` is 'nothing', 'fail', 'fail from here' or 'kill', at the change of
        that number; `after` is when it is killed otherwise, in seconds."""
        path = self.folder / log
        path.unlink(missing_ok=True)
        order = {
            "args": args, "action": action, "at": at, "folder": str(self.work), "log": str(path),
            "cwd": str(self.work), "env": self.environ,
        }  # fmt: skip
        self._pid = self._say(order)["pid"]
        timer = threading.Timer(after or 0, self.send, [signal.SIGKILL])
        if after is not None:
            timer.start()
        ended = self._hear()
        timer.cancel()
        text = path.read_text(encoding="utf-8")
        return Ended(ended["code"], ended["changes"], text, self.committed())

    def send(self, number: int) -> None:
        """Send a signal to the command that is running."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    @property
    def environ(self) -> dict[str, str]:
        """Where the commands keep things."""
        return {"TLCLI_CACHE": str(self.work / "cache"), "TLCLI_RUNS": str(self.work / "runs")}

    def committed(self) -> int:
        """Rows in the indexes of the store, counted in copies: opening one would repair it."""
        count = 0
        for index in self.work.glob("cache/features/*/index.sqlite"):
            with tempfile.TemporaryDirectory() as copy:
                for file in index.parent.glob("index.sqlite*"):
                    shutil.copy(file, copy)
                with closing(sqlite3.connect(Path(copy) / index.name)) as opened:
                    if opened.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
                        count += opened.execute("SELECT COUNT(*) FROM rows").fetchone()[0]
        return count

    def reset(self) -> None:
        """Forget every run and feature."""
        for name in ("cache", "runs", "out"):
            shutil.rmtree(self.work / name, ignore_errors=True)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def _say(self, order: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self._server.stdout is not None
        return json.loads(self._server.stdout.readline())


def outcome(run: Path) -> dict[str, Any]:
    """Everything in a run that must not depend on how often it was stopped."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    stages = [_timeless(stage) for stage in summary["stages"]]
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        split = list(csv.reader(file))
    return {
        "model": read_model_archive(run / "model.keras"),
        "metrics": [_timeless(json.loads(line)) for line in lines],
        "stages": stages,
        "calibration": json.loads((run / "calibration.json").read_text(encoding="utf-8")),
        "test": summary["test"],
        "split": split,
    }


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "seconds"}
