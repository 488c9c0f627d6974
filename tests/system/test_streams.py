"""What is held back of stderr, and what is shown in the end."""

from __future__ import annotations

import os

import pytest

from tlcli.system.streams import native_stderr_held_back


@pytest.mark.parametrize(
    ("stopped_by", "shown"),
    [(None, ""), (ImportError("broken"), "a log\n"), (KeyboardInterrupt(), "")],
    ids=["nothing", "failure", "signal"],
)
def test_a_log_is_shown_after_a_failure_alone(capfd, stopped_by: BaseException | None, shown: str):
    try:
        with native_stderr_held_back():
            os.write(2, b"a log\n")
            if stopped_by is not None:
                raise stopped_by
    except (ImportError, KeyboardInterrupt):
        pass
    os.write(2, b"the end\n")
    assert capfd.readouterr().err == shown + "the end\n"
