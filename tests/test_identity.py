"""What a run is told by, and how others are told from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tlcli import dataset, identity, outputs, recipe, runs
from tlcli.errors import RunError

RECIPE = "data: {dir: 'PHOTOS'}\nbase: {name: VGG16, weights: random, image_size: 32}\n"


@pytest.fixture
def parts(photos, write_recipe):
    """Recipe and index, as they are after some overrides."""

    def load(*overrides: str):
        path = write_recipe(RECIPE.replace("PHOTOS", str(photos)), "small.yaml")
        chosen = recipe.load(path, overrides)
        return chosen, dataset.read(chosen.data)

    return load


@pytest.fixture
def run(parts) -> runs.Run:
    """One that began with the recipe and the photos as they are."""
    made = outputs.create("small", None)
    identity.write(made, *parts())
    return made


def test_the_same_does_not_differ(run, parts):
    assert identity.differences(run, *parts()) == []
    assert run.record().items() >= identity.of(*parts()).items()


def test_changed_settings_are_told_one_by_one(run, parts):
    changed = parts("stages.1.epochs=7", "head.hidden=[8,4]")
    assert identity.differences(run, *changed) == [
        "head.hidden.0 was 256, is now 8",
        "head.hidden.1 was not set, is now 4",
        "stages.1.epochs was 30, is now 7",
    ]
    more = parts("head.hidden=[1,2,3,4,5,6,7]")
    assert identity.differences(run, *more)[identity.NAMED :] == ["2 more settings changed"]


def test_changed_photos_are_counted(run, parts, photos: Path):
    (photos / "train/blue/00.png").unlink()
    shutil.move(photos / "train/blue/01.png", photos / "train/red/new.png")
    assert identity.differences(run, *parts()) == [
        "1 photo is gone",
        "1 photo is in another class or split",
    ]


def test_renamed_photos_change_the_order_of_an_epoch(run, parts, photos: Path):
    (photos / "train/blue/00.png").rename(photos / "train/blue/zz.png")
    assert identity.differences(run, *parts()) == ["photos were renamed, which changes their order"]


def test_a_moved_data_folder_is_the_same(run, parts, photos: Path, tmp_path: Path):
    photos.rename(tmp_path / "elsewhere")
    assert identity.differences(run, *parts(f"data.dir={tmp_path / 'elsewhere'}")) == []


def test_a_damaged_record_is_a_difference(run, parts):
    run.file(runs.RECORD).write_text("[]", encoding="utf-8")
    with pytest.raises(RunError):
        identity.differences(run, *parts())
    assert identity.differences_told(run, *parts()) == ["is not the record of a run"]


def test_other_photos_are_readable_than_then(run, parts):
    _, index = parts()
    bad = index.items[0].path
    identity.leave_out(run, index.without({bad}))
    identity.check_photos(run, index)  # nothing was trained: it begins with these
    identity.check_photos(run, index)
    run.file(runs.CHECKPOINTS).mkdir()
    (run.file(runs.CHECKPOINTS) / "epoch-00001.npz").touch()
    with pytest.raises(RunError) as error:
        identity.check_photos(run, index.without({bad}))
    assert str(error.value) == (
        f"{run.path}: 1 photo is gone; "
        "make the same photos readable again, or start a new run with --fresh"
    )
