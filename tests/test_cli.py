"""The command line: help, exit codes, and one line for whatever a user gets wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from tlcli import __version__
from tlcli.cli import main
from tlcli.features.store import TrunkRows
from tlcli.runs import directory
from tlcli.runs.create import create_run
from tlcli.system import files

ROOT = Path(__file__).parents[1]
TEXT = "data:\n  dir: {}\nbase:\n  {{name: VGG16, weights: random, image_size: 48}}\n"


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture
def config(photos: Path, write_recipe) -> Path:
    return write_recipe(TEXT.format(photos), "r.yaml")


# Help


def test_the_commands():
    assert {" ".join(path) for path in commands()} == {
        "init", "sample", "check", "bases", "extract", "finetune", "predict", "preview", "runs",
        "schema", "reproduce",
        "cache", "cache prune", "cache verify", "doctor",
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
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all(option.help for option in options)
    assert any("--quiet" in option.opts for option in options)


def test_the_version(cli):
    assert cli("--version").stdout == f"tlcli, version {__version__}\n"


def test_python_dash_m():
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", "--version"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"tlcli, version {__version__}\n")


# Usage slips


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "--confg", "x"], "No such option"),
        (["chek"], "No such command"),
        (["predict"], "Missing argument"),
        (["predict", "--top", "0", "a.jpg"], "0 is not in the range x>=1"),
        (["extract", "--pooling", "sum"], "'sum' is not one of"),
        (["cache", "prune"], "say what to remove: --all, or --unused-days, --base or both"),
    ],
)
def test_usage_slips_exit_with_2(cli, words: list[str], said: str):
    done = cli(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


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
        "(allowed: dir, csv, split, on_bad_image, duplicates, exclude)",
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
def test_wrong_input_is_told_in_lines(cli, photos, config, monkeypatch, words: list[str]):
    monkeypatch.chdir(photos.parent)
    done = cli(*words)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.endswith("\n")
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    assert "\x1b" not in done.stderr
    assert ".tmp" not in done.stderr


def test_a_damaged_trunk_is_listed_and_can_be_removed(cli, tmp_path):
    broken = tmp_path / "cache" / "features" / "x"
    broken.mkdir(parents=True)
    (broken / "trunk.json").write_text("{")
    options = ("cache", "--cache-dir", tmp_path / "cache")
    listed = cli(*options)
    assert listed.exit_code == 0
    assert "damaged" in listed.stdout
    assert "its trunk.json is damaged" in cli(*options, "verify").stderr
    assert cli(*options, "prune", "--base", "x").exit_code == 0
    assert not broken.exists()


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


def test_a_reader_that_goes_away(tmp_path: Path):
    line = f"{sys.executable} -m tlcli schema | head -c 10; echo; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "{"


# What commands do


def test_check(cli, config: Path, photos: Path):
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("r: 3 classes (blue, green, red)\nphotos: 24 train, 9 val, ")
    (photos / "train/red/00.png").write_bytes(b"")
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {photos}/train/red/00.png: ")
    assert len(done.stderr.splitlines()) == 1


def test_check_as_json(cli, config: Path, photos: Path):
    done = cli("check", "--config", config, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    counts = {split: {"blue": n, "green": n, "red": n}
              for split, n in (("train", 8), ("val", 3), ("test", 2))}  # fmt: skip
    assert json.loads(done.stdout) == {
        "problems": [],
        "findings": [],
        "images": {"counts": counts},
    }
    done = cli("check", "--config", config, "--json", "--set", "base.weights=x.h5")
    assert (done.exit_code, done.stderr) == (1, "")
    assert json.loads(done.stdout)["problems"] == [
        {
            "severity": "error",
            "where": "--set base.weights=x.h5",
            "message": f"no such weights file: {Path.cwd() / 'x.h5'}",
            "hint": "check the path; relative paths start at the recipe's folder",
        }
    ]


def test_the_only_recipe_of_a_folder_is_found(cli, config: Path, monkeypatch):
    monkeypatch.chdir(config.parent)
    assert cli("check").exit_code == 0


def test_warnings_and_notes(cli, config: Path, photos: Path):
    (photos / "train/red/notes.txt").touch()
    (photos / "train/.hidden").touch()
    words = ("check", "--config", config)
    done = cli(*words)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"warning: {photos}/train/red/notes.txt: ignored, without an image extension; "
        "photos need a file extension such as .jpg",
        f"note: {photos}/train/.hidden: ignored, hidden or made by the system",
    ]
    quiet = cli("--quiet", *words)
    assert quiet.stderr.splitlines() == done.stderr.splitlines()[:1]
    assert quiet.stdout == done.stdout


def test_dry_run(cli, config: Path):
    done = cli("finetune", "--config", config, "--dry-run", "--set", "stages.1.epochs=7")
    assert (done.exit_code, done.stderr) == (0, "")
    assert not directory.runs_root().exists()
    assert not files.cache_folder().exists()
    plan = cli("check", "-c", config, "--set", "stages.1.epochs=7").stdout
    assert done.stdout.startswith(plan)  # and an estimate


def test_init_then_check(cli, photos: Path):
    done = cli("init", photos, "--base", "mobilenetv2")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "photos.yaml\n", "")
    assert cli("check", "--set", "base.weights=random").exit_code == 0
    again = cli("init", photos)
    assert (again.exit_code, again.stderr) == (
        1, "error: photos.yaml: exists; name another with --out, or use --force\n"
    )  # fmt: skip


def test_sample(cli):
    assert cli("sample", "digits").stdout == "1,797 photos in digits\n"


def test_bases(cli):
    done = cli("bases")
    assert done.stdout.splitlines()[2].startswith("VGG16 ")
    assert json.loads(cli("bases", "--json").stdout)[0]["default_boundary"] == "block4_pool"
    assert json.loads(cli("bases", "resnet50", "--json").stdout)[-1]["shape"] == [7, 7, 2048]
    wrong = cli("bases", "vgg")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: bases: 'vgg' is not a base tlcli knows; did you mean ")


def test_runs(cli):
    done = cli("runs")
    assert done.stdout == f"no runs in {directory.runs_root()}; train one with `tlcli finetune`\n"
    assert json.loads(cli("runs", "--json").stdout) == []
    run = create_run("cats", None)
    files.write_json(run.file(directory.RECORD), {"created": "now", "base": "VGG16"})
    (entry,) = json.loads(cli("runs", "--json").stdout)
    assert (entry["name"], entry["finished"]) == ("cats-1", False)
    assert "unfinished" in cli("runs").stdout


def test_predicting_without_a_run(cli):
    done = cli("predict", "image.jpg")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {directory.runs_root()}: no run here yet; "
        "train one with `tlcli finetune`, or name one with --run\n"
    )
    assert cli("predict", "--run", "cats", "image.jpg").stderr == (
        "error: --run cats: no such run; train one with `tlcli finetune`\n"
    )


def test_schema(cli):
    assert json.loads(cli("schema").stdout)["title"] == "tlcli recipe"


def test_the_cache(cli, tmp_path: Path):
    folder = files.features_folder(files.cache_folder())
    assert cli("cache").stdout == f"the feature store {folder} is empty\n"
    trunk = {"base": "VGG16", "boundary": "block4_pool", "image_size": [64, 64]}
    rows = TrunkRows(folder, trunk, (5,), "float32")
    rows.append([("ab" * 32, "0")], np.ones((1, 5), np.float32))
    rows.close()
    assert json.loads(cli("cache", "--json").stdout)[0]["rows"] == 1
    assert "VGG16" in cli("cache").stdout
    assert cli("cache", "--cache-dir", tmp_path).stdout.endswith("is empty\n")
    done = cli("cache", "verify")
    assert (done.exit_code, done.stdout) == (0, "1 row, all intact\n")
    (shard,) = rows.path.glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    done = cli("cache", "verify")
    assert (done.exit_code, done.stdout) == (
        1, "1 damaged row of 1; they will be computed again when they are needed\n"
    )  # fmt: skip
    assert cli("cache", "prune", "--unused-days", "30").stdout == "removed 0 rows, 0 B\n"
    assert cli("cache", "prune", "--all").stdout.startswith("removed 0 rows, ")
    assert list(folder.iterdir()) == []
