"""What signals do to long work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tlcli import console, interrupts


@pytest.fixture(autouse=True)
def heeded():
    """Signals as on a terminal; a shell has them ignored for what it starts in the background."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_work_goes_on_to_the_next_check(number: int):
    before = signal.getsignal(number)
    done = []
    with pytest.raises(interrupts.Interrupted) as stopped, interrupts.graceful():
        os.kill(os.getpid(), number)
        done.append("the step")
        interrupts.check()
        done.append("another")
    assert done == ["the step"]
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    interrupts.check()


def test_the_end_of_the_work_is_a_check():
    with pytest.raises(interrupts.Interrupted), interrupts.graceful():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_signal_ends_the_process_at_once():
    script = (
        "import os, signal\n"
        "from tlcli import interrupts\n"
        "with interrupts.graceful():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('on', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('and on', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT
    assert done.stdout == "on\n"
    assert done.stderr == "\nstopping after this step; the same signal again stops immediately\n"


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts.graceful():
        os.kill(os.getpid(), signal.SIGHUP)
        interrupts.check()


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str]):
    console.configure(quiet=True)
    with pytest.raises(interrupts.Interrupted), interrupts.graceful():
        os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""
