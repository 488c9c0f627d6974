"""Real signals for real processes that wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What a script does before it waits. A shell that runs the tests in the background has Ctrl-C
#: ignored, which processes inherit.
BEGIN = """
import signal, sys
from contextlib import nullcontext
from pathlib import Path
from tlcli.system import signals
signal.signal(signal.SIGINT, signal.default_int_handler)
block = signals.defer() if sys.argv[1] == "deferred" else nullcontext()
"""

#: Whether a script waits inside of `signals.defer`, as training does.
MODES = ("plain", "deferred")

#: Seconds after which a process counts as hanging; the waits in the tests are longer.
HANGING = 15


def interrupted(mode: str, waiting: str, *arguments: object) -> str:
    """Run the lines of a script in `block`, send it one SIGINT, and return what it printed.

    It must end by that signal before it counts as hanging. `sys.argv[2:]` are the arguments.
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
        return interrupt(process)
    finally:
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str]) -> str:
    """Let a process get into its wait, send it one SIGINT, and return what it printed."""
    time.sleep(1)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=HANGING)
    assert process.returncode == 128 + signal.SIGINT, errors
    return out + errors
