"""Layouts that people download: what is used, what is refused, and what is said of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from builders.data_folders import data_block, index_errors, notes, write_classes, write_files

from tlcli.data import dataset

NAMED = [f"{label}.{number}.jpg" for label in ("cat", "dog") for number in range(6)]


def counts(root: Path) -> dict[str, dict[str, int]]:
    """The photos of each class, by the splits that have any; the hash makes no split."""
    index = dataset.read_index(data_block(root))
    table: dict[str, dict[str, int]] = {}
    for item in index.items:
        table.setdefault(item.split, Counter())[index.classes[item.label]] += 1
    return {split: dict(sorted(by_class.items())) for split, by_class in table.items()}


def said(root: Path) -> list[str]:
    """The warnings and notes on the layout, without those on splits that are not there."""
    index = dataset.read_index(data_block(root))
    lines = [f"{kind}: {line}" for kind in ("warning", "note") for line in notes(index, kind)]
    about_splits = ("no val photos", "no test split", "no test folder")
    return [line for line in lines if not any(text in line for text in about_splits)]


PAIR = {"cats": 2, "dogs": 2}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test/asl_alphabet_test"),
        ("pets_train", "pets_test"),
        ("train_images", "test_images"),
        ("Train Set", "Test Set"),
        ("trainset", "testset"),
        ("TrainData", "TestData"),
        ("train2017", "test2017"),
        ("train1", "test1"),
        ("TRAIN", "TEST"),
        ("images_train", "images_test"),
        ("train/images", "test/images"),
        ("images/train", "images/test"),
        ("archive/data/train", "archive/data/test"),
    ],
)
def test_splits_by_any_name_and_depth(tmp_path: Path, train: str, test: str):
    write_classes(tmp_path, f"{train}/cats", f"{train}/dogs", f"{test}/cats", f"{test}/dogs")
    assert counts(tmp_path) == {"train": PAIR, "test": PAIR}
    if (train, test) == ("TRAIN", "TEST"):
        assert said(tmp_path) == []
    else:
        assert said(tmp_path) == [f"note: ROOT: uses {train} as train, {test} as test"]


@pytest.mark.parametrize(
    "name", ["valid_set", "validation-images", "val2017", "dev_set", "eval_data", "valset", "Val 1"]
)
def test_folders_for_validation(tmp_path: Path, name: str):
    write_classes(tmp_path, "train/cats", "train/dogs", f"{name}/cats", f"{name}/dogs")
    assert counts(tmp_path) == {"train": PAIR, "val": PAIR}


def test_what_only_might_be_a_split_is_left_out_where_it_does_not_fit(tmp_path: Path):
    write_classes(tmp_path, "train/cats", "train/dogs", "val/cats", "val/dogs")
    write_classes(tmp_path, "test1", "train_small/cats", "val_images/wolves")
    assert counts(tmp_path) == {"train": PAIR, "val": PAIR}
    assert said(tmp_path) == [
        "warning: ROOT: ignored 3 folders beside train: train_small, val_images, test1; "
        "if they are classes, move the class folders out of train"
    ]


@pytest.mark.parametrize("way", ["PetImages", "data/PetImages", "a/b/c/d", "101_ObjectCategories"])
def test_single_folders_are_entered(tmp_path: Path, way: str):
    write_classes(tmp_path, f"{way}/cats", f"{way}/dogs", photos=40)
    write_files(tmp_path, "readme[1].txt", "__MACOSX/._x.jpg", f"__MACOSX/{way}/._cats")
    assert counts(tmp_path) == {"train": {"cats": 40, "dogs": 40}}
    assert f"note: ROOT: uses the class folders in {way}" in said(tmp_path)
    assert dataset.read_index(data_block(tmp_path, val=0.3, test=0.3)).of("test")


def test_a_class_alone_is_not_entered(tmp_path: Path):
    write_classes(tmp_path, "cats", "cats/indoor", "cats/outdoor")
    assert index_errors(tmp_path) == [
        "ROOT: only one class folder, 'cats'; a classifier needs two or more"
    ]


def test_a_circle_of_links_ends(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a").symlink_to(tmp_path / "a")
    assert "ROOT/a/a: leads to a folder" not in index_errors(tmp_path)[0]


# Splits below classes


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "test_set")])
def test_splits_below_classes(tmp_path: Path, train: str, test: str):
    write_classes(tmp_path, f"cats/{train}", f"cats/{test}", f"dogs/{train}/deep", f"dogs/{test}")
    assert counts(tmp_path) == {"train": PAIR, "test": PAIR}
    assert said(tmp_path) == [
        "note: ROOT: uses the folders for train, test in each class folder as splits"
    ]
    assert dataset.read_index(data_block(tmp_path)).classes == ("cats", "dogs")


def test_splits_below_classes_that_differ(tmp_path: Path):
    write_classes(tmp_path, "cats/train", "cats/test", "dogs/train", "owls/train", "owls/test")
    (tmp_path / "owls/test/0.jpg").unlink()
    (tmp_path / "owls/test/1.jpg").unlink()
    assert index_errors(tmp_path) == [
        "ROOT/owls/test: class folder without a photo; add photos to it, or delete it if it is "
        "not a class",
        "ROOT: class 'dogs': missing from test, but in train; add photos of it to test, or leave "
        "that split to tlcli",
    ]
    write_classes(tmp_path, "wolves")
    assert index_errors(tmp_path) == [
        "ROOT: cats holds folders of splits (test, train), but wolves does not; "
        "divide every class into the same splits, or none"
    ]


def test_folders_named_train_in_classes_that_are_not_divided(tmp_path: Path):
    write_classes(tmp_path, "toys/train", "toys/car", "cats/train", "cats")
    assert counts(tmp_path) == {"train": {"cats": 4, "toys": 4}}


# Labels in the names of photos


def hint(command: str, labels: str = "cat, dog") -> str:
    what = f"if the names of photos tell their labels ({labels})"
    return f"{what}, `tlcli init {command}` writes a table"


@pytest.mark.parametrize(
    "folders", [("train", "test1"), ("train/train", "test1/test1"), ("train_images", "test_images")]
)
def test_flat_splits_with_labels_in_names(tmp_path: Path, folders: tuple[str, str]):
    write_files(tmp_path, *(f"{folders[0]}/{name}" for name in NAMED), "sampleSubmission.csv")
    write_classes(tmp_path, folders[1], photos=9)
    (line,) = index_errors(tmp_path)
    assert hint("ROOT --labels-from-names") in line


def test_flat_splits(tmp_path: Path):
    write_files(tmp_path, *(f"train/{name}" for name in NAMED))
    write_classes(tmp_path, "test1", photos=9)
    there = "ROOT: train, test1 are named like splits, but there is no folder 'train' with class "
    assert index_errors(tmp_path) == [
        f"{there}folders in it; {hint('ROOT --labels-from-names')}, or rename the folders"
    ]
    for number, path in enumerate((tmp_path / "train").iterdir()):
        path.rename(path.with_name(f"IMG_{number}.jpg"))
    assert index_errors(tmp_path) == [
        f"{there}folders in it; make a folder for each class in each of them, or rename the folders"
    ]
    write_files(tmp_path, "labels.csv", "sample_submission.csv")
    assert index_errors(tmp_path) == [
        f"{there}folders in it; if labels.csv lists their labels, use data.csv=ROOT/labels.csv, or "
        "`tlcli init ROOT/labels.csv`, or rename the folders"
    ]


def test_one_flat_folder_with_labels_in_names(tmp_path: Path):
    names = [
        f"{label}_{number}.jpg" for label in ("Abyssinian", "american_pit") for number in range(4)
    ]
    write_files(tmp_path, *names)
    labels = "Abyssinian, american_pit"
    assert index_errors(tmp_path) == [
        f"ROOT: 8 photos but no class folders; {hint('ROOT --labels-from-names', labels)}"
    ]
    write_files(tmp_path / "in", *(f"jpg/{name}" for name in names))
    assert index_errors(tmp_path / "in") == [
        f"ROOT: only one class folder, 'jpg'; {hint('ROOT --labels-from-names', labels)}"
    ]


def test_portions_of_a_whole_are_doubted(tmp_path: Path):
    write_classes(tmp_path, "images_part_1", "images_part_2", photos=6)
    line = "warning: ROOT: the class folders images_part_1, images_part_2 are named like portions "
    assert f"{line}of a whole; if they are, sort their photos into a folder for each class" in said(
        tmp_path
    )
    write_files(tmp_path, "metadata.csv")
    assert any(
        "if metadata.csv lists their labels, use data.csv=" in text for text in said(tmp_path)
    )


# Photos beside annotations


@pytest.mark.parametrize(
    ("photos", "others"),
    [
        ("images", ["annotations/trimaps/1.png", "annotations/xmls/1.xml", "annotations/list.txt"]),
        ("images", ["masks/1.png"]),
        ("Images", ["Annotation/1.xml"]),
        ("images", ["labels/1.txt"]),
        ("JPEGImages", ["Annotations/1.xml", "ImageSets/Main/a.txt", "SegmentationClass/1.png",
                        "SegmentationObject/1.png"]),
        ("PNGImages", ["PedMasks/1.png", "PedAnnotation/1.txt"]),
        ("train", ["train_masks/1_mask.gif"]),
        ("train2017", ["annotations/instances.json"]),
    ],
)  # fmt: skip
def test_photos_beside_annotations_are_no_classes(tmp_path: Path, photos: str, others: list[str]):
    write_classes(tmp_path, photos, photos=8)
    write_files(tmp_path, *others)
    (line,) = index_errors(tmp_path)
    assert line.startswith(f"ROOT: {photos}, ")
    assert others[0].split("/")[0] in line
    assert line.endswith(
        "are named like photos and their annotations, not like classes; sort the photos into a "
        "folder for each class, or list them in a table (data.csv)"
    )
    write_files(
        tmp_path, *(f"{photos}/{name}" for name in NAMED * 2), *(f"{photos}/{n}.txt" for n in "ab")
    )
    for number in range(8):
        (tmp_path / photos / f"{number}.jpg").unlink()
    (line,) = index_errors(tmp_path)
    assert line.endswith(hint(f"ROOT/{photos} --labels-from-names"))


@pytest.mark.parametrize(
    ("photos", "beside", "severity"),
    [
        ("Images", "Annotation/cats/1", "note"),
        ("images", "meta/classes.txt", "note"),
        ("images", "labels/x.txt", "note"),
        ("images", "masks/cats/1.png", "warning"),
    ],
)
def test_class_folders_beside_annotations(tmp_path: Path, photos: str, beside: str, severity: str):
    write_classes(tmp_path, f"{photos}/cats", f"{photos}/dogs")
    write_files(tmp_path, beside)
    assert counts(tmp_path) == {"train": PAIR}
    lines = said(tmp_path)
    assert f"note: ROOT: uses the class folders in {photos}" in lines
    named = beside.split("/")[0]
    what = f"{severity}: ROOT: ignored beside {photos}, as named like annotations: {named}"
    assert any(line.startswith(what) for line in lines)


def test_a_detection_set_in_splits(tmp_path: Path):
    write_classes(tmp_path, "train/images", "valid/images")
    write_files(tmp_path, "train/labels/0.txt", "valid/labels/0.txt", "data.yaml")
    assert index_errors(tmp_path) == [
        "ROOT/train: images, labels are named like photos and their annotations, not like classes; "
        "sort the photos into a folder for each class, or list them in a table (data.csv)"
    ]


@pytest.mark.parametrize(
    "names",
    [("with_mask", "without_mask"), ("images", "drawings"), ("mask", "no mask"),
     ("face", "face_mask"), ("train", "plane"), ("part_time", "full_time"), ("test tube", "flask"),
     ("data", "people"), ("labels", "bottles"), ("dev board", "cable")],
)  # fmt: skip
def test_classes_that_only_sound_like_something_else(tmp_path: Path, names: tuple[str, str]):
    write_classes(tmp_path, *names)
    assert counts(tmp_path) == {"train": dict.fromkeys(sorted(names), 2)}
    assert said(tmp_path) == []


def test_splits_beside_classes_are_doubted(tmp_path: Path):
    write_classes(tmp_path, "train", "test", "cats")
    assert said(tmp_path) == [
        "warning: ROOT: train, test are named like splits, but are used as classes; "
        "to use them as splits, put the class folders into each of them"
    ]


def test_annotations_beside_a_folder_of_another_name_are_doubted(tmp_path: Path):
    write_classes(tmp_path, "CUB/black", "CUB/grey", "segmentations/black")
    assert said(tmp_path) == [
        "warning: ROOT: segmentations is named like annotations, but is used as a class; if not "
        "all folders are classes, name that of the classes, or move the others away"
    ]


# Other things


def test_runs_of_tlcli_are_no_class(tmp_path: Path):
    write_classes(tmp_path, "photos/cats", "photos/dogs")
    write_files(tmp_path, "runs/pets-1/run.json", "runs/pets-1/curves.png", "pets.yaml")
    assert counts(tmp_path) == {"train": PAIR}
    assert "note: ROOT/runs: ignored, as it holds runs of tlcli" in said(tmp_path)
    write_classes(tmp_path / "events", "runs", "jumps")
    assert counts(tmp_path / "events") == {"train": {"jumps": 2, "runs": 2}}


def test_a_class_folder_in_the_place_of_the_data_folder(tmp_path: Path):
    write_classes(tmp_path, "photos/cats", "photos/dogs", "photos/owls")
    assert index_errors(tmp_path / "photos/cats") == [
        "ROOT: 2 photos but no class folders; if the classes are cats, dogs, owls, name the folder "
        f"above: {tmp_path}/photos"
    ]


def test_no_photos_at_all(tmp_path: Path):
    write_files(tmp_path, "data/train-0.parquet", "README.md")
    assert index_errors(tmp_path) == [
        "ROOT: only one class folder, 'data', without a photo; a classifier needs two or more"
    ]
    write_files(tmp_path, "data/more.tgz")
    assert index_errors(tmp_path) == [
        "ROOT: no photos, but 1 packed archive: data/more.tgz; "
        "unpack it: `tar -xf ROOT/data/more.tgz -C ROOT/data`"
    ]


def test_packed_archives(tmp_path: Path):
    write_files(tmp_path, "train.zip", "test1.zip", "sampleSubmission.csv")
    assert index_errors(tmp_path) == [
        "ROOT: no photos, but 2 packed archives: test1.zip, train.zip; "
        "unpack it: `unzip ROOT/test1.zip -d ROOT`"
    ]
    write_files(tmp_path, "cats/1.jpg", "dogs/dogs.tar.gz", "dogs/1.jpg", "cats/x.rar")
    assert (
        "warning: ROOT: 4 files: ignored, a packed archive: test1.zip, train.zip, cats/x.rar and 1 "
        "more; unpack it if it contains photos"
    ) in said(tmp_path)
