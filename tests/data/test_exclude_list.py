"""The list of `data.exclude`: how its lines are understood, and those that name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.data import dataset
from tlcli.recipe.settings import Data


def exclude(root: Path, *lines: str) -> tuple[dict[str, int], list[str]]:
    """Photos left of each class, and the messages about the list."""
    fix_list = root.parent / "fix.txt"
    fix_list.write_text("\n".join(lines), encoding="utf-8")
    index = dataset.build_index(Data(dir=root, exclude=fix_list, split={"val": 0, "test": 0}))
    messages = [
        f"{problem.severity}: {problem}".replace(str(fix_list), "LIST").replace(str(root), "ROOT")
        for problem in (*index.notes, *(flaw.as_problem(root) for flaw in index.findings))
        if "exclude" in str(problem)
    ]
    return index.counts()["train"], messages


@pytest.mark.parametrize(
    "line",
    ["cats/3.jpg", "./cats/3.jpg", "cats//3.jpg", "../data/cats/3.jpg", "dogs/../cats/3.jpg",
     "ROOT/cats/3.jpg", "cats/3.jpg  ", " cats/3.jpg"],
)  # fmt: skip
def test_ways_to_name_a_photo(root: Path, line: str):
    left, messages = exclude(root, "# by hand", "", line.replace("ROOT", str(root)))
    assert left == {"cats": 7, "dogs": 8}
    assert messages == ["note: ROOT: 1 photo excluded by fix.txt"]


def test_names_with_spaces_around_are_names(root: Path):
    for name in (" 3.jpg", "3.jpg "):
        (root / "cats" / name).write_bytes(name.encode())
    (root / "cats/3.jpg ").rename(root / "cats/ 4.jpg")
    assert exclude(root, "cats/ 3.jpg", "cats/ 4.jpg")[0] == {"cats": 8, "dogs": 8}


@pytest.mark.parametrize("line", ["cats/in", "cats/in/", "./cats/in//"])
def test_a_folder_stands_for_all_that_is_in_it(root: Path, line: str):
    for name in ("cats/in/a.jpg", "cats/in/deep/b.jpg", "cats/inner.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    assert exclude(root, line) == (
        {"cats": 9, "dogs": 8},
        ["note: ROOT: 2 photos excluded by fix.txt"],
    )


def test_a_whole_class(root: Path):
    assert exclude(root, "cats")[1] == [
        "note: ROOT: 8 photos excluded by fix.txt",
        "error: ROOT/cats: all of its photos are excluded; exclude fewer",
    ]


def test_lines_that_name_nothing_are_named_with_near_misses(root: Path):
    left, messages = exclude(
        root, "cats/1.jpg", "Cats/2.JPG", "1.jpeg", "cats/nothere.jpg", "x" * 300, "a\0b"
    )
    assert left == {"cats": 7, "dogs": 8}
    assert messages == [
        "note: ROOT: 1 photo excluded by fix.txt",
        "warning: data.exclude: LIST: 5 lines without a matching photo in the data: 'Cats/2.JPG' "
        "(did you mean 'cats/2.jpg'?), '1.jpeg', 'cats/nothere.jpg' and 2 more; "
        "check the paths",
    ]


def test_a_link_to_nothing_may_be_listed(root: Path):
    (root / "cats/gone.jpg").symlink_to(root / "nowhere.jpg")
    assert exclude(root, "cats/gone.jpg") == ({"cats": 8, "dogs": 8}, [])


def test_photos_of_a_table(root: Path):
    table = root.parent / "t.csv"
    table.write_text("".join(f"{path},{path.parent.name}\n" for path in root.glob("*/*.jpg")))
    fix_list = root.parent / "fix.txt"
    fix_list.write_text("data/cats/1.jpg\ndata/dogs/2.jpg\n")
    data = Data(csv=table, exclude=fix_list, split={"val": 0, "test": 0})
    assert dataset.build_index(data).counts()["train"] == {"cats": 7, "dogs": 7}


def test_a_photo_that_lies_elsewhere_is_suggested(root: Path):
    (root / "cats/1.jpg").rename(root / "cats/odd name.jpg")
    assert (
        "'old/place/Odd name.jpg' (did you mean 'cats/odd name.jpg'?)"
        in (exclude(root, "old/place/Odd name.jpg")[1][0])
    )
