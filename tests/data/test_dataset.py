"""The index: layouts, the split by content, and every message about them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcli.data import dataset
from tlcli.data.dataset import Index, Item
from tlcli.data.layout import SPLITS
from tlcli.errors import DataError, Problem
from tlcli.recipe.settings import Data


def data(root: Path, *, val: float = 0.0, test: float = 0.0, bad: str = "error"):
    """Just enough of a recipe's `data` block."""
    split = SimpleNamespace(val=val, test=test)
    return SimpleNamespace(dir=root, csv=None, exclude=None, split=split, on_bad_image=bad)


def plant(root: Path, *names: str, content: bytes | None = None) -> None:
    """Write files whose bytes are their names, unless told."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() if content is None else content)


def plant_classes(root: Path, *folders: str, photos: int = 2) -> None:
    for folder in folders:
        plant(root, *(f"{folder}/{number}.jpg" for number in range(photos)))


def errors(root: Path, **settings: object) -> list[str]:
    """The problems that `read` raises, as lines seen from `root`."""
    with pytest.raises(DataError) as caught:
        dataset.read_index(data(root, **settings))
    assert {problem.severity for problem in caught.value.problems} == {"error"}
    return [str(problem).replace(str(root), "ROOT") for problem in caught.value.problems]


def notes(index: Index, severity: str) -> list[str]:
    return [
        str(problem).replace(str(index.root), "ROOT")
        for problem in index.notes
        if problem.severity == severity
    ]


def splits(index: Index) -> dict[str, str]:
    return {name(index, item): item.split for item in index.items}


def name(index: Index, item: dataset.Item) -> str:
    """The path of a photo, seen from the root."""
    return item.path.relative_to(index.root).as_posix()


def photo_for(split: str, number: int, *, val: float = 0.3, test: float = 0.2) -> bytes:
    """The bytes of the `number`th made-up photo that the hash sends to `split`."""
    found = 0
    for trial in range(10_000):
        content = b"%d" % trial
        share = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
        drawn = "test" if share < test else "val" if share < test + val else "train"
        if drawn == split:
            if found == number:
                return content
            found += 1
    raise AssertionError("no such photo")


# Class folders


def test_class_folders(tmp_path: Path):
    plant(tmp_path, "dogs/b.jpg", "dogs/a.PNG", "cats/deep/er/c.jpeg", "Zebra/z.webp")
    index = dataset.read_index(data(tmp_path))
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
    plant(tmp_path, "größe 1/ä b.jpg", "猫/一.jpg")
    index = dataset.read_index(data(tmp_path))
    assert index.classes == ("größe 1", "猫")
    assert [name(index, item) for item in index.items] == ["größe 1/ä b.jpg", "猫/一.jpg"]
    assert index.items[0].digest == hashlib.sha256("größe 1/ä b.jpg".encode()).hexdigest()


def test_a_class_may_be_called_train(tmp_path: Path):
    plant_classes(tmp_path, "train", "plane")
    assert dataset.read_index(data(tmp_path)).classes == ("plane", "train")


# The split by content


def test_the_hash_decides_the_split(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs", photos=150)
    index = dataset.read_index(data(tmp_path, val=0.3, test=0.2))
    for item in index.items:
        share = int.from_bytes(hashlib.sha256(item.path.read_bytes()).digest()[:8], "big") / 2**64
        expected = "test" if share < 0.2 else "val" if share < 0.5 else "train"
        assert item.split == expected
    shares = Counter(item.split for item in index.items)
    assert shares["val"] == pytest.approx(90, abs=25)
    assert shares["test"] == pytest.approx(60, abs=22)


def test_adding_photos_moves_none(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs", photos=40)
    before = splits(dataset.read_index(data(tmp_path, val=0.3, test=0.2)))
    plant(tmp_path, *(f"cats/a{number}.jpg" for number in range(40)), "owls/x.jpg")
    plant_classes(tmp_path, "owls", photos=30)
    after = splits(dataset.read_index(data(tmp_path, val=0.3, test=0.2)))
    assert len(after) == 80 + 40 + 31
    assert {path: after[path] for path in before} == before


def test_identical_files_share_a_split(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs", photos=40)
    for number in range(10):
        copies = [f"cats/x{number}.jpg", f"cats/in/y{number}.png", f"dogs/z{number}.jpg"]
        plant(tmp_path, *copies, content=b"copy %d" % number)
    index = dataset.read_index(data(tmp_path, val=0.3, test=0.2))
    found = splits(index)
    for number in range(10):
        of_copies = {found[f"cats/x{number}.jpg"], found[f"cats/in/y{number}.png"]}
        assert of_copies == {found[f"dogs/z{number}.jpg"]}
    assert len({found[f"cats/x{number}.jpg"] for number in range(10)}) > 1
    assert notes(index, "warning") == []


def test_classes_that_the_hash_leaves_thin(tmp_path: Path):
    for number, name in enumerate(("full", "no_train", "no_val", "no_test")):
        for split in ("train", "val", "test"):
            if name != f"no_{split}":
                plant(tmp_path, f"{name}/{split}.jpg", content=photo_for(split, number))
    assert errors(tmp_path, val=0.3, test=0.2) == [
        "ROOT/no_train: no train photo: of 2 photos, none was assigned to train by content; "
        "add photos, or lower data.split.val and data.split.test",
    ]
    plant(tmp_path, "no_train/more.jpg", content=photo_for("train", 7))
    index = dataset.read_index(data(tmp_path, val=0.3, test=0.2))
    assert notes(index, "warning") == [
        "ROOT/no_test: no test photo: of 2 photos, none was assigned to test by content; "
        "add photos, or raise data.split.test (now 0.2)",
        "ROOT/no_val: no val photo: of 2 photos, none was assigned to val by content; "
        "add photos, or raise data.split.val (now 0.3)",
    ]


def test_no_val_is_a_warning_and_no_test_a_note(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs")
    index = dataset.read_index(data(tmp_path))
    assert notes(index, "warning") == [
        "data.split.val: no val photos, so the best epoch cannot be chosen; set it above 0"
    ]
    assert notes(index, "note") == ["ROOT: no test split"]


# Split folders


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Valid", "dev", "eval"])
def test_split_folders(tmp_path: Path, name: str):
    plant_classes(tmp_path, "train/a", "train/b", f"{name}/a", f"{name}/b", "test/a", "test/b")
    index = dataset.read_index(data(tmp_path, val=0.4, test=0.4))
    assert index.classes == ("a", "b")
    assert index.counts() == {split: {"a": 2, "b": 2} for split in SPLITS}
    assert index.notes == ()
    for path, split in splits(index).items():
        assert path.startswith({"val": name}.get(split, split))


def test_split_folders_by_other_words(tmp_path: Path):
    plant_classes(tmp_path, "Training/a", "Training/b", "Testing/a", "Testing/b", photos=9)
    index = dataset.read_index(data(tmp_path, val=0.4, test=0.4))
    assert index.classes == ("a", "b")
    assert index.counts()["test"] == {"a": 9, "b": 9}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["test/a", "test/b", "val/a", "val/b"],
         "ROOT: val, test are named like splits, but there is no folder 'train' with class folders "
         "in it; put the class folders to train on in a folder 'train', or rename them"),
        (["a", "b", "Testing/a", "Testing/b"],
         "ROOT: Testing is named like a split, but there is no folder 'train' with class folders "
         "in it; put the class folders to train on in a folder 'train', or rename it"),
        (["train", "test"],
         "ROOT: train, test are named like splits, but there is no folder 'train' with class "
         "folders in it; make a folder for each class in each of them, or rename them"),
    ],
)  # fmt: skip
def test_split_folders_without_classes_to_train_on(
    tmp_path: Path, folders: list[str], expected: str
):
    plant_classes(tmp_path, *folders)
    assert errors(tmp_path) == [expected]


@pytest.mark.parametrize("name", ["test", "dev", "eval"])
def test_a_class_may_be_called_as_a_split(tmp_path: Path, name: str):
    plant_classes(tmp_path, name, f"{name}/deep", "others")
    index = dataset.read_index(data(tmp_path))
    assert index.classes == tuple(sorted([name, "others"]))
    assert index.counts()["train"] == {name: 4, "others": 2}


def test_folders_above_the_classes_are_no_classes(tmp_path: Path):
    plant_classes(tmp_path, "siteA/cats", "siteA/dogs", "siteB/cats/old", "siteB/dogs", "siteC/x")
    assert notes(dataset.read_index(data(tmp_path)), "warning")[0] == (
        "ROOT: the class folders 'siteA', 'siteB' directly contain no photos, but they share the "
        "subfolders 'cats', 'dogs'; if 'cats', 'dogs' are the classes, merge those of the same name"
    )
    plant(tmp_path, "siteB/x.jpg")
    assert "subfolders" not in str(notes(dataset.read_index(data(tmp_path)), "warning"))


def test_without_a_val_folder_the_hash_takes_it_from_train(tmp_path: Path):
    plant_classes(tmp_path, "train/a", "train/b", photos=40)
    plant_classes(tmp_path, "test/a", "test/b")
    index = dataset.read_index(data(tmp_path, val=0.25, test=0.5))
    assert index.counts()["test"] == {"a": 2, "b": 2}
    assert sum(index.counts()["val"].values()) == pytest.approx(20, abs=10)
    assert notes(index, "note") == ["ROOT: no val folder: 25% of train is taken as val, by content"]


def test_without_a_test_folder_there_is_no_test_split(tmp_path: Path):
    plant_classes(tmp_path, "train/a", "train/b", "val/a", "val/b")
    index = dataset.read_index(data(tmp_path, val=0.25, test=0.5))
    assert index.of("test") == ()
    assert notes(index, "note") == ["ROOT: no test folder, so no test split"]
    assert notes(index, "warning") == []


def test_classes_that_differ_between_split_folders(tmp_path: Path):
    plant_classes(tmp_path, "train/cats", "train/dogs", "val/cat", "val/dogs", "test/owl")
    (tmp_path / "val/wolves").mkdir()
    assert errors(tmp_path) == [
        "ROOT/val/wolves: class folder without a photo; add photos to it, or delete it if it is "
        "not a class",
        "ROOT/val/cat: class 'cat' is not in train; did you mean 'cats'?",
        "ROOT/val/wolves: class 'wolves' is not in train; add it to train, or delete it here",
        "ROOT/val: class 'cats' is missing, but is in train; "
        "add photos of it, or delete the val folder",
        "ROOT/test/owl: class 'owl' is not in train; add it to train, or delete it here",
        "ROOT/test: class 'cats' is missing, but is in train; "
        "add photos of it, or delete the test folder",
        "ROOT/test: class 'dogs' is missing, but is in train; "
        "add photos of it, or delete the test folder",
    ]


def test_a_test_folder_of_unsorted_photos(tmp_path: Path):
    plant_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "test")
    assert errors(tmp_path) == [
        "ROOT/test: no class folders; "
        "sort its photos into class folders, or move the folder elsewhere"
    ]


def test_two_folders_for_one_split(tmp_path: Path):
    plant_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b")
    assert errors(tmp_path) == [
        "ROOT: more than one folder for the val split: val, valid; merge them into one"
    ]


def test_what_lies_beside_the_split_folders(tmp_path: Path):
    plant_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "test/a", "test/b")
    plant(tmp_path, "unsorted/x.jpg", "loose.jpg", "train/also.png", "README.md")
    index = dataset.read_index(data(tmp_path))
    assert len(index.items) == 12
    assert notes(index, "warning") == [
        "ROOT: ignored 1 folder beside train: unsorted; "
        "if they are classes, move the class folders out of train",
        "ROOT: 2 photos: ignored, outside the class folders: loose.jpg, train/also.png; "
        "move photos into the folder of their class",
        "ROOT/README.md: ignored, without an image extension; "
        "photos need a file extension such as .jpg",
    ]


# What is wrong with folders


def test_a_table_may_not_name_a_pipe(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    table = tmp_path / "photos.csv"
    table.write_text("a.jpg,cats\nb.jpg,dogs\npipe.jpg,cats\nfolder.jpg,dogs\n")
    index = dataset.build_index(Data(csv=table, on_bad_image="skip"))
    said = {path.name: finding.message for finding in index.findings for path in finding.paths}
    assert said == {
        "pipe.jpg": "cannot be read: not a regular file",
        "folder.jpg": "cannot be read: is a folder",
    }


def test_a_missing_folder_names_its_near_miss(tmp_path: Path):
    (tmp_path / "cats_dogs").mkdir()
    assert errors(tmp_path / "cat_dogs") == [
        f"ROOT: no such folder; did you mean '{tmp_path / 'cats_dogs'}'?"
    ]
    assert errors(tmp_path / "zzz") == ["ROOT: no such folder; check the path"]
    assert errors(tmp_path / "no" / "where") == [
        f"ROOT: no such folder; {tmp_path / 'no'} does not exist either"
    ]


def test_a_file_instead_of_a_folder(tmp_path: Path):
    plant(tmp_path, "photos.zip")
    assert errors(tmp_path / "photos.zip") == [
        "ROOT: is a file, not a folder; name the folder that holds it"
    ]


def test_a_table_and_a_folder_in_place_of_each_other(tmp_path: Path):
    plant(tmp_path, "x.csv")
    assert errors(tmp_path / "x.csv") == [
        "ROOT: is not a folder; for a table, use data.csv instead of data.dir"
    ]
    with pytest.raises(
        DataError, match=r"is a folder, not a table; for a folder, use data\.dir instead of"
    ):
        dataset.build_index(Data(csv=tmp_path))
    (tmp_path / "x.csv").rename(tmp_path / "x")
    plant_classes(tmp_path / "x.csv", "a", "b")
    assert dataset.read_index(data(tmp_path / "x.csv")).classes == ("a", "b")


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
    plant(tmp_path, *names)
    assert errors(tmp_path) == [expected]


def test_all_problems_come_at_once(tmp_path: Path):
    plant(tmp_path, "Cats/a.jpg", "cats /b.jpg", "caf\u00e9/c.jpg", "cafe\u0301/d.jpg")
    plant(tmp_path, "empty/notes.txt")
    (tmp_path / "Cats/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = errors(tmp_path)
    twins = "differ only in letter case, spaces or accent encoding; merge or rename them"
    assert sorted(found) == sorted(
        [
            f"ROOT: class folders 'Cats' and 'cats ' {twins}",
            f"ROOT: class folders 'cafe\u0301' and 'caf\u00e9' {twins}",
            "ROOT/empty: class folder without a photo; add photos to it, or delete it if it is "
            "not a class",
            "ROOT/Cats/gone.jpg: cannot be read: a link to nothing; make it readable, or remove it",
        ]
    )


def test_bad_files_may_be_skipped(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    index = dataset.read_index(data(tmp_path, val=0.0, bad="skip"))
    assert len(index.items) == 4
    assert notes(index, "warning")[-1] == (
        "ROOT/cats/gone.jpg: cannot be read: a link to nothing; left out of the run"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_files_that_may_not_be_read(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/0.jpg").chmod(0)
    line = "ROOT/cats/0.jpg: cannot be read: permission denied; make it readable, or remove it"
    assert errors(tmp_path) == [line]
    skipped = line.replace("make it readable, or remove it", "left out of the run")
    assert notes(dataset.read_index(data(tmp_path, bad="skip")), "warning")[-1] == skipped
    (tmp_path / "cats/1.jpg").chmod(0)
    assert errors(tmp_path, bad="skip") == [
        "ROOT/cats: none of its photos can be read; a class needs photos"
    ]


def test_a_file_that_vanishes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant_classes(tmp_path, "cats", "dogs")
    opened = Path.open

    def fail_on_one(self: Path, *args: object, **options: object):
        if self.name == "1.jpg":
            raise FileNotFoundError(2, "No such file or directory")
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", fail_on_one)
    assert errors(tmp_path) == [
        "ROOT: 2 photos: cannot be read: no such file or directory: cats/1.jpg, dogs/1.jpg; "
        "make it readable, or remove it"
    ]


# What is passed over, and said


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs")
    plant(tmp_path, "cats/a.txt", "cats/b.mp4", "dogs/in/c.csv", "dogs/d", "x.jpg")
    plant(tmp_path, ".DS_Store", "cats/Thumbs.db", "__MACOSX/cats/._0.jpg", "dogs/desktop.ini")
    index = dataset.read_index(data(tmp_path))
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
    plant_classes(tmp_path, "cats", "dogs")
    (tmp_path / "cats/all").symlink_to(tmp_path)
    (tmp_path / "cats/me").symlink_to(tmp_path / "cats")
    index = dataset.read_index(data(tmp_path))
    assert index.counts()["train"] == {"cats": 2, "dogs": 2}
    known = "leads to a folder that has already been read, and is not followed"
    assert notes(index, "note")[:2] == [f"ROOT/cats/all: {known}", f"ROOT/cats/me: {known}"]


def test_linked_class_folders_and_photos(tmp_path: Path):
    plant(tmp_path, "store/1.jpg", "store/2.jpg", "data/dogs/3.jpg")
    (tmp_path / "data/cats").symlink_to(tmp_path / "store")
    (tmp_path / "data/dogs/4.jpg").symlink_to(tmp_path / "store/1.jpg")
    index = dataset.read_index(data(tmp_path / "data"))
    assert [name(index, item) for item in index.items] == [
        "cats/1.jpg",
        "cats/2.jpg",
        "dogs/3.jpg",
        "dogs/4.jpg",
    ]


def test_numeric_class_names(tmp_path: Path):
    plant_classes(tmp_path, "1", "2", "10")
    index = dataset.read_index(data(tmp_path))
    assert index.classes == ("1", "10", "2")
    assert notes(index, "note")[0] == (
        "ROOT: numeric class names are sorted as text: '10' comes before '2'; "
        "pad them with zeros to sort them by value"
    )


def test_numeric_class_names_of_any_length_and_script(tmp_path: Path):
    text = "".join(f"{n}.jpg,{label}\n" for n, label in enumerate(("9" * 5000, "007", "٣", "10")))
    plant(tmp_path, *(f"{number}.jpg" for number in range(4)))
    (tmp_path / "x.csv").write_text(text)
    index = dataset.build_index(Data(csv=tmp_path / "x.csv", split={"val": 0, "test": 0}))
    assert index.classes == ("007", "10", "9" * 5000, "٣")
    assert notes(index, "note")[0].endswith(
        "numeric class names are sorted as text: '007' comes before '٣'; "
        "pad them with zeros to sort them by value"
    )


def test_padded_numeric_class_names_need_no_note(tmp_path: Path):
    plant_classes(tmp_path, "01", "02", "10")
    assert notes(dataset.read_index(data(tmp_path)), "note") == ["ROOT: no test split"]


# The index as a value


def test_the_fingerprint_is_of_content_class_and_split(tmp_path: Path):
    for root in (tmp_path / "one", tmp_path / "two"):
        plant_classes(root, "cats", "dogs", photos=20)
    (tmp_path / "two/cats/0.jpg").rename(tmp_path / "two/cats/zzz.png")
    first, second = (dataset.read_index(data(tmp_path / name, val=0.3)) for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64

    assert dataset.read_index(data(tmp_path / "one", val=0.4)).fingerprint != first.fingerprint
    assert first.without([first.items[0].path]).fingerprint != first.fingerprint
    (tmp_path / "two/cats").rename(tmp_path / "two/cots")
    renamed = dataset.read_index(data(tmp_path / "two", val=0.3))
    assert renamed.fingerprint != first.fingerprint


def test_without_drops_photos_and_keeps_classes():
    items = (Item(Path("/d/a/1"), 0, "train", "00"), Item(Path("/d/b/2"), 1, "val", "11"))
    index = Index(Path("/d"), ("a", "b"), items, (Problem("", "kept"),))
    less = index.without([Path("/d/b/2"), Path("/d/c/3")])
    assert less.items == items[:1]
    assert less.classes == index.classes
    assert less.notes == index.notes


def test_two_readings_are_equal(tmp_path: Path):
    plant_classes(tmp_path, "cats", "dogs", photos=30)
    settings = data(tmp_path, val=0.2, test=0.2)
    assert dataset.read_index(settings) == dataset.read_index(settings)


@pytest.mark.parametrize("key", ["csv", "exclude"])
def test_what_never_ends_is_not_read(photos: Path, tmp_path: Path, key: str):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        data = Data(csv=path) if key == "csv" else Data(dir=photos, exclude=path)
        with pytest.raises(DataError, match="cannot be read: not a regular file"):
            dataset.read_index(data)
