"""The photos of an evaluation: found, checked by their bytes, labelled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, RunError, TlcliError
from tlcli.evaluation import labelled_photos
from tlcli.recipe.settings import Columns
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files

CLASSES = ("blue", "green", "red")


@pytest.fixture(params=["absolute", "relative"])
def run(request, photos, tmp_path, write_recipe) -> Run:
    """What a run knows of `photos`, with the paths of its table written in either way."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    text = f"data: {{dir: '{photos}'}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
    run.file(directory.RECIPE).write_text(text)
    rows = []
    for path in sorted(photos.rglob("*.png")):
        shown = path if request.param == "absolute" else path.relative_to(photos)
        split, name = path.relative_to(photos).parts[:2]
        rows.append((shown, name, split, hash_file(path)))
    files.write_table(run.file(directory.SPLIT), ("path", "label", "split", "sha256"), rows)
    return run


def refusal(function, *arguments, kind: type[TlcliError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        function(*arguments)
    return str(caught.value)


def test_a_split(run: Run, photos: Path):
    labelled = labelled_photos.find_split_photos(run, "test", CLASSES)
    assert (labelled.name, labelled.root) == ("test", photos)
    assert [photo.path for photo in labelled.photos] == sorted((photos / "test").rglob("*.png"))
    assert [photo.name for photo in labelled.photos[:2]] == ["test/blue/00.png", "test/blue/01.png"]
    assert [photo.label for photo in labelled.photos] == [0, 0, 1, 1, 2, 2]
    assert all(photo.sha256 == hash_file(photo.path) for photo in labelled.photos)


def test_the_order_of_the_classes_is_the_models(run: Run):
    labelled = labelled_photos.find_split_photos(run, "test", CLASSES[::-1])
    assert [photo.label for photo in labelled.photos] == [2, 2, 1, 1, 0, 0]


def test_a_split_that_is_not_there(run: Run):
    path = run.file(directory.SPLIT)
    path.write_text(path.read_text().replace(",test,", ",train,"))
    assert refusal(labelled_photos.find_split_photos, run, "test", CLASSES, kind=RunError) == (
        f"--split test: the run {run.path} has no photo in this split; allowed: train, val"
    )


def test_a_folder_that_moved(run: Run, photos: Path):
    moved = photos.rename(photos.with_name("moved"))
    message = refusal(labelled_photos.find_split_photos, run, "test", CLASSES)
    assert message.startswith(f"{photos}: 6 photos ({photos}/test/blue/00.png, ")
    hint = "say where they are now with `tlcli evaluate --split test --data DIR`"
    assert message.endswith(f", ...) of 6 missing; {hint}")
    labelled = labelled_photos.find_split_photos(run, "test", CLASSES, moved)
    assert labelled.root == moved
    assert [photo.name for photo in labelled.photos[:1]] == ["test/blue/00.png"]


def test_photos_that_changed(run: Run, photos: Path):
    other = photos / "test/red/00.png"
    other.write_bytes((photos / "test/red/01.png").read_bytes())
    assert refusal(labelled_photos.find_split_photos, run, "test", CLASSES) == (
        f"{photos}: 1 photo ({other}) changed since the run (by SHA-256); "
        "restore them, or evaluate what is there now as new photos with --dir DIR"
    )
    assert len(labelled_photos.find_split_photos(run, "val", CLASSES).photos) == 9


def test_a_model_of_other_classes(run: Run):
    message = refusal(
        labelled_photos.find_split_photos, run, "test", ("blue", "green"), kind=RunError
    )
    assert "its split.csv and its model have different classes, such as 'red'" in message


def test_class_folders(photos: Path):
    folder = photos / "test"
    labelled = labelled_photos.find_folder_photos(folder, CLASSES)
    assert (labelled.name, labelled.root) == ("dir", folder)
    assert [(photo.name, photo.label) for photo in labelled.photos[1:3]] == [
        ("blue/01.png", 0), ("green/00.png", 1)
    ]  # fmt: skip


def test_class_folders_of_some_classes(photos: Path):
    for path in (photos / "test/blue").iterdir():
        path.unlink()
    (photos / "test/blue").rmdir()
    labelled = labelled_photos.find_folder_photos(photos / "test", CLASSES)
    assert [photo.label for photo in labelled.photos] == [1, 1, 2, 2]


def test_doubled_folders_are_entered(photos: Path, tmp_path: Path):
    (tmp_path / "test_set").mkdir()
    (photos / "test").rename(tmp_path / "test_set/test_set")
    labelled = labelled_photos.find_folder_photos(tmp_path / "test_set", CLASSES)
    assert [photo.label for photo in labelled.photos] == [0, 0, 1, 1, 2, 2]
    assert labelled.photos[0].name == "test_set/blue/00.png"


def test_folders_that_are_no_classes(photos: Path, tmp_path: Path):
    folder = photos / "test"
    (folder / "red").rename(folder / "redd")
    assert refusal(labelled_photos.find_folder_photos, folder, CLASSES) == (
        f"{folder}/redd: is not a class of the run; did you mean 'red'? (allowed: blue, green, red)"
    )
    assert refusal(labelled_photos.find_folder_photos, photos, CLASSES) == (
        f"--dir {photos}: holds folders of splits; name one of them, such as {photos}/val, "
        "or a split of the run with --split"
    )
    address = "https://example.org/photos"
    assert refusal(labelled_photos.find_folder_photos, Path(address), CLASSES) == (
        f"{address}: is a web address; tlcli reads files: download it and name the file"
    )
    (tmp_path / "empty").mkdir()
    assert refusal(labelled_photos.find_folder_photos, tmp_path / "empty", CLASSES) == (
        f"--dir {tmp_path}/empty: no photos in class folders; "
        "sort photos into folders named blue, green, red"
    )
    assert "no such folder" in refusal(
        labelled_photos.find_folder_photos, tmp_path / "none", CLASSES
    )


def test_what_is_no_photo_of_a_class_folder_is_said(photos: Path, capsys):
    folder = photos / "test"
    (folder / "red" / "notes.txt").touch()
    (folder / "loose.jpg").touch()
    assert len(labelled_photos.find_folder_photos(folder, CLASSES).photos) == 6
    assert capsys.readouterr().err == (
        f"warning: {folder}/loose.jpg: ignored, outside the class folders; "
        "move photos into the folder of their class\n"
        f"warning: {folder}/red/notes.txt: ignored, without an image extension; "
        "photos need a file extension such as .jpg\n"
    )


def test_a_table(photos: Path):
    table = photos / "labels.csv"
    table.write_text(
        f"\ufeffpath,label,note\ntest/red/00.png,red,x\n{photos}/test/blue/01.png,blue,\n",
        encoding="utf-8",
    )
    labelled = labelled_photos.find_table_photos(table, CLASSES)
    assert (labelled.name, labelled.root) == ("csv", photos)
    assert [(photo.path, photo.name, photo.label) for photo in labelled.photos] == [
        (photos / "test/red/00.png", "test/red/00.png", 2),
        (photos / "test/blue/01.png", "test/blue/01.png", 0),
    ]


def test_a_table_reads_as_in_recipes_and_its_splits_do_not_count(photos: Path, capsys):
    table = photos / "labels.csv"
    table.write_text("Label;Path;Split\nred;test/red/00.png;train\nblue;test/blue/01.png;\n")
    labelled = labelled_photos.find_table_photos(table, CLASSES)
    assert [(photo.name, photo.label) for photo in labelled.photos] == [
        ("test/red/00.png", 2),
        ("test/blue/01.png", 0),
    ]
    assert capsys.readouterr().err == (
        f"{table}: the split of 1 line is ignored: all lines are evaluated\n"
    )


def test_a_table_may_have_the_columns_of_the_recipe(photos: Path, capsys):
    table = photos / "labels.csv"
    columns = Columns(path="id", label="colour", split="is_valid")
    photo = min(photos.rglob("*.png"))
    for head in ("id,colour,is_valid", "path,label,is_test"):
        table.write_text(f"{head}\n{photo.relative_to(photos).with_suffix('')},red,True\n")
        labelled = labelled_photos.find_table_photos(table, CLASSES, columns)
        assert [each.path for each in labelled.photos] == [photo]
        assert "1 path completed by a suffix, such as " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,class\na.png,red\n",
            ":1: names columns, but not path and label (found 'file,class'); rename the columns "
            "'file' to path, 'class' to label",
        ),
        ("", ": is empty; write a line `path,label` for each photo"),
        ("path,label\n", ": has no lines; write one for each photo: path,label"),
        ("path,label\nx.png,rad\n", ":2: 'rad' is not a class of the run; did you mean 'red'?"),
        ("path,label\nx.png\n,red\n", ":2: has 1 column, not 2; put names with a comma in "),
        ("path,label\n,red\n", ":2: has no path; name the photo, or delete the line"),
        ("path,label\nnone.png,red\n", "/none.png: no such file: line 2; check the path"),
        (
            'path,label\n"x.png,red\n',
            ":2: is not a line of a table: unexpected end of data; close ",
        ),
    ],
)
def test_tables_with_faults(photos: Path, text: str, message: str):
    table = photos / "labels.csv"
    table.write_text(text)
    assert message in refusal(labelled_photos.find_table_photos, table, CLASSES)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_photo_that_may_not_be_read(photos: Path):
    path = photos / "test/red/00.png"
    path.chmod(0)
    assert f"{path}: cannot be read: permission denied" in refusal(
        labelled_photos.find_folder_photos, photos / "test", CLASSES
    )
