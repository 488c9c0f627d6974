"""Runs that are listed by what differs, filtered, sorted, annotated, renamed and removed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from builders.listed_runs import RunFolder

from tlcli.runs import directory
from tlcli.runs.overview import read_entries
from tlcli.runs.run_settings import flatten
from tlcli.runs.selection import select_entries
from tlcli.system import locks


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Three runs: another head, another rate, other photos."""
    runs = RunFolder(tmp_path / "photos")
    runs.add("pets-1", val=0.90, test=0.92)
    runs.add("pets-2", {"head": {"hidden": [64, 8], "dropout": 0.2}}, val=0.95, test=0.90)
    runs.add("pets-10", {"seed": 5}, val=0.99, test=None, dataset_fingerprint="d" * 64)
    directory.mark_latest(directory.Run(runs.root / "pets-10"))
    return runs


def listed(cli: Any, *words: str) -> list[str]:
    return [entry["name"] for entry in json.loads(cli("runs", *words, "--json").stdout)]


def refused(cli: Any, *words: str) -> list[str]:
    done = cli(*words)
    assert done.exit_code == 1
    return done.stderr.splitlines()


def test_settings_are_flat_and_lists_of_values_stay_whole():
    recipe = {"seed": 1, "head": {"hidden": [64, 8]}, "stages": [{"epochs": 3}, {"epochs": 4}]}
    assert flatten(recipe) == {
        "seed": 1, "head.hidden": [64, 8], "stages.0.epochs": 3, "stages.1.epochs": 4
    }  # fmt: skip
    assert flatten({"search": {}, "exclude": []}) == {"search": {}, "exclude": []}


def test_columns_are_what_differs(folder: RunFolder, cli: Any):
    header, _, *rows = cli("runs").stdout.splitlines()
    assert header.split() == [
        "run", "created", "base", "seed", "head.hidden", "head.dropout", "val", "accuracy",
        "test", "accuracy", "time", "size",
    ]  # fmt: skip
    assert rows[0].split()[:6] == ["pets-1", "2030-01-02", "03:01", "VGG16", "0", "[256]"]
    # Wilson's interval of 92 of 100, as tables of it give it.
    assert "0.9000  0.9200 (0.850 to 0.959)  16 s" in rows[0]
    assert "[64, 8]" in rows[1]
    # The best is that of the runs with the same photos; the third has photos of its own.
    assert [row.split()[-1] for row in rows[1:]] == ["best", "latest"]


def test_a_column_that_the_user_names(folder: RunFolder, cli: Any):
    done = cli("runs", "--columns", "base.image_size")
    assert done.stdout.split("\n")[0].split()[3] == "base.image_size"
    assert done.stderr == (
        "3 more settings of these runs differ; name them in --columns: "
        "seed, head.hidden, head.dropout\n"
    )
    (line,) = refused(cli, "runs", "--columns", "head.hiden")
    assert line.startswith(
        "error: --columns head.hiden: 'head.hiden' is no setting of these runs; "
        "did you mean 'head.hidden'?"
    )


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--where", "val>=0.95"], ["pets-2", "pets-10"]),
        (["--where", "val>0.9", "--where", "test<=0.9"], ["pets-2"]),
        (["--where", "head.hidden=[64, 8]"], ["pets-2"]),
        (["--where", "head.dropout = 0.20"], ["pets-2"]),
        (["--where", "seed!=0"], ["pets-10"]),
        (["--where", "base=ResNet50"], []),
        (["--sort", "val"], ["pets-10", "pets-2", "pets-1"]),
        (["--sort", "val", "--reverse"], ["pets-1", "pets-2", "pets-10"]),
        (["--sort", "test"], ["pets-1", "pets-2", "pets-10"]),
        (["--sort", "seed"], ["pets-1", "pets-2", "pets-10"]),
        (["--reverse"], ["pets-10", "pets-2", "pets-1"]),
    ],
)
def test_conditions_and_order(
    folder: RunFolder, cli: Any, words: list[str], names: list[str]
):  # fmt: skip
    assert listed(cli, *words) == names
    if not names:
        assert cli("runs", *words).stdout == "none of these runs meets the conditions\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "val"], "--where val: is no condition; write it in quotes"),
        (["--where", "vall>1"], "--where vall>1: 'vall' is no field and no setting of these runs; "
         "did you mean 'val'?"),
        (["--where", "val>high"], "--where val>high: 'high' is no number; "),
        (["--sort", "epochs"], "--sort epochs: 'epochs' is no field and no setting"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)  # fmt: skip
def test_slips_are_named(folder: RunFolder, cli: Any, words: list[str], message: str):
    (line,) = refused(cli, "runs", *words)
    assert line.startswith(f"error: {message}")


def test_runs_without_a_value_come_last(folder: RunFolder):
    entries = select_entries(read_entries(), sort="test", reverse=True)
    assert [entry.run.name for entry in entries] == ["pets-2", "pets-1", "pets-10"]


