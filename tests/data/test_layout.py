"""Problems of a layout: names, nesting, and classes that differ between splits."""

from __future__ import annotations

from pathlib import Path

from builders.data_folders import (
    data_block,
    index_errors,
    notes,
    write_classes,
    write_files,
)

from tlcli.data import dataset


def test_folders_above_the_classes_are_no_classes(tmp_path: Path):
    write_classes(tmp_path, "siteA/cats", "siteA/dogs", "siteB/cats/old", "siteB/dogs", "siteC/x")
    assert notes(dataset.read_index(data_block(tmp_path)), "warning")[0] == (
        "ROOT: the class folders 'siteA', 'siteB' directly contain no photos, but they share the "
        "subfolders 'cats', 'dogs'; if 'cats', 'dogs' are the classes, merge those of the same name"
    )
    write_files(tmp_path, "siteB/x.jpg")
    assert "subfolders" not in str(notes(dataset.read_index(data_block(tmp_path)), "warning"))


def test_classes_that_differ_between_split_folders(tmp_path: Path):
    write_classes(tmp_path, "train/cats", "train/dogs", "val/cat", "val/dogs", "test/owl")
    (tmp_path / "val/wolves").mkdir()
    assert index_errors(tmp_path) == [
        "ROOT/val/wolves: class folder without a photo; add photos to it, or delete it if it is "
        "not a class",
        "ROOT: 2 folders: a class that is not in train: val/cat (like 'cats' there), val/wolves; "
        "rename it, add it to train, or delete it here",
        "ROOT/val: class 'cats': missing here, but in train; "
        "add photos of it, or delete the val folder",
        "ROOT/test/owl: a class that is not in train; add it to train, or delete it here",
        "ROOT/test: 2 classes: missing here, but in train: 'cats', 'dogs'; "
        "add photos of it, or delete the test folder",
    ]


def test_a_test_folder_of_unsorted_photos(tmp_path: Path):
    write_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "test")
    assert index_errors(tmp_path) == [
        "ROOT/test: no class folders; "
        "sort its photos into class folders, or move the folder elsewhere"
    ]


def test_all_problems_come_at_once(tmp_path: Path):
    write_files(tmp_path, "Cats/a.jpg", "cats /b.jpg", "caf\u00e9/c.jpg", "cafe\u0301/d.jpg")
    write_files(tmp_path, "empty/notes.txt")
    (tmp_path / "Cats/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    lines = index_errors(tmp_path)
    twins = "has the name of another but for letter case, spaces or accent encoding"
    assert sorted(lines) == sorted(
        [
            f"ROOT: 2 class folders: {twins}: 'caf\u00e9' (like 'cafe\u0301'), 'cats ' (like "
            "'Cats'); merge or rename them",
            "ROOT/empty: class folder without a photo; add photos to it, or delete it if it is "
            "not a class",
            "ROOT/Cats/gone.jpg: cannot be read: a link to nothing; make it readable, or remove it",
        ]
    )
