"""Going on from a run: its network, its split, and old classes beside new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from builders.homes import Home
from builders.networks import thin_vgg16
from builders.photos import COLOURS, paint, paint_classes
from click.testing import Result

from tlcli.images.decode import load_image
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.training import saving
from tlcli.training.parent import carry_columns, continue_head
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network
from tlcli.training.shortened import start_from
from tlcli.training.train import train

Cli = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: plain, split: {file: split.csv}}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8]}
stages:
  - {name: head, epochs: 3, learning_rate: 0.01}
  - {name: block5, freeze_until: block4_pool, epochs: 2, learning_rate: 0.001}
"""
OLD, NEW = list(COLOURS)[:2], list(COLOURS)[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Home:
    """A home with a recipe, photos of two classes, and the run plain-1."""
    home = Home(tmp_path_factory.mktemp("trained"))
    with thin_vgg16(), home.filled() as folder:
        paint_classes(folder / "plain", 10, 300)
        shutil.move(folder / "plain" / NEW, folder / "others")
        (folder / "plain.yaml").write_text(RECIPE, encoding="utf-8")
        train(make_plan(preflight(load_recipe(folder / "plain.yaml"))))
    return home


@pytest.fixture
def home(trained: Home, monkeypatch) -> Path:
    return trained.restore(monkeypatch)


def add_class(home: Path, name: str = NEW) -> None:
    shutil.copytree(home / "others", home / "plain" / name)


def child_network(home: Path, run: Run):
    path, overrides = start_from(run, None, ())
    plan = make_plan(preflight(load_recipe(path, overrides)))
    network = load_network(plan.recipe, plan.source, len(plan.index.classes))
    assert plan.parent is not None
    continue_head(network, plan.parent, plan.index.classes)
    return network


def test_columns_of_two_classes_become_those_of_a_softmax():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(5, 4)), rng.normal(size=(4, 1))
    carried = carry_columns(kernel, np.full((4, 3), 7.0), ["b", "c"], ["a", "b", "c"])
    assert (carried[:, 0] == 7).all(), "a new class keeps what it was drawn with"
    two = np.exp(x @ carried[:, 1:])
    sigmoid = 1 / (1 + np.exp(-(x @ kernel)))
    np.testing.assert_allclose(two[:, 1:] / two.sum(axis=1, keepdims=True), sigmoid, rtol=1e-12)


def test_columns_of_more_classes_go_by_name():
    old, new = np.arange(6.0).reshape(2, 3), np.zeros((2, 5))
    carried = carry_columns(old, new, ["b", "d", "e"], ["a", "b", "c", "d", "e"])
    assert carried.tolist() == [[0, 0, 0, 1, 2], [0, 3, 0, 4, 5]]
    assert carry_columns(old[:, :1], new[:, :1], ["b", "d"], ["b", "d"]).tolist() == [[0], [3]]


def test_the_network_begins_as_the_run_left_it(home: Path):
    run = directory.find_run("plain-1")
    photos = sorted((home / "plain").rglob("*.png"))[:6]
    pixels = np.stack([load_image(p, height=32, width=32, resize="squash") for p in photos])
    parent = keras.saving.load_model(run.file(directory.MODEL), compile=False)
    expected = parent(pixels.astype(np.float32), training=False).numpy()
    same = child_network(home, run)
    assert np.array_equal(same.whole(pixels.astype(np.float32), training=False), expected)
    add_class(home)
    wider = child_network(home, run).whole(pixels.astype(np.float32), training=False).numpy()
    old = wider[:, :2] / wider[:, :2].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(old[:, 1:], expected, atol=1e-5)


