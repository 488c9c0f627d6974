"""The sheet of views: what is on it, and what keeps it from being written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.data import dataset, preview
from tlcli.errors import DataError, TlcliError
from tlcli.images import augment, contact_sheet, decode
from tlcli.recipe.augment import Augment
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Data, Split

TEXT = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 64}
augment: {views: 3, rotation_range: 30, brightness_range: 0.3, random_resized_crop: {}}
"""


@pytest.fixture
def chosen(photos, write_recipe):
    return load_recipe(write_recipe(TEXT.replace("PHOTOS", str(photos)), "pets.yaml"))


def cell(sheet: Image.Image, row: int, column: int, height: int) -> np.ndarray:
    """A picture of the sheet, found from its lower end."""
    line, gap = 18, contact_sheet.ROW_GAP
    top = sheet.height - (contact_sheet.ROW_GAP + 64) - (height - 1 - row) * (line + 64 + gap)
    left = gap + column * (64 + gap)
    return np.asarray(sheet)[top : top + 64, left : left + 64]


def test_rows_are_photos_and_their_views_of_training(chosen, tmp_path):
    index = dataset.read_index(chosen.data)
    written = preview.write_sheet(chosen, index, tmp_path / "v.png", number=2)
    assert (written.rows, written.views, written.left_out) == (6, 3, ())
    sheet = Image.open(written.path).convert("RGB")
    rows = []
    for label in range(3):
        mine = [item for item in index.of("train") if item.label == label]
        rows += sorted(mine, key=lambda item: item.digest)[:2]
    for row, item in enumerate(rows):
        photo = decode.load_image(item.path, height=64, width=64, resize="squash")
        assert (cell(sheet, row, 0, 6) == photo).all()
        for view in (1, 2, 3):
            (pixels,) = augment.make_views(chosen.augment, photo[None], [item.digest], [view])
            assert (cell(sheet, row, view, 6) == np.rint(pixels)).all()


def test_the_settings_are_told(chosen):
    assert preview.describe_settings(chosen) == {
        "views": "3",
        "rotation_range": "30",
        "random_resized_crop": "{scale: [0.08, 1], ratio: [0.75, 1.333]}",
        "brightness_range": "[0.7, 1.3]",
    }


def test_the_command(cli, photos, write_recipe, tmp_path):
    path = write_recipe(TEXT.replace("PHOTOS", str(photos)), "pets.yaml")
    done = cli("preview", "--config", path)
    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "pets-views.png\n",
        "A view whose class you cannot tell teaches nothing: weaken `augment` then.\n"
        f"next: tlcli finetune --config {path}\n",
    )
    with Image.open("pets-views.png") as sheet:
        assert sheet.format == "PNG"
    assert cli("preview", "--config", path).exit_code == 0, "its own sheet is replaced"
    Path("pets-views.png").write_text("mine")
    done = cli("preview", "--config", path)
    assert done.exit_code == 1
    assert done.stderr == (
        "error: pets-views.png: exists already; "
        "name another with --out, or replace it with --force\n"
    )
    assert Path("pets-views.png").read_text() == "mine"
    out = tmp_path / "v.png"
    done = cli("preview", "-c", path, "--out", out, "--json", "--photos", 1, "--views", 8)
    assert json.loads(done.stdout) == {
        "path": str(out), "photos": 3, "photos_of_each_class": 1, "views": 8,
        "classes_left_out": [],
    }  # fmt: skip
    assert cli("preview", "-c", path, "--out", out, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("recipe.yaml", "--out recipe.yaml: sheets are written as PNG; name a file.png"),
        ("/dev/null/x.png", "--out /dev/null/x.png: its folder does not exist; make it, or name"),
    ],
)
def test_where_it_cannot_be_written(chosen, out: str, message: str):
    with pytest.raises(TlcliError, match=message):
        preview.preview(chosen, out=Path(out), force=True)


