"""The index: labels, the split by content, files that cannot be read."""

from __future__ import annotations

import hashlib
import os
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
from tlcli.data.dataset import Index, Item
from tlcli.errors import DataError, Problem
from tlcli.recipe.settings import Data

# Class folders


def test_class_folders(tmp_path: Path):
    write_files(tmp_path, "dogs/b.jpg", "dogs/a.PNG", "cats/deep/er/c.jpeg", "Zebra/z.webp")
    index = dataset.read_index(data_block(tmp_path))
    assert index.root == tmp_path
    assert index.classes == ("Zebra", "cats", "dogs")
    assert [item.path.relative_to(tmp_path).as_posix() for item in index.items] == [
        "Zebra/z.webp",
        "cats/deep/er/c.jpeg",
        "dogs/a.PNG",
        "dogs/b.jpg",
    ]
    assert [item.label for item in index.items] == [0, 1, 2, 2]
    assert index.items[0].digest == hashlib.sha256(b"Zebra/z.webp").hexdigest()
    assert index.of("train") == index.items
    assert index.counts()["train"] == {"Zebra": 1, "cats": 1, "dogs": 2}
    assert index.counts()["val"] == {"Zebra": 0, "cats": 0, "dogs": 0}


def test_names_in_any_script_are_kept_exactly(tmp_path: Path):
    write_files(tmp_path, "größe 1/ä b.jpg", "猫/一.jpg")
    index = dataset.read_index(data_block(tmp_path))
    assert index.classes == ("größe 1", "猫")
    assert [name_in_index(index, item) for item in index.items] == ["größe 1/ä b.jpg", "猫/一.jpg"]
    assert index.items[0].digest == hashlib.sha256("größe 1/ä b.jpg".encode()).hexdigest()


# The split by content


def test_the_hashes_divide_every_class(tmp_path: Path):
    write_classes(tmp_path, "cats", photos=150)
    write_classes(tmp_path, "dogs", photos=10)
    index = dataset.read_index(data_block(tmp_path, val=0.3, test=0.2))
    assert index.counts() == {
        "train": {"cats": 75, "dogs": 5},
        "val": {"cats": 45, "dogs": 3},
        "test": {"cats": 30, "dogs": 2},
    }
    by_hash = sorted(index.items, key=lambda item: item.digest)
    row = [item.split for item in by_hash if item.label == 0]
    assert row == ["test"] * 30 + ["train"] * 75 + ["val"] * 45
    assert all(item.divided for item in index.items)


def test_every_class_has_its_share_where_the_hash_alone_would_leave_it_out(tmp_path: Path):
    """Three classes of 12 photos: with a draw for each photo, two had none for the test."""
    write_classes(tmp_path, "a", "b", "c", photos=12)
    index = dataset.read_index(data_block(tmp_path, val=0.15, test=0.15))
    assert index.counts() == {
        "train": dict.fromkeys("abc", 8),
        "val": dict.fromkeys("abc", 2),
        "test": dict.fromkeys("abc", 2),
    }
    assert index.notes == ()