def test_only_new_photos_are_computed_and_old_ones_keep_their_split(cli: Cli, home: Path):
    before = {row.sha256: row.split for row in read_split(directory.find_run("plain-1"))}
    for number in range(2):
        paint(home / "plain" / OLD[0] / f"new{number}.png", COLOURS[OLD[0]], 900 + number)
    done = cli("finetune", "--from", "plain-1")
    assert done.exit_code == 0, done.stderr
    assert "starts from: plain-1; 2 new photos" in done.stderr
    assert "features: 2 rows computed" in done.stderr
    assert "of the time of plain-1, which took" in done.stdout
    run = directory.find_run("plain-2")
    now = {row.sha256: row.split for row in read_split(run)}
    assert {digest: now[digest] for digest in before} == before
    assert [stage["name"] for stage in run.read(directory.SUMMARY)["stages"]] == ["block5"]
    parent = run.record()["parent"]
    assert (parent["run"], parent["classes"]) == ("plain-1", OLD)
    lines = (home / "split.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(now)


def test_a_new_class_is_learned_killed_resumed_and_repeated(cli: Cli, home: Path, monkeypatch):
    add_class(home)
    words = ("finetune", "--from", "plain-1", "--set", "stages.0.epochs=2")
    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_model", _stop)
        assert cli(*words).exit_code != 0
    done = cli(*words)
    assert done.exit_code == 0, done.stderr
    assert "plain-2, which was stopped" in done.stderr
    stages = directory.find_run("plain-2").read(directory.SUMMARY)["stages"]
    assert [(stage["name"], stage["epochs"]) for stage in stages] == [("head", 2), ("block5", 1)]
    again = cli("reproduce", "plain-2")
    assert again.exit_code == 0, again.stdout + again.stderr
    assert again.stdout.startswith("identical")
    compared = cli("compare", "plain-1", "plain-2", "--json", "--allow-loss")
    changes = json.loads(compared.stdout)["classes"]
    assert [old["name"] for old in changes["old"]] == OLD
    assert [new["name"] for new in changes["new"]] == [NEW]
    shutil.move(home / "runs" / "plain-1", home / "elsewhere")
    moved = cli("reproduce", "plain-2", "--out", "again")
    assert "no such run" in moved.stderr
    repeated = cli("reproduce", "plain-2", "--out", "again", "--from", home / "elsewhere")
    assert repeated.stdout.startswith("identical"), repeated.stderr


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("base.image_size=48", "is [48, 48], and of the run that training starts from [32, 32]"),
        ("head.hidden=[4]", "set head.hidden=[8], or leave --from out"),
        ("base.resize=crop", "is crop, and of the run"),
    ],
)
def test_networks_that_differ_are_refused(cli: Cli, home: Path, setting: str, words: str):
    refused = cli("finetune", "--from", "plain-1", "--set", setting)
    assert refused.exit_code == 1
    assert words in refused.stderr


def test_a_renamed_class_is_refused(cli: Cli, home: Path):
    (home / "plain" / OLD[0]).rename(home / "plain" / f"{OLD[0]}s")
    refused = cli("finetune", "--from", "plain-1")
    assert refused.exit_code == 1
    assert f"there is no class '{OLD[0]}' any more, which plain-1 knows" in refused.stderr
    assert f"if '{OLD[0]}s' is its new name, give it the old one" in refused.stderr


def test_a_photo_that_was_held_back_is_never_trained_on(cli: Cli, home: Path):
    """Where folders say the split, and someone has moved photos between them."""
    root = home / "plain"
    rows = read_split(directory.find_run("plain-1"))
    taken = next(row for row in rows if row.split == "test")
    for row in rows:
        split = "train" if row is taken else row.split
        target = home / "folders" / split / row.label / f"{row.sha256[:8]}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / row.path, target)
    moved = ("--set", f"data.dir={home / 'folders'}")
    refused = cli("finetune", "--from", "plain-1", *moved)
    assert refused.exit_code == 1
    assert "1 photo of test of plain-1 in train now, such as train/" in refused.stderr


def test_a_split_file_that_contradicts_the_run_is_refused(cli: Cli, home: Path):
    file = home / "split.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(",test,", ",train,"))
    refused = cli("finetune", "--from", "plain-1")
    assert refused.exit_code == 1
    assert "in another split than in plain-1, such as" in refused.stderr


def test_what_makes_no_run_begins_with_the_base(home: Path):
    setting = f"start_from={home / 'runs' / 'plain-1'}"
    recipe = load_recipe(home / "plain.yaml", [setting])
    checked = preflight(recipe, run=False)
    assert (checked.parent, checked.recipe.start_from) == (None, None)
    assert checked.source is not None
    assert checked.source.kind == "random"
    (note,) = (problem for problem in checked.problems if "start_from" in problem.where)
    assert note.message == "is not used here, where everything begins with the base"
    assert preflight(recipe).parent is not None
