"""Options that several commands share, and words that stand where an option belongs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from builders.runs import write_finished_run

from tlcli.cli import main
from tlcli.runs import directory
from tlcli.runs.directory import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The run pets-1, where runs are looked for by name."""
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "pets", each=2)


def usage_error(done) -> str:
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr.splitlines()[-1].removeprefix("Error: ")


# A run


@pytest.mark.parametrize(
    "command", ["evaluate", "report", pytest.param("curves", marks=pytest.mark.slow)]
)
def test_a_run_is_a_bare_word_or_an_option(cli, run: Run, command: str):
    bare, named = (cli(command, *words, "--json") for words in (["pets-1"], ["--run", "pets-1"]))
    assert bare.exit_code == named.exit_code == 0, bare.stderr
    assert json.loads(bare.stdout) == json.loads(named.stdout)
    assert cli(command, run.path, "--json").stdout == named.stdout
    both = usage_error(cli(command, "pets-1", "--run", "pets-1"))
    assert both == "RUN and --run: name the run once"
    assert cli(command, "pets-2").stderr == (
        "error: --run pets-2: no such run; did you mean 'pets-1'? (allowed: pets-1)\n"
    )


def test_photos_in_the_place_of_the_run_to_evaluate(cli, run: Run, photos: Path):
    assert usage_error(cli("evaluate", photos)) == (
        f"{photos} is a folder, not a run; to evaluate on its photos: --dir {photos}"
    )


# A recipe


@pytest.mark.parametrize("command", ["finetune", "extract", "check", "preview"])
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pets.yaml", "pets.yaml is no option; name a recipe with --config pets.yaml"),
        ("my pets.yml", "my pets.yml is no option; name a recipe with --config 'my pets.yml'"),
        ("seed=3", "seed=3 is no option; change a setting with --set seed=3"),
        (".", ". is a folder; `tlcli init .` writes a recipe for its photos"),
        ("pets", "pets is no option; name a recipe with --config"),
    ],
)
def test_a_bare_word_is_told_which_option_it_belongs_to(cli, command: str, word: str, message: str):
    assert usage_error(cli(command, word)) == message


# Names that options had before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract", "--data", "new photos"], "--data is now --unlabelled 'new photos'"),
        (["reproduce", "--weights", "w.h5"], "--weights is now --weights-file w.h5"),
        (
            ["evaluate", "--data", "new"],
            "--data says where the photos of the run are now, and needs --split; "
            "to evaluate on other photos: --dir new",
        ),
    ],
)
def test_the_former_name_of_an_option_says_the_new_one(cli, words: list[str], message: str):
    assert usage_error(cli(*words)) == message
    assert f"{words[1]} " not in cli(words[0], "--help").stdout or words[0] == "evaluate"


def commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", deeper) for inner, deeper in commands(command))


def test_an_option_means_the_same_in_every_command():
    """--data is where the photos of a run are now, --weights which weights a base has."""
    helps: dict[str, dict[str, str | None]] = {"--data": {}, "--weights": {}}
    for name, command in commands(main):
        for option in command.params:
            for spelling in helps.keys() & set(option.opts):
                if isinstance(option, click.Option) and not option.hidden:
                    helps[spelling][name] = option.help
    assert helps["--data"].keys() == {"evaluate", "export", "report", "reproduce"}
    assert set(helps["--data"].values()) == {
        "Where the photos of the run are now, if they were moved."
    }
    assert helps["--weights"].keys() == {
        "explain", "visualize activations", "visualize filters"
    }  # fmt: skip
    assert all("base" in str(text) for text in helps["--weights"].values())
