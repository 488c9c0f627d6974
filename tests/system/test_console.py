"""Results, notes, tables and numbers as people read them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from tlcli.system import console, tones


def test_results_and_notes_go_separate_ways(capsys: pytest.CaptureFixture[str]):
    console.result("a result")
    console.result_json({"a": [1, "ü"]})
    console.result_json({"a": 1}, lines=True)
    console.note("a note")
    console.warn("a warning")
    console.error("one\ntwo")
    out, err = capsys.readouterr()
    assert out.startswith("a result\n{\n")
    assert out.endswith('{"a": 1}\n')
    assert err == "a note\nwarning: a warning\nerror: one\nerror: two\n"


def test_quiet_leaves_warnings_errors_and_results(capsys: pytest.CaptureFixture[str]):
    console.configure(quiet=True)
    console.note("a note")
    console.warn("a warning")
    console.error("an error")
    console.result("a result")
    with console.progress(3, "working") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("a result\n", "warning: a warning\nerror: an error\n")


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.result_json(float("nan"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Katze Ünï 猫 🐈", "Katze Ünï 猫 🐈"),
        ("two\nlines", "two\nlines"),
        ("\x1b[31mred\x07\r\t", "\\x1b[31mred\\x07\\r\\t"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("bad\udcff", "bad\\udcff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_nothing_steers_the_terminal(text: str, shown: str):
    assert console.printable(text) == shown


def test_an_error_is_one_line_whatever_it_names(capsys: pytest.CaptureFixture[str]):
    console.error("a\u2028b\x0bc\x85d.jpg: broken")
    assert capsys.readouterr().err == "error: a\\u2028b\\x0bc\\x85d.jpg: broken\n"


def test_a_poor_terminal_shows_escapes(monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.configure(quiet=False)
    console.result("Ünï")
    assert raw.getvalue() == b"\\xdcn\\xef\n"


def test_a_table_aligns_numbers_and_wide_characters():
    rows = [["cats", 7, "1,400"], ["猫", 12, "90"], ["a\nb\x1b", 3, "-1.5"]]
    assert console.table(["class", "photos", "x"], rows) == (
        "class     photos      x\n"
        "--------  ------  -----\n"
        "cats           7  1,400\n"
        "猫            12     90\n"
        "a\\nb\\x1b       3   -1.5"
    )


def test_a_table_without_rows():
    assert console.table(["a", "b"], []) == "a  b\n-  -"


def test_progress_in_a_log_is_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress(4_000, "extracting") as bar:
        bar.update(500)
        bar.update(1_500)
        bar.update(100)
    assert capsys.readouterr().err == (
        "extracting: 2,000 of 4,000 photos (50%), 100.0 photos/s, 20 s left\n"
    )


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with console.progress(4, "extracting") as bar:
        bar.update(4)
    assert "extracting: " in sys.stderr.getvalue()


def test_progress_of_nothing(capsys: pytest.CaptureFixture[str]):
    with console.progress(0, "working") as bar:
        bar.update(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (980, "980 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_440_000, "1.4 MB"),
        (999_960, "1.0 MB"), (2.1e9, "2.1 GB"), (5.5e12, "5.5 TB"), (5e15, "5000.0 TB"),
    ],
)  # fmt: skip
def test_size(number: float, text: str):
    assert console.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"),
        (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "photo", "1 photo"), (0, "photo", "0 photos"), (1_400, "photo", "1,400 photos"),
        (2, "class", "2 classes"), (3, "batch", "3 batches"), (1, "class", "1 class"),
    ],
)  # fmt: skip
def test_counted(number: int, noun: str, text: str):
    assert console.counted(number, noun) == text
    assert console.count(number) == f"{number:,}"


def test_json_results_are_read_by_anything(capsys: pytest.CaptureFixture[str]):
    console.result_json(["a\x1b\udcff"])
    assert json.loads(capsys.readouterr().out) == ["a\x1b\udcff"]


@pytest.mark.parametrize(
    "words",
    [
        ["doctor", "a\x1b]0;pwned\x07\nError: b"], ["--x\x1b[2J"], ["a\x1b]0;pwned\x07"],
        ["curves", "--y\x1b[2J"], ["weights", "z\x1b[2J"], ["predict", "--top", "\x1b[2J", "a"],
        ["finetune", "--resume", "a", "--out", "b\x1b[2J", "more\u202e"],
        ["compare", "a", "b", "\x07"],
    ],
    ids=range(8),
)  # fmt: skip
def test_what_was_pasted_does_not_steer_the_terminal(words: list[str], cli):
    done = cli(*words)
    assert done.exit_code == 2
    assert not set("\x1b\x07\u202e") & set(done.stderr)
    assert done.stderr.count("\nError: ") == 1
    assert "\\x" in done.stderr or "\\u202e" in done.stderr


def test_usage_errors_without_control_characters_stay_as_they_are(cli):
    done = cli("doctor", "more")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2, "Error: Got unexpected extra argument (more)"
    )  # fmt: skip
    assert cli("weights", "--cache-dir", "x").exit_code == 2
    assert "Fine-tune pretrained" in cli().output


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal for both streams; see `on`."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


@contextmanager
def on(terminal: Terminal) -> Iterator[None]:
    with redirect_stdout(terminal), redirect_stderr(terminal):
        yield


RED, GREEN, YELLOW, RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


def say_all(terminal: Terminal) -> None:
    with on(terminal):
        console.error("no such photo")
        console.warn("small")
        console.note("plain")
        console.note("best epoch 3\n  of 9", "best")
        console.result("ready", "good")
        console.result_json({"a": "\x1b[31m"})


def test_a_terminal_gets_colours(terminal: Terminal):
    say_all(terminal)
    assert terminal.getvalue() == (
        f"{RED}error:{RESET} no such photo\n{YELLOW}warning:{RESET} small\nplain\n"
        f"{GREEN}best epoch 3{RESET}\n{GREEN}  of 9{RESET}\n{GREEN}ready{RESET}\n"
        '{\n  "a": "\\u001b[31m"\n}\n'
    )


@pytest.mark.parametrize("why", ["NO_COLOR", "dumb", "--no-color", "pipe"])
def test_nothing_else_gets_colours(terminal: Terminal, why: str, monkeypatch: pytest.MonkeyPatch):
    if why == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    elif why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif why == "pipe":
        monkeypatch.setattr(Terminal, "isatty", lambda _: False)
    else:
        tones.choose(wanted=False)
    say_all(terminal)
    tones.choose(wanted=True)
    assert "\x1b" not in terminal.getvalue()
    assert "error: no such photo\nwarning: small\n" in terminal.getvalue()


def test_a_text_cannot_paint_itself(terminal: Terminal):
    with on(terminal):
        console.warn("\x1b[32mall is well")
    assert terminal.getvalue() == f"{YELLOW}warning:{RESET} \\x1b[32mall is well\n"
