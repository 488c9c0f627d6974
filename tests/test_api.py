"""What `import tlcli` offers does what the commands do, and is silent about it."""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import INSTANT_RECIPE

import tlcli
from tlcli.runs.directory import REPORT, Run
from tlcli.system import console

pytestmark = pytest.mark.usefixtures("thin_vgg16")

ROOT = Path(__file__).parents[1]

#: What takes time to import, and what belongs to the command line.
HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "click", "PIL", "sklearn", "logging")


@pytest.fixture(autouse=True)
def as_a_library():
    """No command line has taken the terminal."""
    console.release()


def run_python(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_nothing():
    loaded = run_python(
        "import sys; before = set(sys.modules); import tlcli; dir(tlcli)\n"
        "print(*(set(sys.modules) - before))"
    ).split()
    assert {name.partition(".")[0] for name in loaded} & {*HEAVY} == set()
    assert "tlcli" in loaded


def test_type_checkers_see_the_names_that_there_are():
    tree = ast.parse((ROOT / "tlcli" / "__init__.py").read_text("utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(imported) == [name for name in tlcli.__all__ if name != "__version__"]
    for name, home in imported.items():
        assert getattr(tlcli, name).__module__ == home, name
    assert {*tlcli.__all__} <= {*dir(tlcli)}
    with pytest.raises(AttributeError, match="module 'tlcli' has no attribute 'fine_tune'"):
        _ = tlcli.fine_tune


def test_finetune_gives_the_bits_of_the_command_and_prints_nothing(
    instant_run: tuple[Run, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    run, photos = instant_run
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(INSTANT_RECIPE.format(photos), "utf-8")
    with caplog.at_level(logging.INFO, logger="tlcli"):
        trained = tlcli.finetune(recipe, out=tmp_path / "run", instant=False)
    assert capsys.readouterr() == ("", "")
    assert "run: " + str(tmp_path / "run") in caplog.messages
    assert {record.name for record in caplog.records} == {"tlcli"}
    summary = run.read("summary.json")
    assert trained.summary.test.accuracy == summary["test"]["accuracy"]
    losses = [stage.val_loss for stage in trained.summary.stages]
    assert losses == [stage["val_loss"] for stage in summary["stages"]]
    assert trained.calibration.temperature == run.read("calibration.json")["temperature"]
    photo = photos / "test" / "red" / "00.png"
    (answer,) = tlcli.Predictor(trained.run).predict(photo)
    (expected,) = tlcli.Predictor(run, engine="keras").predict([str(photo)])
    assert answer == expected
    with pytest.raises(tlcli.TlcliError, match="there is already a run"):
        tlcli.finetune(recipe, out=tmp_path / "run")


def test_a_predictor_answers_as_the_command(instant_run: tuple[Run, Path], cli, capsys):
    run, photos = instant_run
    chosen = sorted((photos / "test").rglob("*.png"))[:3]
    predictor = tlcli.Predictor(str(run.path))
    answers = [
        prediction.as_dict() for prediction in predictor.predict([*chosen, "gone.png"], top=2)
    ]
    assert predictor.classes == ("blue", "green", "red")
    assert capsys.readouterr() == ("", "")
    printed = cli("predict", *chosen, "gone.png", "--run", run.path, "--json", "--top", "2").stdout
    expected = json.loads(printed)
    assert answers[:3] == expected[:3]
    assert "no such file" in answers[3]["error"]
    with pytest.raises(tlcli.RunError, match="no such run"):
        tlcli.Predictor("gone")


def test_evaluation_and_report_are_those_of_the_commands(
    instant_run: tuple[Run, Path], tmp_path: Path, cli, capsys
):
    run, _ = instant_run
    evaluation = tlcli.evaluate(run, out=tmp_path / "ours")
    assert capsys.readouterr() == ("", "")
    printed = cli("evaluate", run.path, "--out", tmp_path / "theirs", "--json").stdout
    assert evaluation.as_dict() == json.loads(printed)
    console.release()
    written = tlcli.write_report(run.path, out=tmp_path / REPORT)
    assert written.path == tmp_path / REPORT
    assert written.path.read_text("utf-8").startswith("<!doctype html>")
    assert capsys.readouterr() == ("", "")


def test_features_are_those_of_extract(instant_run: tuple[Run, Path], tmp_path: Path, cli, capsys):
    run, photos = instant_run
    recipe = tlcli.load_recipe(run.path / "recipe.yaml")
    features = tlcli.extract_features(recipe, boundary="block4_pool", pooling="max")
    assert capsys.readouterr() == ("", "")
    cli(
        "extract", "--config", run.path / "recipe.yaml", "--boundary", "block4_pool",
        "--pooling", "max", "--out", tmp_path / "features",
    )  # fmt: skip
    expected = np.load(tmp_path / "features" / "features.npy", allow_pickle=False)
    np.testing.assert_array_equal(features.values, expected)
    assert features.values.shape == (len(features), 64) == (36, 64)
    assert features.classes == ("blue", "green", "red")
    for path, label, split in zip(features.paths, features.labels, features.splits, strict=True):
        assert path.parent == photos / split / label
    x, y = features.of("train")
    assert x.shape == (18, 64)
    assert sorted(set(y)) == ["blue", "green", "red"]
    columns = features.columns()
    assert [*columns][:5] == ["path", "label", "split", "sha256", "f0"]
    np.testing.assert_array_equal(columns["f63"], expected[:, 63])
    with pytest.raises(tlcli.DataError, match="'testing' is none; allowed: train, val, test"):
        features.of("testing")


def test_photos_without_labels_have_features_too(instant_run: tuple[Run, Path]):
    run, photos = instant_run
    folder = photos / "test" / "red"
    features = tlcli.extract_features(
        run.path / "recipe.yaml", unlabelled=folder, pooling="none", boundary="block5_pool"
    )
    assert features.values.shape == (3, 1, 1, 64)
    assert (features.classes, set(features.labels), set(features.splits)) == ((), {""}, {""})
    assert features.columns()["f63"].shape == (3,)


VALUES = {"data": {"dir": Path("photos")}, "base": {"name": "resnet50", "image_size": (64, 96)}}


def test_a_mapping_is_read_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = "data: {dir: photos}\nbase: {name: resnet50, image_size: [64, 96]}\n"
    (tmp_path / "recipe.yaml").write_text(text, "utf-8")
    settings = {"stages.0.epochs": 3, "head.hidden": [64], "seed": 5}
    written = ["stages.0.epochs=3", "head.hidden=[64]", "seed=5"]
    recipes = [
        tlcli.load_recipe("recipe.yaml", written),
        tlcli.load_recipe(VALUES, settings),
        tlcli.load_recipe(tlcli.load_recipe(VALUES), written),
    ]
    assert recipes[0].stages[0].epochs == 3
    assert [recipe.resolved() for recipe in recipes] == [recipes[0].resolved()] * 3
    assert tlcli.load_recipe(recipes[0]) is recipes[0]


def test_mistakes_are_problems_without_the_lines_of_a_file():
    values = {**VALUES, "base": {"name": "VGG61"}, "bath_size": 3, 7: {"a": {1, 2}}}
    with pytest.raises(tlcli.RecipeError) as caught:
        tlcli.load_recipe(values)
    assert "{1, 2}' cannot stand in a recipe; allowed: text, numbers" in str(caught.value)
    del values[7]
    with pytest.raises(tlcli.TlcliError) as caught:
        tlcli.load_recipe(values)
    lines = [str(problem) for problem in caught.value.problems]
    assert any(line.startswith("base.name: 'VGG61' is not a base") for line in lines)
    assert any(line.startswith("bath_size: unknown key") for line in lines)
    with pytest.raises(tlcli.RecipeError, match=r"--set stages.9.epochs=1: stages has 2 entries"):
        tlcli.load_recipe(VALUES, {"stages.9.epochs": 1})


def test_verbose_prints_as_the_commands_do(capsys: pytest.CaptureFixture[str]):
    tlcli.verbose()
    console.note("a note")
    tlcli.verbose(False)
    console.note("another")
    console.warn("a warning")
    assert capsys.readouterr() == ("", "a note\nwarning: a warning\n")


def test_a_command_line_speaks_before_it_is_understood(cli):
    console.release()
    done = cli("predict", "--run", "a", "https://example.org/a.jpg", "b.keras")
    assert done.exit_code == 2
    assert "b.keras is a model, not a photo" in done.stderr
    console.release()
    done = cli("extract", "--config", "https://example.org/recipe.yaml")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
