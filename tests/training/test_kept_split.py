"""The split file beside a recipe, as commands write, extend and respect it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.homes import Home
from builders.photos import paint_classes
from click.testing import Result

from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.inputs import read_split
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

Cli = Callable[..., Result]

RECIPE = """
data: {dir: plain, split: {file: split.csv}}
base: {name: LeNet5, weights: random, image_size: 32}
head: {hidden: []}
batch_size: 8
stages:
  - {name: head, epochs: 1, learning_rate: 0.01}
"""


@pytest.fixture
def recipe(write_recipe, plain_photos: Path) -> Path:
    return write_recipe(RECIPE, "plain.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Home:
    """A home with a recipe, its split file and the run plain-1."""
    home = Home(tmp_path_factory.mktemp("trained"))
    with home.filled() as folder:
        paint_classes(folder / "plain", 12, 300)
        (folder / "plain.yaml").write_text(RECIPE, encoding="utf-8")
        train(make_plan(preflight(load_recipe(folder / "plain.yaml"))))
    return home


@pytest.fixture
def finished(trained: Home, monkeypatch) -> Path:
    """The recipe of a finished run, plain-1, with the split file that it has left."""
    recipe = trained.restore(monkeypatch) / "plain.yaml"
    assert recipe.with_name("split.csv").exists()
    return recipe


def kept(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as text:
        return {row["sha256"]: row["split"] for row in csv.DictReader(text)}


def recorded(name: str) -> dict[str, str]:
    return {row.sha256: row.split for row in read_split(directory.find_run(name))}


def test_the_commands_that_train_or_extract_keep_the_split(
    cli: Cli, recipe: Path, plain_photos: Path
):
    file = recipe.with_name("split.csv")
    for words in (["check"], ["finetune", "--dry-run"], ["preview", "--out", "views.png"]):
        assert cli(words[0], "--config", recipe, *words[1:]).exit_code == 0
        assert not file.exists(), words
    assert cli("extract", "--config", recipe).exit_code == 0
    first = kept(file)
    assert len(first) == 36
    done = cli("finetune", "--config", recipe)
    assert done.exit_code == 0, done.stderr
    assert kept(file) == first == recorded("plain-1")

    paint_classes(plain_photos / "more", 12, 900)
    for folder in (plain_photos / "more").iterdir():
        for photo in folder.iterdir():
            photo.rename(plain_photos / folder.name / f"more-{photo.name}")
    (plain_photos / "more").rename(plain_photos.parent / "emptied")
    assert cli("finetune", "--config", recipe).exit_code == 0
    second = kept(file)
    assert len(second) == 72
    assert {digest: second[digest] for digest in first} == first
    assert second == recorded("plain-2")


def test_a_run_is_repeated_with_its_own_split_whatever_the_file_says(cli: Cli, finished: Path):
    file = finished.with_name("split.csv")
    text = file.read_text().replace(",train,", ",test,")
    file.write_text(text)
    done = cli("reproduce")
    assert done.exit_code == 0, done.stderr
    assert "identical" in done.stdout
    assert file.read_text() == text


def test_a_run_is_repeated_with_its_own_split_whatever_this_version_would_divide(
    cli: Cli, finished: Path
):
    """As runs of version 0.1.0, whose photos were divided otherwise and had no file."""
    file = finished.with_name("split.csv")
    text = file.read_text().replace(",train,", ",TRAIN,").replace(",val,", ",train,")
    swap = next(line for line in text.splitlines() if ",TRAIN," in line)
    text = text.replace(swap, swap.replace("TRAIN", "val")).replace(",TRAIN,", ",train,")
    file.write_text(text)
    assert cli("finetune", "--config", finished).exit_code == 0
    file.unlink()
    done = cli("reproduce", "plain-2")
    assert done.exit_code == 0, done.stderr
    assert "identical" in done.stdout
    assert not file.exists()


def test_a_stopped_run_is_resumed_with_its_own_split_where_it_is_named(cli: Cli, finished: Path):
    file = finished.with_name("split.csv")
    run = directory.find_run("plain-1")
    run.file(directory.SUMMARY).unlink()  # as if it had been stopped before its end
    lines = file.read_text().splitlines()
    train = next(line for line in lines if ",train," in line)
    file.write_text("\n".join(lines).replace(train, train.replace(",train,", ",val,")))
    done = cli("finetune", "--config", finished)
    assert done.exit_code == 0
    note = "plain-1 was stopped and is not resumed: 1 photo is in another class or split"
    assert note in done.stderr
    done = cli("finetune", "--config", finished, "--resume", "plain-1")
    assert done.exit_code == 1
    assert f"{file}: was changed: " in done.stderr
    assert "is in val now, not in train; give the command again, or undo" in done.stderr
    done = cli(
        "finetune", "--config", finished, "--resume", "plain-1", "--set", "data.split.file=null"
    )
    assert done.exit_code == 0, done.stderr


def test_without_test_photos_val_is_scored_everywhere_with_its_caution(
    cli: Cli, photos: Path, write_recipe
):
    shutil.rmtree(photos / "test")
    recipe = write_recipe(RECIPE.replace("plain, split: {file: split.csv}", "photos"), "r.yaml")
    caution = "the best epochs were chosen on these photos: the numbers are optimistic"
    for _ in range(2):
        done = cli("finetune", "--config", recipe)
        assert done.exit_code == 0, done.stderr
        assert re.match(
            r"validation accuracy 0\.\d{4} \(9 photos\): optimistic, since the best epoch was "
            r"chosen on them; there are no test photos\n",
            done.stdout,
        )
    done = cli("evaluate")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("val: 9 photos of 3 classes")
    assert done.stderr.count(caution) == 1
    done = cli("compare", "r-1", "r-2")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("val: 9 photos that both runs have")
    assert done.stderr.count(caution) == 1
    done = cli("report", "--json")
    sentences = json.loads(done.stdout)["verdict"]
    assert sum("optimistic" in sentence for sentence in sentences) == 1
    assert "expect" not in " ".join(sentences)

    done = cli("finetune", "--config", recipe, "--set", "data.split.test=0.15")
    assert done.exit_code == 0, done.stderr
    assert re.match(r"test accuracy \d\.\d{4} \(\d of 3 photos\)\n", done.stdout)
    assert cli("evaluate").stdout.startswith("test: 3 photos of 3 classes")
    done = cli("compare", "r-1", "r-3")  # one of them has no test photos
    assert done.stdout.startswith("val: 9 photos that both runs have")


def test_a_run_with_neither_val_nor_test_photos_says_so(cli: Cli, photos: Path, write_recipe):
    shutil.rmtree(photos / "test")
    shutil.rmtree(photos / "val")
    text = RECIPE.replace("plain, split: {file: split.csv}", "photos, split: {val: 0}")
    done = cli("finetune", "--config", write_recipe(text, "r.yaml"))
    assert done.exit_code == 0, done.stderr
    unknown = "accuracy unknown: there were neither test nor validation photos\n"
    assert done.stdout.startswith(unknown)


def test_the_place_of_the_file_is_no_part_of_the_recipe(cli: Cli, finished: Path):
    record = json.loads((directory.runs_root() / "plain-1/run.json").read_text())
    finished.with_name("split.csv").rename(finished.with_name("other.csv"))
    done = cli(
        "finetune", "--config", finished, "--set", f"data.split.file={finished.parent}/other.csv"
    )
    assert done.exit_code == 0
    again = json.loads((directory.runs_root() / "plain-2/run.json").read_text())
    for key in ("recipe_fingerprint", "dataset_fingerprint"):
        assert record[key] == again[key]
