"""Columns of a table that are not read: what looks like a split or a group is never passed over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tlcli.data import tables
from tlcli.data.table_columns import ColumnNames
from tlcli.recipe.settings import Columns


def problems_of(folder: Path, heads: str, *lines: str, **names: str | None) -> list[str]:
    """The problems of a table whose lines begin with a photo and its label, by severity."""
    table = folder / "t.csv"
    rows = [f"{n}.jpg,{line}" for n, line in enumerate(lines)]
    table.write_text("\n".join([f"path,label,{heads}", *rows]), encoding="utf-8")
    columns = Columns(**names)
    _, problems = tables.read_rows(table, ColumnNames(columns))
    assert {problem.where for problem in problems} <= {f"{table}:1"}
    return [f"{p.severity}: {p}".replace(f"{table}:1: ", "") for p in problems]


@pytest.mark.parametrize(
    ("head", "values", "counts"),
    [
        ("is_valid", ["True", "False", "False", "False"], "val 1, train 3"),
        ("data_split", ["train", "train", "val", "test"], "train 2, val 1, test 1"),
        ("Subset", ["Training", "Validation", "Training", ""], "train 2, val 1"),
        ("x", ["train_set", "train set", "testset", "testset"], "train 2, test 2"),
        ("spilt", ["train", "train", "valid", "valid"], "train 2, val 2"),
        ("is_test", ["0", "1", "1", "0"], "train 2, test 2"),
        ("phase", ["train", "train", "test", "extra"], "train 2, test 1"),
    ],
)
def test_a_split_of_another_name_is_an_error(
    tmp_path: Path, head: str, values: list[str], counts: str
):
    lines = [f"{'xy'[n % 2]},{value}" for n, value in enumerate(values)]
    assert problems_of(tmp_path, head, *lines) == [
        f"error: the column '{head}' looks like a split ({counts}), but tlcli would make its own; "
        f"to use it, set data.columns: {{split: {head}}} in the recipe; to ignore it, "
        "data.columns: {split: null}"
    ]
    ignored = problems_of(tmp_path, head, *lines, split=None)
    assert ignored == [f"note: ignored 1 column: '{head}'"]


@pytest.mark.parametrize(
    ("head", "values"),
    [
        ("is_valid", ["True", "True", "True", "True"]),
        ("data_split", ["train", "train", "train", "train"]),
        ("tame", ["True", "False", "False", "True"]),
        ("note", ["train", "test", "a toy", "in a car"] * 1 + ["far", "near"]),
        ("subset", ["", "", "", ""]),
    ],
)
def test_what_is_no_split_is_a_note(tmp_path: Path, head: str, values: list[str]):
    lines = [f"{'xy'[n % 2]},{value}" for n, value in enumerate(values)]
    assert problems_of(tmp_path, head, *lines) == [f"note: ignored 1 column: '{head}'"]


def test_a_column_named_like_a_split_with_other_values(tmp_path: Path):
    assert problems_of(tmp_path, "fold", *(f"{'xy'[n % 2]},{n % 5}" for n in range(20))) == [
        "warning: the column 'fold' is named like a split, but is ignored, since tlcli does not "
        "know its values ('0', '1', '2', ...); to use it, write train, val or test there and set "
        "data.columns: {split: fold} in the recipe; if it is none, data.columns: {split: null}"
    ]


def test_a_second_split_that_holds_out_what_the_first_one_trains_on(tmp_path: Path):
    lines = ["x,True,False", "y,False,True", "x,False,False", "y,False,True"]
    assert problems_of(tmp_path, "is_valid,is_test", *lines, split="is_valid") == [
        "note: in the column 'is_valid', False is train, True is val",
        "warning: the column 'is_test' holds out 2 photos that 'is_valid' has in train; "
        "make one column of both, with train, val and test",
    ]
    lines = ["x,val,True", "y,test,True", "x,train,False"]
    assert problems_of(tmp_path, "split,is_valid", *lines) == ["note: ignored 1 column: 'is_valid'"]


@pytest.mark.parametrize(
    "head",
    ["patient_id", "Patient", "subjectID", "sequence", "session", "video_name", "dog_id", "groups",
     "gruop", "clip", "uuid"],
)  # fmt: skip
def test_a_column_named_like_a_group(tmp_path: Path, head: str):
    lines = [f"{'xy'[n % 3 == 0]},p{n // 2}" for n in range(12)]
    assert problems_of(tmp_path, head, *lines) == [
        f"warning: the column '{head}' looks like a group, but is ignored: 6 of its values, "
        "such as 'p0', have several photos, which may come into different splits; if they belong "
        f"together, set data.columns: {{group: {head}}} in the recipe; if not, "
        "data.columns: {group: null}"
    ]
    assert problems_of(tmp_path, head, *lines, group=head) == []
    assert problems_of(tmp_path, head, *lines, group=None) == [f"note: ignored 1 column: '{head}'"]


def test_a_column_of_many_values_of_few_photos_with_one_label_each(tmp_path: Path):
    lines = [f"{'xy'[n // 3 % 2]},house {n // 3}" for n in range(60)]
    (line,) = problems_of(tmp_path, "where", *lines)
    assert line.startswith("warning: the column 'where' looks like a group, but is ignored: 20 ")


@pytest.mark.parametrize("head", ["class_id", "patient_id", "x"])
def test_a_column_that_follows_from_the_label_is_no_group(tmp_path: Path, head: str):
    lines = [f"c{n % 20},{n % 10}" for n in range(100)]
    assert problems_of(tmp_path, head, *lines) == [f"note: ignored 1 column: '{head}'"]


def test_what_photos_share_by_chance_is_no_group(tmp_path: Path):
    dice = random.Random(1)
    lines = [
        f"{'xyz'[n % 3]},{dice.randrange(80)},{dice.choice('mf')},{dice.randrange(100, 400)},"
        f"{dice.random():.3f},{n},{dice.choice(['Canon', 'Nikon', 'Pixel'])}"
        for n in range(600)
    ]
    heads = "age,sex,width,score,photo_id,camera"
    assert problems_of(tmp_path, heads, *lines) == [
        "note: ignored 6 columns: 'age', 'sex', 'width', 'score', 'photo_id', ..."
    ]


def test_a_group_matters_where_the_split_of_the_table_tears_it(tmp_path: Path):
    lines = [f"{'xy'[n % 2]},p{n // 4},{'train' if n < 10 else 'test'}" for n in range(20)]
    assert problems_of(tmp_path, "patient,split", *lines) == [
        "warning: the column 'patient' looks like a group, but is ignored: 1 of its values, "
        "such as 'p2', is in more than one split; if they belong together, set "
        "data.columns: {group: patient} in the recipe; if not, data.columns: {group: null}"
    ]
    lines = [f"{'xy'[n % 2]},p{n // 5},{'train' if n < 10 else 'test'}" for n in range(20)]
    assert problems_of(tmp_path, "patient,split", *lines) == ["note: ignored 1 column: 'patient'"]
