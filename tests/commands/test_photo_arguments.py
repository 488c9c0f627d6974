"""The photos that a command line names, and what stands in their place by mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tlcli.commands import photo_arguments
from tlcli.errors import DataError
from tlcli.runs import directory


def make_run(name: str) -> Path:
    """A folder that is a run as far as a command line needs to know."""
    path = directory.runs_root() / name
    path.mkdir(parents=True)
    (path / directory.RECORD).write_text("{}")
    return path


@pytest.mark.parametrize("command", ["predict", "explain", "visualize activations"])
def test_a_run_or_a_model_in_the_place_of_photos(cli, command: str):
    run = make_run("my pets")
    for word, name, option in (
        ("my pets", "my pets is a run", "'my pets'"),
        (run, f"{run} is a run", f"'{run}'"),
        ("model.keras", "model.keras is a model", "model.keras"),
    ):
        done = cli(*command.split(), word)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1] == (
            f"Error: {name}, not a photo; name it with --run {option}"
        )


def test_a_list_from_nowhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)  # as with `tlcli predict - <&-`
    with pytest.raises(DataError, match="-: standard input is closed; pipe a list of photos to it"):
        list(photo_arguments.named_photos(("-",)))


def test_photos_that_share_their_name_with_a_run(cli):
    make_run("pets-1")
    Path("pets-1").mkdir()
    for word in ("pets-1", "x" * 5_000):  # the other is too long for a path
        done = cli("predict", word)
        assert done.exit_code == 1
        assert "is a run" not in done.stderr
