"""`tlcli suggest`: what is suggested, what is left out, and what the store has afterwards."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from builders.photos import paint, paint_classes, paint_splits
from PIL import Image

from tlcli.audits.suggestion_output import LIST, SHEET
from tlcli.audits.unlabelled import thin_out
from tlcli.data.dataset import Item
from tlcli.runs import directory
from tlcli.system import files

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = (
    "name: shapes\ndata: {{dir: '{}'}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
)
RECIPE += "stages: [{{name: head}}, {{name: tune, freeze_until: block4_pool}}]\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Photos of three colours: 10 of each for training and validation, 2 for the test."""
    return paint_splits(tmp_path_factory.mktemp("shapes") / "photos", train=7, val=3, test=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A store that the tests of this module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def new(tmp_path, shapes) -> Path:
    """24 photos of the three colours, 8 that are all yellow, and some that are of no use."""
    folder = tmp_path / "new"
    paint_classes(folder, 8, 900)
    for number in range(8):
        paint(folder / f"yellow-{number}.png", (240, 230, 20), 990 + number)
    shutil.copyfile(shapes / "train/blue/00.png", folder / "labelled.png")
    shutil.copyfile(shapes / "test/red/00.png", folder / "test.png")
    with Image.open(shapes / "val/green/00.png") as photo:
        photo.convert("RGB").save(folder / "nearly.jpg", quality=95)
    shutil.copyfile(folder / "yellow-0.png", folder / "zz-copy.png")
    (folder / "broken.png").write_bytes(b"no photo")
    return folder


@pytest.fixture
def suggest(cli, shapes, new, write_recipe, cache):
    """Run the command on the new photos: `suggest("-n", 5)`."""
    recipe = write_recipe(RECIPE.format(shapes))

    def run(*words: object, folder: Path = new):
        return cli("suggest", folder, "--config", recipe, "--cache-dir", cache, *words)

    return run


def test_what_is_missing_comes_first_and_labelled_photos_are_left_out(suggest, new):
    done = suggest("-n", 6, "--json")
    assert done.exit_code == 0, done.stderr
    err = " ".join(done.stderr.split())
    assert f"{new}/broken.png: cannot be decoded: not an image" in err
    assert ("37 photos, 32 to choose from; left out: 3 labelled already, or nearly the same as a "
            "labelled one, 1 the same as another one, or nearly, 1 unreadable") in err  # fmt: skip
    assert "photos have no stored features and go through VGG16 once" in err
    result = json.loads(done.stdout)
    paths = [Path(photo["path"]) for photo in result["photos"]]
    assert len(set(paths)) == 6 and all(path.is_relative_to(new) for path in paths)
    assert paths[0].name.startswith("yellow"), "no labelled photo is like them"
    assert set(result["photos"][0]) == {"path", "reason", "like", "between", "unsure"}
    assert result["left_out"] == {"labelled": 3, "alike": 1, "unreadable": 1}
    assert (result["labelled"], result["images"]) == (30, 30 + 32 + 6)
    gain = result["gain"]
    assert (gain["labelled"], gain["added"]) == (24 - 4 * 4, 4)
    again = json.loads(suggest("-n", 6, "--json").stdout)
    assert again.pop("images") == 0
    for value in (result, again):
        value.pop("seconds")
    result.pop("images")
    assert result == again


def test_photos_that_are_labelled_later_are_in_the_store(suggest, cli, shapes, tmp_path, cache):
    result = json.loads(suggest("-n", 5, "--json").stdout)
    labelled = tmp_path / "labelled"
    shutil.copytree(shapes, labelled)
    for number, photo in enumerate(result["photos"]):
        shutil.copyfile(photo["path"], labelled / "train/blue" / f"new-{number}.png")
    recipe = tmp_path / "labelled.yaml"
    recipe.write_text(RECIPE.format(shapes))
    cli("extract", "--config", recipe, "--cache-dir", cache)
    recipe.write_text(RECIPE.format(labelled))
    done = json.loads(cli("extract", "--config", recipe, "--cache-dir", cache, "--json").stdout)
    assert done["images"] == 41
    assert done["computed"] == {"block4_pool": 0, "block5_pool": 0}


def test_table_list_and_sheet(suggest, new):
    done = suggest("-n", 23, "--out", "next")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["label", "next", "reason"]
    assert "and 3 more; --all lists them" in lines
    assert any(line.startswith("chosen beside random: ") for line in lines)
    assert lines[-1] == f"kept in next: {LIST}, {SHEET}"
    with (Path("next") / LIST).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 23
    assert list(rows[0]) == ["path", "reason", "like", "likeliest", "second"]
    assert all(Path(row["path"]).is_file() for row in rows)
    with Image.open(Path("next") / SHEET) as sheet:
        assert sheet.info["Software"] == "tlcli"
        assert sheet.width > 6 * 160 and sheet.height > 4 * 160
    again = suggest("--out", "next")
    assert again.exit_code == 1
    assert f"--out next: has {LIST} already; name another folder" in again.stderr


def test_more_than_there_are(suggest, tmp_path):
    few = tmp_path / "few"
    paint_classes(few, 1, 700)
    done = suggest("-n", 9, "--json", folder=few)
    assert "9 were asked for and 3 are there: all are listed, the most useful first" in done.stderr
    assert len(json.loads(done.stdout)["photos"]) == 3


def test_folders_without_a_photo_to_label(suggest, shapes, tmp_path):
    done = suggest(folder=shapes / "train")
    assert done.exit_code == 1
    assert (
        f"{shapes}/train: holds no photo that is not labelled yet: 21 photos, 0 to" in done.stderr
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: no photos in this folder" in suggest(folder=empty).stderr
    (empty / "a.png").write_bytes(b"x")
    assert (
        f"{empty}: holds no photo that can be read: 1 photo, 0 to" in suggest(folder=empty).stderr
    )
    assert f"{empty}/none" in (missing := suggest(folder=empty / "none")).stderr
    assert missing.exit_code == 1


def test_a_run_of_other_weights_and_two_sources(suggest, cli, new, instant_run, tmp_path):
    done = suggest("--run", "x")
    assert (done.exit_code, "--config and a run: name one of them" in done.stderr) == (2, True)
    run = directory.Run(tmp_path / "other")
    shutil.copytree(instant_run[0].path, run.path)
    record = run.record()
    record["weights"]["checksum"] = "c" * 64
    files.write_json(run.file(directory.RECORD), record)
    done = cli("suggest", new, "--run", run.path, "--cache-dir", tmp_path / "cache")
    assert done.exit_code == 1
    assert "the run began with cccccccccccccccc; bring back those it began with" in done.stderr


def test_labels_of_one_class_only(suggest, cli, new, tmp_path):
    for split, classes in {"train": ("blue",), "test": ("blue", "red")}.items():
        for name in classes:
            paint(tmp_path / "one" / split / name / f"{split}.png", (9, 9, 200), len(name))
    recipe = tmp_path / "one.yaml"
    recipe.write_text(RECIPE.format(tmp_path / "one"))
    done = cli("suggest", new, "--config", recipe)
    assert done.exit_code == 1
    assert done.stdout == ""


def test_of_very_many_photos_the_same_ones_are_compared():
    items = [Item(f"{number}.png", -1, "test", f"{number * 7 % 10:064d}") for number in range(9)]
    kept = thin_out(items, 4)
    assert thin_out(items[::-1], 4) == kept
    assert {item.digest for item in kept} == set(sorted(item.digest for item in items)[:4])
