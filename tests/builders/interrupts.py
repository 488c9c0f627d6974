"""Real signals for real processes that wait."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What a script does before it waits. A shell that runs the tests in the background has Ctrl-C
#: ignored, which processes inherit; and notes are printed for a command line alone.
BEGIN = """
import signal, sys
from contextlib import nullcontext
from pathlib import Path
from tlcli.system import console, signals
console.configure(quiet=False)
signal.signal(signal.SIGINT, signal.default_int_handler)
block = signals.defer() if sys.argv[1] == "deferred" else nullcontext()
"""

#: Whether a script waits inside of `signals.defer`, as training does.
MODES = ("plain", "deferred")

#: Seconds after which a process counts as hanging; the waits in the tests are longer.
HANGING = 15


def interrupted(mode: str, waiting: str, *arguments: object, rests: bool = True) -> str:
    """Run the lines of a script in `block`, send it one SIGINT, and return what it printed.

    It must end by that signal before it counts as hanging. `sys.argv[2:]` are the arguments.
    With `rests=False` it computes instead of waiting.
    """
    lines = "".join(f"        {line}\n" for line in waiting.strip().splitlines())
    script = f"{BEGIN}try:\n    with block:\n        print('ready', flush=True)\n{lines}"
    script += f"except KeyboardInterrupt:\n    sys.exit({128 + signal.SIGINT})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script, mode, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        return interrupt(process, rests=rests)
    finally:
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str], *, rests: bool = True) -> str:
    """Let a process get into its wait, send it one SIGINT, and return what it printed."""
    if rests and Path("/proc/self/task").exists():
        _let_it_rest(process.pid)
    else:
        time.sleep(1)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=HANGING)
    assert process.returncode == 128 + signal.SIGINT, errors
    return out + errors


def _let_it_rest(pid: int) -> None:
    """Return once a process has rested for half a second, or has not within five.

    A process that still imports, on a machine with other work, is not in its wait yet.
    """
    rested, before = 0, ""
    for _ in range(50):
        time.sleep(0.1)
        now = _activity(pid)
        rested = rested + 1 if now == before and "R" not in now else 0
        if rested == 5:
            return
        before = now


def _activity(pid: int) -> str:
    """State and processor time of every thread of a process, as /proc gives them."""
    lines = []
    for stat in sorted(Path(f"/proc/{pid}/task").glob("*/stat")):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            lines.append(" ".join((fields[0], fields[11], fields[12])))
    return "\n".join(lines)
