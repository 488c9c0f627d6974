"""What a run is told by, and how others are told from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import SMALL

from tlcli.data import dataset
from tlcli.errors import RecipeError, RunError
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory, fingerprints
from tlcli.runs.create import create_run
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.system import files


@pytest.fixture
def run(parts) -> directory.Run:
    """One that began with the recipe and the photos as they are."""
    made = create_run("small", None)
    fingerprints.record_inputs(made, *parts())
    return made


def test_the_same_does_not_differ(run, parts):
    assert fingerprints.differences(run, *parts()) == []
    assert run.record().items() >= fingerprints.compute_fingerprints(*parts()).items()


def test_changed_settings_are_told_one_by_one(run, parts):
    changed = parts("stages.1.epochs=7", "head.hidden=[8,4]")
    assert fingerprints.differences(run, *changed) == [
        "head.hidden was [256], is now [8, 4]",
        "stages.1.epochs was 30, is now 7",
    ]
    more = parts(
        "seed=7", "head.hidden=[8]", "head.dropout=0.1", "head.l2=0.1", "batch_size=5",
        "stages.0.epochs=7", "stages.1.epochs=7",
    )  # fmt: skip
    assert fingerprints.differences(run, *more)[fingerprints.NAMED :] == ["2 more settings changed"]


@pytest.mark.parametrize(
    ("base", "batch_norm", "same"),
    [
        ("EfficientNetB0", "train", False),
        ("EfficientNetB0", "frozen", True),
        ("MobileNetV3Small", "train", True),  # it has no dropout below its classifier
    ],
)
def test_a_run_of_a_version_that_trained_otherwise_is_another(parts, base, batch_norm, same):
    """Earlier versions ran stochastic depth of the base too where batch norm trained."""
    recipe, index = parts(
        f"base.name={base}", f"base.batch_norm={batch_norm}", "stages=[{name: head}]"
    )
    run = create_run("small", None)
    fingerprints.record_inputs(run, recipe, index)
    assert fingerprints.differences(run, recipe, index) == []
    values = recipe.resolved()
    del values["name"], values["data"]["dir"], values["data"]["csv"], values["data"]["exclude"]
    for key in ("columns", "depth", "labels"):  # which those versions had not
        del values["data"][key]
    del values["unknown_rate"], values["head"]["normalize"]
    values["data"]["split"] = {"val": 0.15, "test": 0.15}
    earlier = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    files.write_json(run.file(directory.RECORD), {**run.record(), "recipe_fingerprint": earlier})
    lines = [] if same else ["another version of tlcli started it"]
    assert fingerprints.differences(run, recipe, index) == lines


def test_changed_photos_are_counted(run, parts, photos: Path):
    (photos / "train/blue/00.png").unlink()
    shutil.move(photos / "train/blue/01.png", photos / "train/red/new.png")
    assert fingerprints.differences(run, *parts()) == [
        "1 photo is gone",
        "1 photo is in another class or split",
    ]


def test_renamed_photos_change_the_order_of_an_epoch(run, parts, photos: Path):
    (photos / "train/blue/00.png").rename(photos / "train/blue/zz.png")
    assert fingerprints.differences(run, *parts()) == [
        "photos were renamed, which changes their order"
    ]


def test_a_moved_data_folder_is_the_same(run, parts, photos: Path, tmp_path: Path):
    photos.rename(tmp_path / "elsewhere")
    assert fingerprints.differences(run, *parts(f"data.dir={tmp_path / 'elsewhere'}")) == []


def test_a_damaged_record_is_a_difference(run, parts):
    run.file(directory.RECORD).write_text("[]", encoding="utf-8")
    with pytest.raises(RunError):
        fingerprints.differences(run, *parts())
    assert fingerprints.differences_or_damage(run, *parts()) == [
        "run.json: is not the record of a run"
    ]
    run.file(directory.RECORD).unlink()
    assert fingerprints.differences_or_damage(run, *parts()) == ["has no run.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed: \xff", ":1: not UTF-8 text"),
        (b"a: 1\nseed: !!int 0x" + b"f" * 5_000, ":2: has a tag, '!!int'"),
    ],
)
def test_a_damaged_recipe_is_a_difference_and_says_of_which_run(
    run, parts, text: bytes, message: str
):
    run.file(directory.RECIPE).write_bytes(text)
    assert fingerprints.differences_or_damage(run, *parts("seed=3")) == [f"recipe.yaml{message}"]
    with pytest.raises(RecipeError) as caught:
        read_recipe(run)
    assert str(caught.value).startswith(f"{run.path}/recipe.yaml{message}")
    run.file(directory.RECIPE).unlink()
    with pytest.raises(RecipeError) as gone:
        read_recipe(run)
    assert str(gone.value).startswith(f"{run.path}/recipe.yaml: no such file")


def test_a_difference_is_one_line_of_bounded_length(run, parts):
    record = run.file(directory.RECIPE).read_text()
    other = record.replace("seed: 0", 'seed: "x\\nerror: your disk is full' + "y" * 9_000 + '"', 1)
    run.file(directory.RECIPE).write_text(other)
    (difference,) = fingerprints.differences_or_damage(run, *parts("seed=3"))
    assert difference.endswith("y..., is now 3")
    assert len(difference) < 100
    line = fingerprints.describe_not_resumed(run, [difference])
    assert "\n" not in line
    assert "x\\nerror: your" in line


def test_other_photos_are_readable_than_then(run, parts):
    _, index = parts()
    bad = index.items[0].path
    fingerprints.record_readable_photos(run, index.without({bad}))
    fingerprints.check_same_photos(run, index)  # nothing was trained: it begins with these
    fingerprints.check_same_photos(run, index)
    run.file(directory.CHECKPOINTS).mkdir()
    (run.file(directory.CHECKPOINTS) / "epoch-00001.npz").touch()
    with pytest.raises(RunError) as error:
        fingerprints.check_same_photos(run, index.without({bad}))
    assert str(error.value) == (
        f"{run.path}: 1 photo is gone; "
        "make the same photos readable again, or start a new run with --fresh"
    )


def test_a_folder_whose_name_is_no_utf_8_keeps_its_bytes(photos: Path, tmp_path: Path, monkeypatch):
    here = tmp_path / os.fsdecode(b"caf\xe9")
    here.mkdir()
    photos.rename(here / "photos")
    monkeypatch.chdir(here)
    (here / "r.yaml").write_text(SMALL.replace("PHOTOS", "photos"))
    chosen = load_recipe(Path("r.yaml"))
    index = dataset.read_index(chosen.data)
    run = create_run("small", Path("run"))
    fingerprints.record_inputs(run, chosen, index)
    assert fingerprints.differences(run, chosen, index) == []
    assert read_recipe(run).data.dir == here / "photos"
    assert {here / "photos" / row.path for row in read_split(run)} == {
        item.path for item in index.items
    }


def test_where_photos_were_moved_to_is_written_down(run, parts, photos: Path, tmp_path: Path):
    places = [run.file(name) for name in (directory.RECIPE, directory.SPLIT)]
    before = [path.stat().st_mtime_ns for path in places]
    fingerprints.update_paths(run, *parts())
    assert [path.stat().st_mtime_ns for path in places] == before, "nothing was moved"
    old = [path.read_text("utf-8") for path in places]
    photos.rename(tmp_path / "moved")
    moved = parts(f"data.dir={tmp_path / 'moved'}")
    assert fingerprints.differences(run, *moved) == []
    fingerprints.update_paths(run, *moved)
    now = [text.replace(str(photos), str(tmp_path / "moved")) for text in old]
    assert [path.read_text("utf-8") for path in places] == now
    assert now != old
