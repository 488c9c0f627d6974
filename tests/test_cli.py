"""The command line: help, exit codes, and one line for whatever a user gets wrong."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tlcli import __version__
from tlcli.cli import main

ROOT = Path(__file__).parents[1]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


# Help


def test_the_commands():
    assert {" ".join(path) for path in commands()} == {
        "init", "sample", "check", "bases", "extract", "finetune", "predict", "preview", "runs",
        "schema", "serve", "reproduce", "probe", "export", "advise", "find-lr", "tune",
        "completion",
        "runs list", "runs diff", "runs note", "runs page", "runs rename", "runs rm",
        "audit", "audit labels", "suggest",
        "cache", "cache merge", "cache prune", "cache verify", "doctor",
        "weights", "weights list", "weights fetch", "weights verify", "weights import",
        "weights export",
        "evaluate", "compare", "curves",
        "explain", "visualize", "visualize activations", "visualize filters", "report",
    }  # fmt: skip


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_every_help_text_has_an_example(cli, path: tuple[str, ...]):
    for flag in ("--help", "-h"):
        shown = cli(*path, flag)
        assert shown.exit_code == 0
        example = shown.stdout.partition("Example:\n")[2].splitlines()[0]
        assert example.strip().startswith(" ".join(("tlcli", *path)))


@pytest.mark.parametrize("path", [*commands()], ids=" ".join)
def test_every_option_has_a_help_text(path: tuple[str, ...]):
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert all(option.help for option in options)
    assert any("--quiet" in option.opts for option in options)


GROUPS = [(), *((name,) for name, it in main.commands.items() if isinstance(it, click.Group))]


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_the_bare_name_of_a_group_is_no_mistake(cli, path: tuple[str, ...]):
    """The first thing that a person types: help, or what the group has to say."""
    shown = cli(*path, prog_name="tlcli")
    assert shown.exit_code == 0
    assert shown.stderr == ""
    if start := {("cache",): "the feature store ", ("runs",): "no runs in "}.get(path):
        assert shown.stdout.startswith(start)
        return
    assert shown.stdout == cli(*path, "--help", prog_name="tlcli").stdout
    assert shown.stdout.startswith(" ".join(("Usage: tlcli", *path, "[OPTIONS] COMMAND")))
    assert "\\n" not in shown.stdout
    assert len(shown.stdout.splitlines()) > 10


def test_the_version(cli):
    for option in ("--version", "-V"):
        assert cli(option).stdout == f"tlcli, version {__version__}\n"


def test_python_dash_m():
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", "--version"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"tlcli, version {__version__}\n")


def test_options_have_the_same_letters_everywhere():
    letters: dict[str, set[str]] = {}
    for path in commands():
        command: click.Command = main
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        for option in command.params:
            for short in (word for word in option.opts if len(word) == 2):
                letters.setdefault(short, set()).add(option.opts[0].strip("-") or short)
    assert {short: names for short, names in letters.items() if len(names) > 1} == {}
    assert {"-c", "-f", "-n", "-o", "-q", "-r", "-s", "-y"} == set(letters)


# What a command may hold


def bodies(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file, and how many statements each holds, nested ones and imports too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            statements = node.body[ast.get_docstring(node) is not None :]
            nested = [part for statement in statements for part in ast.walk(statement)]
            yield node.name, sum(isinstance(part, ast.stmt) for part in nested)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tlcli/commands").glob("*.py")), ids=lambda p: p.stem
)
def test_commands_only_translate(path: Path):
    """Work belongs to the packages below: no function of a command is longer than a dozen."""
    assert {name: count for name, count in bodies(path) if count > 12} == {}


# Usage slips


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "--confg", "x"], "No such option"),
        (["chek"], "No such command"),
        (["predict"], "Missing argument"),
        (["predict", "--top", "0", "a.jpg"], "0 is not in the range x>=1"),
        (["extract", "--pooling", "sum"], "'sum' is not one of"),
        (["cache", "prune"], "say what to remove: --all, or --unused-days, --base or both"),
    ],
)
def test_usage_slips_exit_with_2(cli, words: list[str], message: str):
    done = cli(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


# What is wrong with recipes and data


def test_no_recipe_here(cli):
    for command in ("check", "finetune", "extract"):
        done = cli(command)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == (
            "error: --config: no recipe in this folder; "
            "name one, or write one for your photos with `tlcli init DIR`\n"
        )


def test_a_recipe_that_is_not_there(cli):
    done = cli("finetune", "--config", "x.yaml")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: x.yaml: no such file; `tlcli init DIR` writes a starter recipe\n"
    )


def test_every_problem_is_a_line(cli, write_recipe):
    path = write_recipe("data: {dri: x}\nbase: {name: VGG16}\nseed: x\n", "r.yaml")
    done = cli("finetune", "-c", path, "--set", "head.dropout=2")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: r.yaml:3: seed: found 'x'; must be a whole number",
        "error: r.yaml:1: data.dri: unknown key 'dri'; did you mean 'dir'? "
        "(allowed: dir, csv, columns, split, on_bad_image, duplicates, depth, exclude, labels)",
        "error: --set head.dropout=2: found 2; must be less than 1",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--config", "."],
        ["check", "--config", "r.yaml", "--set", "data.dir=/dev/null"],
        ["check", "--config", "r.yaml", "--set", "base.weights=r.yaml"],
        ["check", "--config", "r.yaml", "--cache-dir", "/dev/null/x"],
        ["finetune", "--config", "r.yaml", "--out", "r.yaml"],
        ["finetune", "--config", "r.yaml", "--out", "/dev/null/x"],
        ["init", "missing"],
        ["init", "r.yaml"],
        ["init", "photos", "--out", "missing/r.yaml"],
        ["init", "photos", "--out", "photos", "--force"],
        ["init", "photos", "--base", ""],
        ["sample", "r.yaml"],
        ["sample", "/dev/null/x"],
        ["bases", ""],
        ["bases", "x\x1by"],
        ["predict", "--run", "missing", "a.jpg"],
        ["predict", "--run", "x" * 5_000, "a.jpg"],
    ],
    ids=" ".join,
)
def test_wrong_input_gives_lines(cli, photos, config, monkeypatch, words: list[str]):
    monkeypatch.chdir(photos.parent)
    done = cli(*words)
    assert done.exit_code == 1
    assert done.stdout in ("", "not ready: 1 error\n")  # the verdict of `check`
    assert done.stderr.endswith("\n")
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    assert "\x1b" not in done.stderr
    assert ".tmp" not in done.stderr


def test_a_bug_keeps_its_traceback(cli, config, monkeypatch: pytest.MonkeyPatch):
    def bug(*_: object, **__: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr("tlcli.training.check.check_recipe", bug)
    with pytest.raises(AssertionError, match="a bug"):
        cli("check", "--config", config)


def test_an_interrupt(cli, config, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tlcli.training.check.check_recipe", interrupted)
    done = cli("check", "--config", config)
    assert done.exit_code == 130
    assert done.stderr == "error: interrupted\n"


# Readers that have enough


def run_unread(*words: object, unread: str = "stdout", **environ: str) -> tuple[int, str]:
    """The exit code and stderr of a command whose output goes to a pipe that nobody reads.

    With `unread="both"` stderr goes there too, as with `2>&1 |`.
    """
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=writer,
        stderr=subprocess.PIPE if unread == "stdout" else writer,
        text=True,
    )
    os.close(writer)
    return done.returncode, done.stderr or ""


#: Command lines whose output nobody reads, and PYTHONUNBUFFERED; each takes a process.
UNREAD = [("", ""), ("--help", "1"), ("schema", ""), ("bases", "1"), ("weights list --json", "")]
MORE_UNREAD = [
    "--version",
    "weights",
    "check --help",
    "weights list --help",
    "bases --json",
    "cache",
]


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        *UNREAD,
        *(pytest.param(words, "" if set_ else "1", marks=pytest.mark.slow)
          for words, set_ in UNREAD),
        *(pytest.param(words, set_, marks=pytest.mark.slow)
          for words in MORE_UNREAD for set_ in ("", "1")),
    ],
)  # fmt: skip
def test_a_reader_that_has_enough_is_no_error(words: str, unbuffered: str):
    assert run_unread(*words.split(), PYTHONUNBUFFERED=unbuffered) == (0, "")


def test_what_a_command_says_of_the_data_does_not_hang_on_its_reader(config: Path):
    bad = ("check", "--config", config, "--set", "head.dropout=2")
    code, err = run_unread(*bad, "--json")
    assert (code, err) == (1, "")
    assert run_unread(*bad, unread="both")[0] == 1
    assert run_unread("schema", unread="both")[0] == 0
    assert run_unread("predict", "--bogus", unread="both")[0] == 2


def test_all_of_a_command_is_done_without_a_reader(config: Path, tmp_path: Path):
    code, err = run_unread("check", "--config", config, "--fix-list", tmp_path / "bad.txt")
    assert code == 0
    assert "bad.txt lists 0 photos to leave out\nnext: tlcli finetune" in err
    assert (tmp_path / "bad.txt").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", ["schema", "--help", "weights list --help"])
def test_a_full_disk_behind_the_output_is_one_line(words: str):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "tlcli", *words.split()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: (standard output|system): no space left on device; "
        r"free some and give the command again\n",
        done.stderr,
    )