def test_few_photos_move_when_photos_are_added(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs", photos=40)
    before = splits_by_name(dataset.read_index(data_block(tmp_path, val=0.3, test=0.2)))
    write_files(tmp_path, *(f"cats/a{number}.jpg" for number in range(40)), "owls/x.jpg")
    write_classes(tmp_path, "owls", photos=30)
    after = splits_by_name(dataset.read_index(data_block(tmp_path, val=0.3, test=0.2)))
    assert len(after) == 80 + 40 + 31
    moved = [path for path in before if after[path] != before[path]]
    assert len(moved) < 8
    assert all(path.startswith("cats/") for path in moved)  # the others have not changed


def test_identical_files_share_a_split(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs", photos=40)
    for number in range(10):
        copies = [f"cats/x{number}.jpg", f"cats/in/y{number}.png", f"dogs/z{number}.jpg"]
        write_files(tmp_path, *copies, content=b"copy %d" % number)
    index = dataset.read_index(data_block(tmp_path, val=0.3, test=0.2))
    split_of = splits_by_name(index)
    for number in range(10):
        splits_of_copies = {split_of[f"cats/x{number}.jpg"], split_of[f"cats/in/y{number}.png"]}
        assert splits_of_copies == {split_of[f"dogs/z{number}.jpg"]}
    assert len({split_of[f"cats/x{number}.jpg"] for number in range(10)}) > 1
    assert notes(index, "warning") == []


def test_classes_with_too_few_photos_for_every_split(tmp_path: Path):
    for name, number in (("one", 1), ("three", 3), ("two", 2), ("zwei", 2)):
        write_classes(tmp_path, name, photos=number)
    index = dataset.read_index(data_block(tmp_path, val=0.15, test=0.15))
    assert index.counts() == {
        "train": dict.fromkeys(("one", "three", "two", "zwei"), 1),
        "val": {"one": 0, "three": 1, "two": 1, "zwei": 1},
        "test": {"one": 0, "three": 1, "two": 0, "zwei": 0},
    }
    hint = "; add photos: a class needs three, or groups, to be in every split"
    assert notes(index, "warning") == [
        f"ROOT/one: no photo is left for val: 1 photo in all{hint}",
        "ROOT: 3 folders: no photo is left for test: one (1 photo in all), two (2 photos in all), "
        f"zwei (2 photos in all){hint}",
    ]


def test_a_class_needs_as_many_photos_as_there_are_splits(tmp_path: Path):
    for name, number in (("one", 1), ("two", 2)):
        write_classes(tmp_path, name, photos=number)
    index = dataset.read_index(data_block(tmp_path, val=0.15, test=0))
    assert notes(index, "warning") == [
        "ROOT/one: no photo is left for val: 1 photo in all; "
        "add photos: a class needs two, or groups, to be in every split"
    ]


def test_many_small_classes_lose_none(tmp_path: Path):
    write_classes(tmp_path, *(f"c{number}" for number in range(300)), photos=3)
    index = dataset.read_index(data_block(tmp_path, val=0.15, test=0.15))
    for by_class in index.counts().values():
        assert set(by_class.values()) == {1}
    assert index.notes == ()


def test_no_val_is_a_warning_and_no_test_a_note(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs")
    index = dataset.read_index(data_block(tmp_path))
    assert notes(index, "warning") == [
        "data.split.val: no val photos, so the best epoch cannot be chosen; set it above 0"
    ]
    assert notes(index, "note") == ["ROOT: no test split"]


# The split where folders leave a part of it open


def test_without_a_val_folder_it_is_taken_from_train(tmp_path: Path):
    write_classes(tmp_path, "train/a", "train/b", photos=40)
    write_classes(tmp_path, "test/a", "test/b")
    index = dataset.read_index(data_block(tmp_path, val=0.25, test=0.5))
    assert index.counts()["test"] == {"a": 2, "b": 2}
    assert index.counts()["val"] == {"a": 10, "b": 10}
    assert notes(index, "note") == [
        "ROOT: no val folder: 25% of every class in train is taken as val"
    ]
    assert all(item.divided == (item.split != "test") for item in index.items)


def test_without_a_test_folder_there_is_no_test_split_unless_a_share_is_asked_for(tmp_path: Path):
    write_classes(tmp_path, "train/a", "train/b", photos=40)
    write_classes(tmp_path, "val/a", "val/b")
    index = dataset.read_index(data_block(tmp_path, val=0.25, test=None))
    assert index.of("test") == ()
    assert notes(index, "note") == [
        "ROOT: no test folder, so no test split; to take one out of train, set data.split.test=0.15"
    ]
    assert notes(index, "warning") == []
    index = dataset.read_index(data_block(tmp_path, val=0.25, test=0.15))
    assert index.counts() == {
        "train": {"a": 34, "b": 34},
        "val": {"a": 2, "b": 2},
        "test": {"a": 6, "b": 6},
    }
    assert notes(index, "note") == [
        "ROOT: no test folder: 15% of every class in train is taken as test"
    ]


def test_a_table_without_test_rows_has_no_test_split_unless_a_share_is_asked_for(tmp_path: Path):
    write_classes(tmp_path, "a", "b", photos=20)
    rows = [
        f"{name}/{n}.jpg,{name},{'val' if n < 5 else 'train'}" for name in "ab" for n in range(20)
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    index = dataset.read_index(Data(csv=table))
    assert [str(note).removeprefix(f"{table}: ") for note in index.notes] == [
        "no test rows, so no test split; to take one out of train, set data.split.test=0.15"
    ]
    index = dataset.read_index(Data(csv=table, split={"test": 0.2}))
    assert index.counts()["test"] == {"a": 3, "b": 3}
    assert index.counts()["val"] == {"a": 5, "b": 5}


def test_plain_class_folders_have_a_test_split_by_default(tmp_path: Path):
    write_classes(tmp_path, "a", "b", photos=20)
    index = dataset.read_index(Data(dir=tmp_path))
    assert index.counts()["test"] == {"a": 3, "b": 3}


# Files that cannot be read


def test_a_table_may_not_name_a_pipe(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    table = tmp_path / "photos.csv"
    table.write_text("a.jpg,cats\nb.jpg,dogs\npipe.jpg,cats\nfolder.jpg,dogs\n")
    index = dataset.build_index(Data(csv=table, on_bad_image="skip"))
    messages = {path.name: finding.message for finding in index.findings for path in finding.paths}
    assert messages == {
        "pipe.jpg": "cannot be read: not a regular file",
        "folder.jpg": "cannot be read: is a folder",
    }


def test_bad_files_may_be_skipped(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    index = dataset.read_index(data_block(tmp_path, val=0.0, bad="skip"))
    assert len(index.items) == 4
    assert notes(index, "warning")[-1] == (
        "ROOT/cats/gone.jpg: cannot be read: a link to nothing; left out of the run"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_files_that_may_not_be_read(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/0.jpg").chmod(0)
    line = "ROOT/cats/0.jpg: cannot be read: permission denied; make it readable, or remove it"
    assert index_errors(tmp_path) == [line]
    skipped = line.replace("make it readable, or remove it", "left out of the run")
    assert notes(dataset.read_index(data_block(tmp_path, bad="skip")), "warning")[-1] == skipped
    (tmp_path / "cats/1.jpg").chmod(0)
    assert index_errors(tmp_path, bad="skip") == [
        "ROOT/cats: none of its photos can be read; a class needs photos"
    ]


def test_a_file_that_vanishes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_classes(tmp_path, "cats", "dogs")
    opened = Path.open

    def fail_on_one(self: Path, *args: object, **options: object):
        if self.name == "1.jpg":
            raise FileNotFoundError(2, "No such file or directory")
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", fail_on_one)
    assert index_errors(tmp_path) == [
        "ROOT: 2 photos: cannot be read: no such file or directory: cats/1.jpg, dogs/1.jpg; "
        "make it readable, or remove it"
    ]


# The index as a value


def test_the_fingerprint_is_of_content_class_and_split(tmp_path: Path):
    for root in (tmp_path / "one", tmp_path / "two"):
        write_classes(root, "cats", "dogs", photos=20)
    (tmp_path / "two/cats/0.jpg").rename(tmp_path / "two/cats/zzz.png")
    first, second = (
        dataset.read_index(data_block(tmp_path / name, val=0.3)) for name in ("one", "two")
    )
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64

    assert (
        dataset.read_index(data_block(tmp_path / "one", val=0.4)).fingerprint != first.fingerprint
    )
    assert first.without([first.items[0].path]).fingerprint != first.fingerprint
    (tmp_path / "two/cats").rename(tmp_path / "two/cots")
    renamed = dataset.read_index(data_block(tmp_path / "two", val=0.3))
    assert renamed.fingerprint != first.fingerprint


def test_without_drops_photos_and_keeps_classes():
    items = (Item("/d/a/1", 0, "train", "00"), Item("/d/b/2", 1, "val", "11"))
    index = Index(Path("/d"), ("a", "b"), items, (Problem("", "kept"),))
    less = index.without([Path("/d/b/2"), Path("/d/c/3")])
    assert less.items == items[:1]
    assert less.classes == index.classes
    assert less.notes == index.notes


def test_two_readings_are_equal(tmp_path: Path):
    write_classes(tmp_path, "cats", "dogs", photos=30)
    settings = data_block(tmp_path, val=0.2, test=0.2)
    assert dataset.read_index(settings) == dataset.read_index(settings)


@pytest.mark.parametrize("key", ["csv", "exclude"])
def test_what_never_ends_is_not_read(photos: Path, tmp_path: Path, key: str):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        data = Data(csv=path) if key == "csv" else Data(dir=photos, exclude=path)
        with pytest.raises(DataError, match="cannot be read: not a regular file"):
            dataset.read_index(data)
