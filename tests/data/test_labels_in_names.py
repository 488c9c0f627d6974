"""Labels in the names of photos, and the table that `init` writes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.data_folders import write_files

from tlcli.data.labels_in_names import labels_in_names, read_names
from tlcli.errors import DataError


def labels(*stems: str) -> dict[str, str]:
    paths = [Path(f"{stem}.jpg") for stem in stems]
    return {path.stem: label for path, label in labels_in_names(paths).items()}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("cat.{}", "dog.{}", ["cat", "dog"]),
        ("Abyssinian_{}", "american_pit_bull_{}", ["Abyssinian", "american_pit_bull"]),
        ("n01440764_{}", "n01443537_{}", ["n01440764", "n01443537"]),
        ("cat{:03d}", "dog{:03d}", ["cat", "dog"]),
        ("cat ({})", "big dog ({})", ["big dog", "cat"]),
        ("{:04d}_cat", "{:04d}-dog", ["cat", "dog"]),
        ("猫_{}", "犬_{}", ["犬", "猫"]),
    ],
)
def test_names_with_labels(first: str, second: str, expected: list[str]):
    by_name = labels(*(name.format(number) for name in (first, second) for number in range(1, 5)))
    assert sorted(set(by_name.values())) == expected
    assert len(by_name) == 8


@pytest.mark.parametrize(
    "names",
    [
        [f"{number}" for number in range(9)],
        [f"{word}_{number}" for word in ("IMG", "DSC") for number in range(9)],
        [f"image{number:05d}" for number in range(9)],
        [f"cat_{number}" for number in range(9)],
        ["a1", "b1", "c1", "d1", "e1"],
        ["tabby", "siamese", "cat.1", "cat.2", "cat.3", "dog.1", "dog.2", "dog.3"],
        [f"{number:x}d41d8cd98f00b204" for number in range(9)],
    ],
)
def test_names_without_labels(names: list[str]):
    assert labels(*names) == {}


def test_photos_whose_names_say_nothing_are_left_out(tmp_path: Path):
    names = [f"{label}.{number}.jpg" for label in ("cat", "dog") for number in range(3)]
    write_files(tmp_path, *(f"train/{name}" for name in names), "test1/1.jpg", "test1/2.jpg")
    write_files(tmp_path, *(f"masks/{name}" for name in names), "train/notes.txt")
    named = read_names(tmp_path)
    assert named.rows == [(tmp_path / "train" / name, name[:3], "") for name in names]
    assert named.others == [tmp_path / "test1/1.jpg", tmp_path / "test1/2.jpg"]


def test_splits_with_labels_are_kept(tmp_path: Path):
    names = [f"{label}.{number}.jpg" for label in ("cat", "dog") for number in range(3)]
    write_files(tmp_path, *(f"{split}/{name}" for split in ("train_set", "Val") for name in names))
    rows = read_names(tmp_path).rows
    assert {(path.parent.name, split) for path, _, split in rows} == {
        ("train_set", "train"), ("Val", "val")
    }  # fmt: skip
    assert len(rows) == 12


def test_names_that_show_no_labels_are_an_error(tmp_path: Path):
    write_files(tmp_path, "IMG_1.jpg", "IMG_2.jpg")
    with pytest.raises(DataError) as caught:
        read_names(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the names of its 2 photos, such as IMG_1.jpg, show no labels; names like "
        "cat.1.jpg or dog_2.jpg do; or write a table (data.csv) with a line for each"
    )
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no photos in this folder; name the folder of the photos"):
        read_names(tmp_path / "in")
