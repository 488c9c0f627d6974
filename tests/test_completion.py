"""What a shell completes: commands, options, runs, bases, boundaries and settings."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from tlcli.cli import main
from tlcli.recipe.load import load_recipe
from tlcli.recipe.setting_keys import setting_keys
from tlcli.runs import directory
from tlcli.runs.create import create_run
from tlcli.runs.run_settings import flatten
from tlcli.system import files


def completions(*words: str) -> list[str]:
    """What a shell offers for the last of the words."""
    *before, incomplete = words
    complete = ShellComplete(main, {}, "tlcli", "_TLCLI_COMPLETE")
    return [item.value for item in complete.get_completions(before, incomplete)]


@pytest.fixture
def runs() -> None:
    """cats-1 and dogs-1, the latest."""
    for number, name in enumerate(("cats", "dogs")):
        run = create_run(name, None)
        record = {"created": f"2030-01-0{number + 1}", "base": "VGG16"}
        files.write_json(run.file(directory.RECORD), record)
    directory.mark_latest(run)


def test_commands_and_options():
    assert completions("comp") == ["compare", "completion"]
    assert completions("runs", "r") == ["rename", "rm"]
    assert completions("runs", "--wh") == []  # options of the list come after its name
    assert completions("runs", "list", "--wh") == ["--where"]
    assert completions("") == sorted(main.commands)


@pytest.mark.parametrize(
    "words",
    [("evaluate",), ("evaluate", "-r"), ("predict", "--run"), ("runs", "rm", "cats-1"),
     ("compare", "dogs-1"), ("finetune", "--resume"), ("serve", "--run"), ("export",)],
)  # fmt: skip
def test_runs(runs: None, words: tuple[str, ...]):
    assert completions(*words, "") == ["dogs-1", "cats-1", "latest"]
    assert completions(*words, "C") == ["cats-1"]


def test_bases():
    assert completions("bases", "resnet50") == ["ResNet50", "ResNet50V2"]
    assert completions("advise", "--bases", "VGG16,mobilenetv2") == ["VGG16,MobileNetV2"]


def test_settings_and_their_values(
    write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    assert completions("finetune", "--set", "head.") == [
        f"head.{name}="
        for name in ("pooling", "hidden", "dropout", "l2", "normalize", "multi_layer")
    ]
    assert completions("check", "--set", "augment.horizontal_flip=t") == [
        "augment.horizontal_flip=true"
    ]
    assert completions("check", "--set", "base.name=vgg") == ["base.name=VGG16", "base.name=VGG19"]
    path = write_recipe("base: {name: VGG16, weights: random}\ndata: {dir: .}\n")
    monkeypatch.chdir(path.parent)
    wanted = ["block5_pool", "block5_conv3", "block5_conv2", "block5_conv1"]
    key = "stages.1.freeze_until="
    assert completions("finetune", "--set", f"{key}block5") == [f"{key}{name}" for name in wanted]
    assert completions("extract", "-c", str(path), "--boundary", "block5") == wanted
    assert completions("probe", "--boundaries", "block1_pool,block5_p") == [
        "block1_pool,block5_pool"
    ]


def test_the_keys_are_those_of_recipes(write_recipe: Callable[..., Path]):
    """Every key of a recipe with all defaults can be completed."""
    recipe = load_recipe(write_recipe("base: {name: VGG16}\ndata: {dir: .}\nstages: [{name: a}]\n"))
    keys = setting_keys(stages=1)
    missing = [key for key in flatten(recipe.resolved()) if key not in keys]
    blocks = {key.rpartition(".")[0] for key in keys}
    assert [key for key in missing if key not in blocks] == []
    assert keys["stages.0.monitor"] == ("val_loss", "val_accuracy")
    assert "stages.1.epochs" in setting_keys(stages=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(cli: Any, shell: str):
    script = cli("completion", shell).stdout
    assert f"_TLCLI_COMPLETE={shell}_complete" in script
    assert cli("completion", "tcsh").exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_takes_the_script(cli: Any, tmp_path: Path):
    script = tmp_path / "script"
    script.write_text(cli("completion", "bash").stdout)
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
