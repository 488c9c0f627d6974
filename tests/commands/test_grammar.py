"""One grammar of options: the same word means the same in every command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from builders.runs import write_finished_run

from tlcli.cli import main
from tlcli.commands.group import SHORT
from tlcli.commands.names import RunName
from tlcli.runs import directory
from tlcli.runs.root import choose_runs_root

#: Commands whose whole output is a document for another program: JSON already, and a shell script.
DOCUMENTS = {"schema", "completion"}


def leaves(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Commands that do something; of a group those in it, and itself where it does, too."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from leaves(command, words)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield words, command


LEAVES = dict(leaves())


def options(command: click.Command) -> Iterator[click.Option]:
    return (each for each in command.params if isinstance(each, click.Option) and not each.hidden)


def takes(command: click.Command, name: str) -> bool:
    return any(name in option.opts for option in options(command))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_that_prints_a_result_prints_json(name: str):
    command = LEAVES[name]
    assert takes(command, "--json") == (name not in DOCUMENTS)
    assert takes(command, "--quiet")
    assert takes(command, "--no-color")


def test_a_letter_is_the_same_option_everywhere():
    meant: dict[str, set[str]] = defaultdict(set)
    for command in LEAVES.values():
        for option in options(command):
            long = next(word for word in option.opts if word.startswith("--"))
            for letter in (word for word in option.opts if not word.startswith("--")):
                meant[letter].add(long)
            if long in SHORT:
                assert SHORT[long] in option.opts
    assert meant == {
        "-c": {"--config"}, "-f": {"--force"}, "-n": {"--number"}, "-o": {"--out"},
        "-q": {"--quiet"}, "-r": {"--run"}, "-s": {"--set"}, "-y": {"--yes"},
    }  # fmt: skip


def test_an_option_is_a_switch_in_every_command_or_in_none():
    kinds: dict[str, set[bool]] = defaultdict(set)
    for command in LEAVES.values():
        for option in options(command):
            for word in option.opts:
                kinds[word].add(option.is_flag)
    assert {word for word, kind in kinds.items() if len(kind) > 1} == set()
    for word in ("--out", "--config", "--runs-dir"):
        kinds_of_value = {
            type(option.type)
            for command in LEAVES.values()
            for option in options(command)
            if word in option.opts
        }
        assert kinds_of_value == {click.Path}


@pytest.mark.parametrize("name", LEAVES)
def test_where_a_run_is_named_the_folder_of_the_runs_can_be_named(name: str):
    command = LEAVES[name]
    named = [each for each in command.params if isinstance(each.type, RunName)]
    assert takes(command, "--runs-dir") or not named
    for option in options(command):
        if "--run" in option.opts:
            assert isinstance(option.type, RunName)
    optional = [each for each in named if isinstance(each, click.Argument) and not each.required]
    assert takes(command, "--run") or not optional  # RUN, or --run RUN
    words = [each for each in command.params if isinstance(each, click.Argument)]
    if takes(command, "--run") and not takes(command, "--config"):
        assert words  # a bare word is a run where no photo is expected


@pytest.mark.parametrize("name", LEAVES)
def test_what_a_command_takes_it_takes_with_its_companion(name: str):
    command = LEAVES[name]
    assert takes(command, "--force") or not takes(command, "--out")
    assert takes(command, "--config") == takes(command, "--set")


def test_what_is_written_to_be_looked_at_can_be_opened():
    assert {name for name, command in LEAVES.items() if takes(command, "--open")} == {
        "audit labels", "curves", "evaluate", "explain", "find-lr", "predict", "preview", "probe",
        "report", "runs page", "serve", "suggest", "tune", "visualize activations",
        "visualize filters",
    }  # fmt: skip


def test_runs_dir_is_where_runs_are_looked_for(cli, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    run = write_finished_run(elsewhere / "pets-1", tmp_path / "pets", each=2)
    choose_runs_root(elsewhere)
    directory.mark_latest(run)
    choose_runs_root(None)
    assert "no run here yet" in cli("evaluate").stderr
    done = cli("evaluate", "--runs-dir", elsewhere)
    assert done.exit_code == 0, done.stderr
    assert "the latest run: pets-1" in done.stderr
    # What is named next has to be found without the option, too.
    last = done.stderr.splitlines()[-1]
    assert last.startswith("next: tlcli report --explain --run ") and last.endswith("pets-1")
    assert "pets-1" in cli("runs", "--runs-dir", elsewhere).stdout
    assert "no run here yet" in cli("evaluate").stderr  # a command leaves nothing behind
    refused = cli("predict", "pets-1", "--runs-dir", elsewhere)
    assert refused.stderr.endswith("pets-1 is a run, not a photo; name it with --run pets-1\n")


def test_without_a_display_the_path_is_said(cli, tmp_path: Path, monkeypatch):
    run = write_finished_run(tmp_path / "pets-1", tmp_path / "pets", each=2)
    opened = []
    monkeypatch.setattr(click, "launch", lambda path: opened.append(path) or 0)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    page = run.file(directory.REPORT)
    done = cli("report", run.path, "--open")
    assert f"--open: there is no display here; look at {page}\n" in done.stderr
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    done = cli("report", run.path, "--open", "--json")
    assert "--open" not in done.stderr
    assert opened == [str(page)]
    monkeypatch.setattr(click, "launch", lambda path: 1)
    done = cli("curves", run.path, "--open")
    assert f"--open: no program here opens it; look at {run.path}/curves.png\n" in done.stderr
    done = cli("evaluate", run.path, "--open")
    assert f"--open: no program here opens it; look at {run.path}/confusion-test.png" in done.stderr
    done = cli("evaluate", run.path, "--raw", "--open")
    assert "--open: no picture or page was written\n" in done.stderr
