"""Folders of splits and classes, and what lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.data_folders import (
    data_block,
    index_errors,
    name_in_index,
    notes,
    splits_by_name,
    write_classes,
    write_files,
)

from tlcli.data import dataset
from tlcli.data.layout import SPLITS
from tlcli.errors import DataError
from tlcli.recipe.settings import Data


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Valid", "dev", "eval"])
def test_split_folders(tmp_path: Path, name: str):
    write_classes(tmp_path, "train/a", "train/b", f"{name}/a", f"{name}/b", "test/a", "test/b")
    index = dataset.read_index(data_block(tmp_path, val=0.4, test=0.4))
    assert index.classes == ("a", "b")
    assert index.counts() == {split: {"a": 2, "b": 2} for split in SPLITS}
    assert index.notes == ()
    for path, split in splits_by_name(index).items():
        assert path.startswith({"val": name}.get(split, split))


def test_split_folders_by_other_words(tmp_path: Path):
    write_classes(tmp_path, "Training/a", "Training/b", "Testing/a", "Testing/b", photos=9)
    index = dataset.read_index(data_block(tmp_path, val=0.4, test=0.4))
    assert index.classes == ("a", "b")
    assert index.counts()["test"] == {"a": 9, "b": 9}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["test/a", "test/b", "val/a", "val/b"],
         "ROOT: val, test are named like splits, but there is no folder 'train' with class folders "
         "in it; put the class folders to train on in a folder 'train', or rename the folders"),
        (["a", "b", "Testing/a", "Testing/b"],
         "ROOT: Testing is named like a split, but there is no folder 'train' with class folders "
         "in it; put the class folders to train on in a folder 'train', or rename it"),
        (["train", "test"],
         "ROOT: train, test are named like splits, but there is no folder 'train' with class "
         "folders in it; make a folder for each class in each of them, or rename the folders"),
    ],
)  # fmt: skip
def test_split_folders_without_classes_to_train_on(
    tmp_path: Path, folders: list[str], expected: str
):
    write_classes(tmp_path, *folders)
    assert index_errors(tmp_path) == [expected]


@pytest.mark.parametrize("name", ["test", "dev", "eval"])
def test_a_class_may_be_called_as_a_split(tmp_path: Path, name: str):
    write_classes(tmp_path, name, f"{name}/deep", "others")
    index = dataset.read_index(data_block(tmp_path))
    assert index.classes == tuple(sorted([name, "others"]))
    assert index.counts()["train"] == {name: 4, "others": 2}


def test_a_class_may_be_called_train(tmp_path: Path):
    write_classes(tmp_path, "train", "plane")
    assert dataset.read_index(data_block(tmp_path)).classes == ("plane", "train")


def test_two_folders_for_one_split(tmp_path: Path):
    write_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b")
    assert index_errors(tmp_path) == [
        "ROOT: more than one folder for the val split: val, valid; merge them into one"
    ]


def test_what_lies_beside_the_split_folders(tmp_path: Path):
    write_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "test/a", "test/b")
    write_files(tmp_path, "unsorted/x.jpg", "loose.jpg", "train/also.png", "README.md")
    index = dataset.read_index(data_block(tmp_path))
    assert len(index.items) == 12
    assert notes(index, "warning") == [
        "ROOT: ignored 1 folder beside train: unsorted; "
        "if they are classes, move the class folders out of train",
        "ROOT: 2 photos: ignored, outside the class folders: loose.jpg, train/also.png; "
        "move photos into the folder of their class",
        "ROOT/README.md: ignored, without an image extension; "
        "photos need a file extension such as .jpg",
    ]


def test_a_missing_folder_names_its_near_miss(tmp_path: Path):
    (tmp_path / "cats_dogs").mkdir()
    assert index_errors(tmp_path / "cat_dogs") == [
        f"ROOT: no such folder; did you mean '{tmp_path / 'cats_dogs'}'?"
    ]
    assert index_errors(tmp_path / "zzz") == ["ROOT: no such folder; check the path"]
    assert index_errors(tmp_path / "no" / "where") == [
        f"ROOT: no such folder; {tmp_path / 'no'} does not exist either"
    ]


def test_a_file_instead_of_a_folder(tmp_path: Path):
    write_files(tmp_path, "photos.jpg", "photos.zip", "my photos.tar.gz", "photos.7z")
    assert index_errors(tmp_path / "photos.jpg") == [
        "ROOT: is a file, not a folder; name the folder that holds it"
    ]
    what = "ROOT: is a packed archive, not a folder; unpack it"
    for name, command in {
        "photos.zip": f": `unzip ROOT -d {tmp_path}`",
        "my photos.tar.gz": f": `tar -xf 'ROOT' -C {tmp_path}`",
        "photos.7z": "",
    }.items():
        assert index_errors(tmp_path / name) == [
            f"{what}{command}, and name the folder of the photos"
        ]


def test_a_table_and_a_folder_in_place_of_each_other(tmp_path: Path):
    write_files(tmp_path, "x.csv")
    assert index_errors(tmp_path / "x.csv") == [
        "ROOT: is not a folder; for a table, use data.csv instead of data.dir"
    ]
    with pytest.raises(
        DataError, match=r"is a folder, not a table; for a folder, use data\.dir instead of"
    ):
        dataset.build_index(Data(csv=tmp_path))
    (tmp_path / "x.csv").rename(tmp_path / "x")
    write_classes(tmp_path / "x.csv", "a", "b")
    assert dataset.read_index(data_block(tmp_path / "x.csv")).classes == ("a", "b")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "ROOT: is an empty folder; put a folder of photos for each class into it"),
        (
            ["a.jpg", "b.jpg", "c.txt"],
            "ROOT: 2 photos but no class folders; "
            "make a folder for each class and move its photos there",
        ),
        (
            ["c.txt"],
            "ROOT: no class folders; make a folder for each class and move its photos there",
        ),
        (
            ["cats/a.jpg"],
            "ROOT: only one class folder, 'cats'; a classifier needs two or more",
        ),
        (
            ["train/cats/a.jpg", "val/cats/b.jpg"],
            "ROOT/train: only one class folder, 'cats'; a classifier needs two or more",
        ),
    ],
)
def test_too_little_to_train_on(tmp_path: Path, names: list[str], expected: str):
    (tmp_path / "in").mkdir()
    write_files(tmp_path / "in", *names)
    assert index_errors(tmp_path / "in") == [expected]


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs")
    write_files(tmp_path, "cats/a.txt", "cats/b.mp4", "dogs/in/c.csv", "dogs/d", "x.jpg")
    write_files(
        tmp_path, ".DS_Store", "cats/Thumbs.db", "__MACOSX/cats/._0.jpg", "dogs/desktop.ini"
    )
    index = dataset.read_index(data_block(tmp_path))
    assert index.classes == ("cats", "dogs")
    assert [note for note in notes(index, "warning") if "ignored" in note] == [
        "ROOT/x.jpg: ignored, outside the class folders; "
        "move photos into the folder of their class",
        "ROOT: 4 files: ignored, without an image extension: cats/a.txt, cats/b.mp4, dogs/d and 1 "
        "more; photos need a file extension such as .jpg",
    ]
    assert notes(index, "note")[-1] == (
        "ROOT: 4 files: ignored, hidden or made by the system: .DS_Store, __MACOSX, cats/Thumbs.db "
        "and 1 more"
    )


def test_a_link_in_a_circle_ends(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/all").symlink_to(tmp_path)
    (tmp_path / "cats/me").symlink_to(tmp_path / "cats")
    index = dataset.read_index(data_block(tmp_path))
    assert index.counts()["train"] == {"cats": 2, "dogs": 2}
    known = "leads to a folder that has already been read, and is not followed"
    assert notes(index, "note")[-1] == f"ROOT: 2 folders: {known}: cats/all, cats/me"


def test_linked_class_folders_and_photos(tmp_path: Path):
    write_files(tmp_path, "store/1.jpg", "store/2.jpg", "data/dogs/3.jpg")
    (tmp_path / "data/cats").symlink_to(tmp_path / "store")
    (tmp_path / "data/dogs/4.jpg").symlink_to(tmp_path / "store/1.jpg")
    index = dataset.read_index(data_block(tmp_path / "data"))
    assert [name_in_index(index, item) for item in index.items] == [
        "cats/1.jpg",
        "cats/2.jpg",
        "dogs/3.jpg",
        "dogs/4.jpg",
    ]
