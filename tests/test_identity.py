"""What a run is told by, and how others are told from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import SMALL

from tlcli import identity, outputs, recipes, runs, splits
from tlcli.data import dataset
from tlcli.errors import RecipeError, RunError
from tlcli.recipe.load import load_recipe


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
    assert identity.differences_told(run, *parts()) == ["run.json: is not the record of a run"]
    run.file(runs.RECORD).unlink()
    assert identity.differences_told(run, *parts()) == ["has no run.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"seed: \xff", ":1: not UTF-8 text"),
        (b"a: 1\nseed: !!int 0x" + b"f" * 5_000, ":2: has a tag, '!!int'"),
    ],
)
def test_a_damaged_recipe_is_a_difference_and_says_of_which_run(run, parts, text: bytes, said: str):
    run.file(runs.RECIPE).write_bytes(text)
    assert identity.differences_told(run, *parts("seed=3")) == [f"recipe.yaml{said}"]
    with pytest.raises(RecipeError) as caught:
        recipes.of_run(run)
    assert str(caught.value).startswith(f"{run.path}/recipe.yaml{said}")
    run.file(runs.RECIPE).unlink()
    with pytest.raises(RecipeError) as gone:
        recipes.of_run(run)
    assert str(gone.value).startswith(f"{run.path}/recipe.yaml: no such file")


def test_a_difference_is_one_line_of_bounded_length(run, parts):
    record = run.file(runs.RECIPE).read_text()
    other = record.replace("seed: 0", 'seed: "x\\nerror: your disk is full' + "y" * 9_000 + '"', 1)
    run.file(runs.RECIPE).write_text(other)
    (told,) = identity.differences_told(run, *parts("seed=3"))
    assert told.endswith("y..., is now 3")
    assert len(told) < 100
    line = identity.not_resumed(run, [told])
    assert "\n" not in line
    assert "x\\nerror: your" in line


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


def test_a_folder_whose_name_is_no_utf_8_keeps_its_bytes(photos: Path, tmp_path: Path, monkeypatch):
    here = tmp_path / os.fsdecode(b"caf\xe9")
    here.mkdir()
    photos.rename(here / "photos")
    monkeypatch.chdir(here)
    (here / "r.yaml").write_text(SMALL.replace("PHOTOS", "photos"))
    chosen = load_recipe(Path("r.yaml"))
    index = dataset.read(chosen.data)
    run = outputs.create("small", Path("run"))
    identity.write(run, chosen, index)
    assert identity.differences(run, chosen, index) == []
    assert recipes.of_run(run).data.dir == here / "photos"
    assert {here / "photos" / row.path for row in splits.read(run)} == {
        item.path for item in index.items
    }


def test_where_photos_were_moved_to_is_written_down(run, parts, photos: Path, tmp_path: Path):
    places = [run.file(name) for name in (runs.RECIPE, runs.SPLIT)]
    before = [path.stat().st_mtime_ns for path in places]
    identity.update_places(run, *parts())
    assert [path.stat().st_mtime_ns for path in places] == before, "nothing was moved"
    old = [path.read_text("utf-8") for path in places]
    photos.rename(tmp_path / "moved")
    moved = parts(f"data.dir={tmp_path / 'moved'}")
    assert identity.differences(run, *moved) == []
    identity.update_places(run, *moved)
    now = [text.replace(str(photos), str(tmp_path / "moved")) for text in old]
    assert [path.read_text("utf-8") for path in places] == now
    assert now != old