def test_a_damaged_recipe_is_a_warning(folder: RunFolder, cli: Any):
    (folder.root / "pets-1" / directory.RECIPE).write_text("stages: 3")
    done = cli("runs")
    assert done.stderr.startswith(f"warning: {folder.root}/pets-1/recipe.yaml")
    assert len(done.stdout.splitlines()) == 5


# Notes


def test_a_note_is_kept_shown_and_removed(folder: RunFolder, cli: Any):
    assert cli("runs", "note", "pets-2").stdout == "no note\n"
    words = "without blurred\nphotos"
    assert cli("runs", "note", "pets-2", words).stdout == f"{words}\n"
    assert cli("runs").stdout.splitlines()[3].endswith("best    without blurred photos")
    assert cli("runs", "note", "pets-2", "").stdout == "no note\n"
    assert not (folder.root / "pets-2" / directory.NOTE).exists()
    (line,) = refused(cli, "runs", "note", "pets-2", "x" * 10_000)
    assert line.startswith(f"error: {folder.root}/pets-2: a note has 10,000 bytes at most; ")


# Renaming


def test_a_renamed_run_stays_the_latest(folder: RunFolder, cli: Any):
    assert cli("runs", "rename", "pets-10", "best").stdout == f"{folder.root.resolve()}/best\n"
    assert directory.find_run(None).name == "best"
    assert listed(cli) == ["pets-1", "pets-2", "best"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pets-2", "exists already; choose another name"),
        ("latest", "cannot be the name of a run; use letters and digits, as in cats_dogs-best"),
        (".hidden", "cannot be the name of a run; "),
        ("a/b", "cannot be the name of a run; "),
        ("", "cannot be the name of a run; "),
    ],
)
def test_a_name_that_cannot_be(folder: RunFolder, cli: Any, name: str, message: str):
    (line,) = refused(cli, "runs", "rename", "pets-1", name)
    assert message in line
    assert listed(cli) == ["pets-1", "pets-2", "pets-10"]


# Removing


def test_removed_runs_are_gone_and_latest_leads_to_the_newest(folder: RunFolder, cli: Any):
    size = json.loads(cli("runs", "--json").stdout)[2]["bytes"]
    done = cli("runs", "rm", "pets-10", "--yes", "--json")
    assert json.loads(done.stdout) == {
        "removed": [str(folder.root.resolve() / "pets-10")], "bytes": size
    }  # fmt: skip
    assert directory.find_run(None).name == "pets-2"
    assert cli("runs", "rm", "pets-1", "pets-2", "--yes").exit_code == 0
    assert list(folder.root.iterdir()) == []


def test_nothing_is_removed_unasked(folder: RunFolder, cli: Any):
    first, second = refused(cli, "runs", "rm", "pets-1", "pets-2")
    assert first.startswith(f"error: {folder.root.resolve()}/pets-1 (")
    assert first.endswith("): would be removed for good; add --yes to remove it")
    assert "pets-2" in second
    assert len(listed(cli)) == 3


def test_files_of_the_user_are_not_removed(folder: RunFolder, cli: Any):
    mine = folder.root / "pets-1" / "thesis.txt"
    mine.write_text("mine")
    (line,) = refused(cli, "runs", "rm", "pets-1", "pets-2", "--yes")
    assert line == (
        "error: RUN pets-1: holds what tlcli did not put there: thesis.txt; "
        "move them elsewhere, or remove them too with --force"
    )
    assert len(listed(cli)) == 3
    assert cli("runs", "rm", "pets-1", "--yes", "--force").exit_code == 0
    assert not mine.exists()


def test_a_run_in_training_is_neither_removed_nor_renamed(folder: RunFolder, cli: Any):
    run = directory.Run(folder.root / "pets-1")
    with locks.lock_folder(run.path):
        for words in (("rm", "pets-1", "--yes"), ("rename", "pets-1", "other")):
            (line,) = refused(cli, "runs", *words)
            assert f"is being trained by process {os.getpid()} on " in line
        run.file(directory.SUMMARY).unlink()
        assert read_entries()[0].state == "training"
    assert read_entries()[0].state == "unfinished"


def test_what_a_kill_has_left_of_a_removal_goes_with_the_next(folder: RunFolder, cli: Any):
    (folder.root / "pets-1").rename(folder.root / ".pets-1-7.removed")
    assert listed(cli) == ["pets-2", "pets-10"]
    cli("runs", "rm", "pets-2", "--yes")
    assert sorted(path.name for path in folder.root.iterdir()) == ["latest", "pets-10"]


def test_a_link_to_a_run_is_no_reason_to_remove_twice(folder: RunFolder, cli: Any):
    done = cli("runs", "rm", "latest", "pets-10", "--yes", "--json")
    assert json.loads(done.stdout)["removed"] == [str(folder.root.resolve() / "pets-10")]
