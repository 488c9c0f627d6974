"""`tlcli tune` from the recipe to the winner, on small photos."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.features import extraction
from tlcli.recipe.load import load_recipe
from tlcli.recipe.search import setting
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.metrics import read_metrics
from tlcli.runs.tuning_record import read_tuning
from tlcli.search import access, tune
from tlcli.search.search_plan import plan_search
from tlcli.search.study_folder import open_study
from tlcli.system import files
from tlcli.system.yamlfile import parse_key
from tlcli.training.preflight import preflight

RECIPE = """\
data: {{dir: {photos}}}
base: {{name: VGG16, weights: random, image_size: 32}}
head: {{hidden: [8]}}
stages:
  - {{name: head, epochs: 7, learning_rate: 1e-2}}
  - {{name: top, freeze_until: block5_conv2, epochs: 1, learning_rate: 1e-5}}
search:
  head.hidden: [[], [8]]
  stages.0.learning_rate: {{log: [1e-3, 1e-1]}}
"""
TRIALS = 11  # a batch of eight, then three that pruning may end


@pytest.fixture
def recipe(photos: Path, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(RECIPE.format(photos=photos), "pets.yaml")


def sequence(folder: Path) -> list[Any]:
    """The trials of a study, but for their seconds."""
    record = files.read_json(folder / directory.TUNING)
    return [record["trials"], {**record["best"], "recipe": None, "run": None}]


@pytest.mark.usefixtures("thin_vgg16")
def test_a_search_from_the_recipe_to_the_winner(recipe, cli, photos, tmp_path):
    done = cli("tune", "-c", recipe, "--trials", TRIALS, "--seeds", 1, "--json",
               "--out", tmp_path / "best.yaml")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    folder, printed = directory.runs_root() / "pets-study", json.loads(done.stdout)
    assert printed == files.read_json(folder / directory.TUNING)
    assert [trial["number"] for trial in printed["trials"]] == list(range(TRIALS))
    complete = [trial for trial in printed["trials"] if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["val_loss"])
    assert {key: printed["best"][key] for key in best} == best
    assert read_tuning(folder).best.settings == best["settings"]
    # One pass over the 33 photos for training and validation; the six for the test come at the end.
    assert printed["trunk_passes"] == 33
    assert {path.name for path in folder.glob("*.png")} >= {"history.png", "parallel.png"}

    winner = load_recipe(tmp_path / "best.yaml")
    assert {name: setting(winner, parse_key(name)) for name in best["settings"]} == best["settings"]
    assert [stage.name for stage in winner.stages] == ["head", "top"]
    assert winner.data.dir == photos
    text = (tmp_path / "best.yaml").read_text(encoding="utf-8")
    assert text.startswith(
        f"# The winner of a search by `tlcli tune`: trial {best['number']} of 11"
    )
    assert "# searched; was 0.01\n" in text
    assert "# No trial has trained the stages after the head: top.\n" in text
    assert cli("finetune", "-c", tmp_path / "best.yaml", "--dry-run").exit_code == 0

    # The complete run of the winner ends with the numbers of its trial.
    run, trial = Run(folder / "winner"), Run(folder / "trials" / f"{best['number']:04d}")
    run_losses, trial_losses = (
        [[epoch.loss, epoch.val_loss] for epoch in read_metrics(run)] for run in (run, trial)
    )
    np.testing.assert_allclose(run_losses, trial_losses, rtol=1e-3)
    _check_trials(cli, folder, trial, complete)


def _check_trials(cli: Any, folder: Path, trial: Run, complete: list[dict[str, Any]]) -> None:
    """Trials are runs: they are listed, and can be repeated."""
    lines = cli("runs", folder).stdout.splitlines()[2:]
    assert [line.split()[0] for line in lines] == [
        *(f"{number:04d}" for number in range(TRIALS)), "default", "winner",
    ]  # fmt: skip
    listed = json.loads(cli("runs", folder, "--json").stdout)
    accuracies = {entry["trial"]["number"]: entry["val_accuracy"] for entry in listed[:TRIALS]}
    assert all(accuracies[row["number"]] == row["val_accuracy"] for row in complete)
    done = cli("reproduce", trial.path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(
        "the same within rounding: the metrics of 7 epochs, losses within"
    )
    assert Run(folder / f"{trial.name}-again").finished
    refused = cli("evaluate", trial.path)
    assert refused.exit_code == 1
    assert "is a trial of a search, which kept no model; `tlcli reproduce " in refused.stderr


@pytest.mark.slow
def test_a_search_goes_on_and_a_warm_store_is_not_computed_again(recipe, cli, monkeypatch):
    words = ("tune", "-c", recipe, "--seeds", 0, "--json", "--trials")
    assert json.loads(cli(*words, 2).stdout)["trunk_passes"] == 33

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a pass through the trunk")

    monkeypatch.setattr(extraction, "run_pass", refuse)
    done = cli(*words, 4)
    assert done.exit_code == 0, done.stderr
    assert "going on with" in done.stderr
    printed = json.loads(done.stdout)
    assert (len(printed["trials"]), printed["trunk_passes"]) == (4, 0)
    assert printed["comparison"]["seeds"] == []


@pytest.mark.slow
def test_a_space_about_tuning_trains_complete_runs(recipe, cli, tmp_path):
    tail = "search={'stages.1.learning_rate': [1e-5, 1e-3], 'stages.0.epochs': [1, 2]}"
    done = cli("tune", "-c", recipe, "--set", tail, "--trials", 2, "--seeds", 0,
               "--study", tmp_path / "s")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "trials train one after another, each as a run that keeps its model" in done.stderr
    for number in ("0000", "0001"):
        run = Run(tmp_path / "s" / "trials" / number)
        assert run.finished
        assert run.read(directory.SUMMARY)["test"] is None, "no trial looks at the test photos"
    done = cli("reproduce", tmp_path / "s" / "trials" / "0001")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("identical: ")


def test_a_dry_run_shows_plan_and_cost(recipe, cli):
    done = cli("tune", "-c", recipe, "--dry-run")
    assert done.exit_code == 0
    for line in (
        "search for pets: 50 trials by val_loss of the validation photos, seed 0",
        "photos: 24 train, 9 val, 6 test; the test photos are scored once, at the end",
        "each trial trains: head; top stays as it is and is not trained",
        "stages.0.learning_rate  0.001 to 0.1 (logarithmic)",
    ):
        assert line in done.stdout
    assert "\nestimate: about " in done.stdout
    assert not (directory.runs_root() / "pets-study").exists()
    planned = json.loads(cli("tune", "-c", recipe, "--dry-run", "--json", "--all-stages").stdout)
    assert planned["stages"] == ["head", "top"]
    assert planned["side_by_side"] is False
    few = "search={head.pooling: [avg, max, flatten]}"
    planned = json.loads(cli("tune", "-c", recipe, "--dry-run", "--json", "--set", few).stdout)
    assert planned["trials"] == 3, "there are no more combinations"


def refusal(done: Any) -> list[str]:
    assert done.exit_code == 1
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_errors_say_what_to_do(recipe, cli, photos, tmp_path, monkeypatch):
    words = ("tune", "-c", recipe, "--trials", 1, "--seeds", 0, "--study", tmp_path / "s")
    plan = plan_search(preflight(load_recipe(recipe), run=False), trials=1, seeds=0)
    open_study(tmp_path / "s", plan)
    where = f"error: --study {tmp_path / 's'}: "
    hint = "is a study of something else; name another folder with --study, or undo the change"
    lines = refusal(cli(*words, "--set", "search.head.dropout=[0.1, 0.2]", "--set", "seed=3"))
    assert lines == [
        f"{where}search.head.dropout was not searched, is now 0.1, 0.2",
        f"{where}seed was 0, is now 3",
        where + hint,
    ]
    assert refusal(cli(*words, "--set", "head.l2=0.1")) == [
        f"{where}head.l2 was 0.0, is now 0.1", where + hint
    ]  # fmt: skip
    (photos / "train" / "blue" / "00.png").unlink()
    assert refusal(cli(*words))[0] == f"{where}1 photo is gone"

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    other = ("tune", "-c", recipe, "--study", tmp_path / "other")
    assert "exists, is not empty and is not a study" in refusal(cli(*other))[0]
    taken = cli("tune", "-c", recipe, "--study", tmp_path / "new", "--out", recipe)
    assert refusal(taken) == [
        f"error: --out {recipe}: exists already; name another, or replace it with --force"
    ]
    shutil.rmtree(photos / "val")
    lines = refusal(cli("tune", "-c", recipe, "--set", "data.split={val: 0, test: 0}"))
    assert "error: data: no validation photos to choose a winner by; set data.split.val, or add " \
        "a folder of them" in lines  # fmt: skip
    monkeypatch.setattr(access.importlib.util, "find_spec", lambda name: None)
    assert refusal(cli("tune", "-c", recipe)) == [
        "error: tlcli tune: needs Optuna, which is not installed; install it with pip install "
        "'tlcli[search]'"
    ]


@pytest.mark.slow
def test_trials_whose_settings_clash_fail_alone(recipe, cli):
    """Momentum is a setting of sgd, and none of adam."""
    optimizer = "stages.0.optimizer"
    clash = f"search={{{optimizer}.name: [adam, sgd], {optimizer}.momentum: [null, 0.5]}}"
    done = cli("tune", "-c", recipe, "--set", f"{optimizer}=sgd", "--set", clash, "--trials", 4,
               "--seeds", 0, "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "momentum is a setting of sgd and rmsprop, not of adam" in done.stderr
    states = [trial["state"] for trial in json.loads(done.stdout)["trials"]]
    assert sorted(states) == ["complete", "complete", "complete", "failed"]


@pytest.mark.slow
def test_signals_between_trials_keep_what_is_finished(recipe, cli, monkeypatch):
    real = tune._train_batch

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    words = ("tune", "-c", recipe, "--trials", 10, "--seeds", 0)
    with monkeypatch.context() as patched:
        patched.setattr(tune, "_train_batch", interrupted)
        assert cli(*words).exit_code == 130
    done = cli(*words, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["trials"]) == 10


@pytest.mark.slow
def test_a_search_that_is_killed_has_the_same_trials_and_winner(recipe, cli, tmp_path):
    words = ["tune", "-c", str(recipe), "--trials", "20", "--seeds", "1", "--study"]
    assert cli(*words, tmp_path / "whole").exit_code == 0
    command = [sys.executable, "-m", "tlcli", *words, str(tmp_path / "killed")]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    trials, waits = tmp_path / "killed" / "trials", (0.0, 0.2, 1.0, 3.0)
    for least, wait in enumerate(waits):
        process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
        while process.poll() is None and len([*trials.glob("*")]) < 4 * least:
            time.sleep(0.05)
        time.sleep(wait)
        process.kill()
        process.wait()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sequence(tmp_path / "killed") == sequence(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_share_a_study(recipe, tmp_path):
    words = ["tune", "-c", str(recipe), "--trials", "30", "--seeds", "0", "--study", "s", "--json"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tlcli", *words]
    processes = [
        subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [json.loads(process.communicate()[0]) for process in processes]
    for record in printed:
        assert [trial["number"] for trial in record["trials"]] == list(range(30))
    assert printed[0]["trials"] == printed[1]["trials"]
    assert printed[0]["best"]["number"] == printed[1]["best"]["number"]
