"""What signals do to long work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.data import audit
from tlcli.system import console, signals


@pytest.fixture(autouse=True)
def default_handlers():
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
    with pytest.raises(signals.Interrupted) as stopped, signals.defer():
        os.kill(os.getpid(), number)
        done.append("the step")
        signals.raise_if_interrupted()
        done.append("another")
    assert done == ["the step"]
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    signals.raise_if_interrupted()


def test_the_end_of_the_work_is_a_check():
    with pytest.raises(signals.Interrupted), signals.defer():
        os.kill(os.getpid(), signal.SIGINT)


def test_work_that_is_done_is_not_stopped():
    with signals.defer():
        os.kill(os.getpid(), signal.SIGTERM)
        signals.ignore_from_now_on()
        os.kill(os.getpid(), signal.SIGINT)
        signals.raise_if_interrupted()
    with pytest.raises(signals.Interrupted), signals.defer():
        os.kill(os.getpid(), signal.SIGINT)


def test_no_signal_is_lost_between_a_block_and_those_inside_of_it():
    done = []
    with pytest.raises(signals.Interrupted), signals.defer():
        os.kill(os.getpid(), signal.SIGTERM)
        with signals.defer():
            done.append("begun")
    with pytest.raises(signals.Interrupted), signals.defer():
        with signals.defer():
            signals.ignore_from_now_on()
            os.kill(os.getpid(), signal.SIGTERM)
        done.append("the inner work is complete, the outer is not")
        signals.raise_if_interrupted()
        done.append("more")
    assert done == ["the inner work is complete, the outer is not"]
    with signals.defer():
        signals.raise_if_interrupted()


def test_checking_photos_can_be_stopped(tmp_path: Path):
    checked: list[Path] = []
    with pytest.raises(signals.Interrupted), signals.defer():
        os.kill(os.getpid(), signal.SIGTERM)
        audit.check_photos([tmp_path / str(number) for number in range(500)], checked.append)
    assert len(checked) < 100


def test_the_second_signal_ends_the_process_at_once():
    script = (
        "import os, signal\n"
        "from tlcli.system import console, signals\n"
        "console.configure(quiet=False)\n"
        "with signals.defer():\n"
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
    with signals.defer():
        os.kill(os.getpid(), signal.SIGHUP)
        signals.raise_if_interrupted()


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str]):
    console.configure(quiet=True)
    with pytest.raises(signals.Interrupted), signals.defer():
        os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


CLOSED = """
import os, signal, sys
import click
from tlcli.data import audit
from tlcli.system import console, signals
from tlcli.commands.group import CommandGroup

@click.group(cls=CommandGroup)
def main():
    pass

@main.command()
def work():
    with signals.defer():
        print("ready", flush=True)
        sys.stdin.readline()
        os.kill(os.getpid(), signal.SIGHUP)
        console.note("an epoch")
        signals.raise_if_interrupted()

main(["work"])
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_a_terminal_that_was_closed_is_no_other_failure():
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSED], stdin=subprocess.PIPE, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    output = b""
    while not output.endswith(b"\n"):  # all of it, lest writing that is what fails
        output += os.read(controller, 100)
    assert output == b"ready\r\n"
    os.close(controller)
    process.communicate(b"go on\n", timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