def test_copies_and_bad_photos_take_no_rows_of_good_ones(chosen, photos, tmp_path, capsys):
    (photos / "train/red/copy.png").write_bytes((photos / "train/red/00.png").read_bytes())
    for name in ("a", "b", "c"):
        (photos / f"train/blue/{name}.jpg").write_bytes(b"<html>" + name.encode())
    written = preview.write_sheet(
        chosen, dataset.read_index(chosen.data), tmp_path / "v.png", number=8
    )
    assert (written.rows, written.left_out) == (24, ())
    assert 1 <= capsys.readouterr().err.count("left out") <= 3  # those before the last good one


def test_less_than_was_asked_for_is_told(cli, photos, write_recipe, monkeypatch):
    path = write_recipe(TEXT.replace("PHOTOS", str(photos)))
    monkeypatch.setattr(preview, "MAX_ROWS", 7)
    done = cli("preview", "-c", path, "--photos", 5)
    assert done.stderr.splitlines()[0] == "a sheet has 7 rows at most: 2 photos of each class"
    done = cli("preview", "-c", path, "--force", "--set", "augment={views: 2}", "--views", 3)
    line = "no setting of `augment` changes a photo, so there are no views to show"
    assert done.stderr.splitlines()[0] == line


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        ({}, "no setting changes a photo"),
        ({"views": 0, "rotation_range": 20}, "no views are kept: training shows the photos alone"),
        ({"views": 2, "rotation_range": 20}, "views: 2"),
    ],
)
def test_the_caption_says_why_there_are_no_views(chosen, augment, says):
    other = chosen.model_copy(update={"augment": Augment(**augment)})
    caption = " ".join(preview._caption(other, other.augment.kept_views, 480))
    assert caption.startswith(says)


def test_a_photo_that_cannot_be_read_is_left_out_and_named(chosen, photos, tmp_path, capsys):
    index = dataset.read_index(chosen.data)
    for item in index.of("train"):
        if item.label == 0:
            item.path.write_bytes(b"<html>")
    index = dataset.read_index(chosen.data)
    written = preview.write_sheet(chosen, index, tmp_path / "v.png", number=1)
    assert written.rows == 2
    assert "not an image" in capsys.readouterr().err
    for path in photos.glob("train/*/*"):
        path.write_bytes(path.name.encode() + b"<html>")
    with pytest.raises(DataError, match="no training photo can be shown"):
        preview.write_sheet(chosen, dataset.read_index(chosen.data), tmp_path / "w.png")


def test_many_classes_and_odd_names(chosen, photos, tmp_path, monkeypatch):
    for number in range(4):
        folder = photos / f"train/{'猫' if number % 2 else 'عربي'} {number}\x1b"
        folder.mkdir()
        shutil.copy(photos / f"train/red/0{number}.png", folder / "a\nb.png")
    monkeypatch.setattr(preview, "MAX_ROWS", 5)
    index = dataset.read_index(Data(dir=photos / "train", split=Split(val=0, test=0)))
    written = preview.write_sheet(chosen, index, tmp_path / "v.png", number=3)
    assert written.rows <= 5
    assert len(written.left_out) == len(index.classes) - 5
    assert preview.write_sheet(chosen, index, tmp_path / "w.png", number=3, most=2).rows == 2


def test_by_default_as_many_views_as_training_shows(chosen, tmp_path):
    for views, shown in ((0, 0), (2, 2), (9, 6), ("live", 6)):
        augment = chosen.augment.model_copy(update={"views": views})
        other = chosen.model_copy(update={"augment": augment})
        written = preview.preview(other, out=tmp_path / f"{views}.png")
        assert written.views == shown


def test_without_settings_the_photos_are_shown(chosen, tmp_path):
    plain = chosen.model_copy(update={"augment": Augment(mixup=0.3)})
    written = preview.write_sheet(
        plain, dataset.read_index(chosen.data), tmp_path / "v.png", number=1
    )
    assert (written.rows, written.views) == (3, 0)
