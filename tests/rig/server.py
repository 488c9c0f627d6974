"""Starts tlcli many times: TensorFlow is imported once, and every command is a fork of that.

Orders come as lines of JSON on stdin; for each, a line with the process id and one with the exit
code and the number of file changes go to stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

from builders.networks import thin_vgg16

ACTIONS = {"nothing": 0, "fail": 1, "fail from here": 2, "kill": 3}


def work(order: dict[str, Any]) -> int:
    """What the child does: one command, with its output in a file. Returns its exit code."""
    # A shell that starts the tests in the background has Ctrl-C ignored, which forks inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    sys.argv = ["tlcli", *order["args"]]
    from tlcli.cli import main

    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99
    return 0


def serve() -> None:
    """Fork a child for each order, with a VGG16 that has few filters."""
    faults = ctypes.CDLL(os.environ["LD_PRELOAD"])
    from tlcli import cli  # noqa: F401 - the seconds that this takes are spent once
    from tlcli.training import train  # noqa: F401 - the seconds that this takes are spent once

    del os.environ["LD_PRELOAD"]
    with thin_vgg16():
        _take_orders(faults)


def _take_orders(faults: ctypes.CDLL) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        action = ACTIONS[order["action"]]
        faults.faults_arm(order["folder"].encode(), ctypes.c_long(order["at"]), action)
        pid = os.fork()
        if pid == 0:
            os._exit(work(order))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        ended = {"code": os.waitstatus_to_exitcode(status), "changes": faults.faults_count()}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    serve()
