"""Which column of a table is which: by its first line, and by the names in the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.data_folders import write_files

from tlcli.data import tables
from tlcli.data.table_columns import ColumnNames, recipe_line
from tlcli.data.tables import TableRow
from tlcli.errors import DataError
from tlcli.recipe.settings import Columns
from tlcli.system.yamlfile import parse_value


def write(folder: Path, text: str) -> Path:
    table = folder / "t.csv"
    table.write_text(text, encoding="utf-8")
    return table


def refusal(table: Path, names: ColumnNames | None = None) -> list[str]:
    with pytest.raises(DataError) as caught:
        tables.read_rows(table, names)
    return [str(problem).replace(str(table), "TABLE") for problem in caught.value.problems]


def test_columns_are_those_that_the_recipe_names(tmp_path: Path):
    table = write(
        tmp_path,
        "dog,breed,is_valid,label,File\nd1,pug,TRUE,1,a.jpg\nd1,pug,False,1,b.jpg\nd2,husky,,2,c.jpg\n",
    )
    columns = Columns(path="file", label="Breed", split="is_valid", group="dog")
    rows, problems = tables.read_rows(table, ColumnNames(columns))
    assert rows == [
        TableRow(str(tmp_path / "a.jpg"), "pug", "val", "d1"),
        TableRow(str(tmp_path / "b.jpg"), "pug", "train", "d1"),
        TableRow(str(tmp_path / "c.jpg"), "husky", "", "d2"),
    ]
    assert [(p.severity, str(p)) for p in problems] == [
        ("note", f"{table}:1: in the column 'is_valid', False is train, TRUE is val"),
        ("note", f"{table}:1: ignored 1 column: 'label'"),
    ]


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [("is_valid", "val", "train"), ("isValid", "val", "train"), ("validation", "val", "train"),
     ("is_val_set", "val", "train"), ("is_test", "test", "train"), ("Test", "test", "train"),
     ("in_test_set", "test", "train"), ("is_train", "train", "test"),
     ("is_training_image", "train", "test")],
)  # fmt: skip
@pytest.mark.parametrize(("true", "false"), [("True", "False"), ("1", "0"), ("yes", "no")])
def test_true_and_false_in_a_column_named_after_a_split(
    tmp_path: Path, name: str, yes: str, no: str, true: str, false: str
):
    table = write(tmp_path, f"path,label,{name}\na.jpg,x,{true}\nb.jpg,x,{false}\n")
    rows, _ = tables.read_rows(table, ColumnNames(Columns(split=name)))
    assert [row.split for row in rows] == [yes, no]


def test_true_and_false_in_a_column_of_another_name(tmp_path: Path):
    table = write(tmp_path, "path,label,split\na.jpg,x,True\n")
    _, problems = tables.read_rows(table)
    assert [str(problem) for problem in problems] == [
        f"{table}:2: has the unknown split 'True'; "
        "for true and false, the column must be called is_valid, is_test or is_train"
    ]


@pytest.mark.parametrize("text", ["path,label,split,group\na.jpg,x,test,g\n", "a.jpg,x,test,g\n"])
def test_null_leaves_a_column_out(tmp_path: Path, text: str):
    columns = Columns(split=None, group=None)
    rows, problems = tables.read_rows(write(tmp_path, text), ColumnNames(columns))
    assert rows == [TableRow(str(tmp_path / "a.jpg"), "x")]
    assert {problem.severity for problem in problems} <= {"note"}


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("id,race\na,x\n", {"path": "id", "label": "breed"},
         "names no column 'breed' (found 'id,race'); data.columns.label is to be one of its "
         "columns"),
        ("id,bread\na,x\n", {"path": "id", "label": "breed"},
         "names no column 'breed' (found 'id,bread'); did you mean data.columns: {label: bread}?"),
        ("a.jpg,x\n", {"path": "id"},
         "names no column 'id' (found 'a.jpg,x'); data.columns.path is to be one of its columns"),
        ("path,label\na,x\n", {"group": "dog"},
         "names no column 'dog' (found 'path,label'); data.columns.group is to be one of its "
         "columns"),
    ],
)  # fmt: skip
def test_names_of_the_recipe_that_the_table_has_not(
    tmp_path: Path, text: str, names: dict[str, str], message: str
):
    lines = refusal(write(tmp_path, text), ColumnNames(Columns(**names)))
    assert lines[0] == f"TABLE:1: {message}"


@pytest.mark.parametrize(
    ("text", "names", "mapping"),
    [
        ("id,breed\n000bec,boston_bull\n001513,dingo\n", "id,breed", "{path: id, label: breed}"),
        ("id,breed\na.jpg,pug\nb.jpg,pug\n", "id,breed", "{path: id, label: breed}"),
        ("Nr,Rasse\n1.jpg,Mops\n2.jpg,Mops\n3.jpg,Spitz\n4.jpg,Spitz\n", "Nr,Rasse",
         "{path: Nr, label: Rasse}"),
        ("image,level,is_valid\n1_left,0,True\n2_left,0,True\n3_left,1,True\n4_left,1,False\n",
         "image,level,is_valid", "{path: image, label: level, split: is_valid}"),
        ("lesion_id,image_id,dx,dx_type,age\nh1,i1,bkl,histo,80\nh2,i2,nv,histo,80\n",
         "lesion_id,image_id,dx,dx_type,age", "{path: image_id, label: dx}"),
        ("jméno,třída\na.jpg,kočka\nb.jpg,kočka\n", "jméno,třída",
         "{path: jméno, label: třída}"),
        ("sep=;\nid;breed\na.jpg;pug\nb.jpg;pug\n", "id,breed", "{path: id, label: breed}"),
    ],
)  # fmt: skip
def test_a_first_line_of_other_names(tmp_path: Path, text: str, names: str, mapping: str):
    assert refusal(write(tmp_path, text)) == [
        f"TABLE:1: names columns, but not path and label (found '{names}'); "
        f"say in the recipe which is which: data.columns: {mapping}"
    ]


def test_for_an_evaluation_columns_are_renamed(tmp_path: Path):
    table = write(tmp_path, "id,breed\na.jpg,pug\n")
    own = ColumnNames(Columns(path="file", label="kind", split="is_valid"), is_fixed=True)
    assert refusal(table, own) == [
        "TABLE:1: names columns, but not path and label (found 'id,breed'); "
        "rename the columns 'id' to path, 'breed' to label"
    ]
    for text in ("path,label\na.jpg,pug\n", "FILE,kind\na.jpg,pug\n", "file,label\na.jpg,pug\n"):
        rows, problems = tables.read_rows(write(tmp_path, text), own)
        assert rows == [TableRow(str(tmp_path / "a.jpg"), "pug")]
        assert problems == []


@pytest.mark.parametrize(
    "text",
    ["a,cat\nb,dog\n", "a,cat\nb,cat\n", "x.jpg,name\na.jpg,dog\n", "image,x\na.jpg,y\n",
     "nothing,cat\nb,cat\na,dog\n"],
)  # fmt: skip
def test_a_first_line_that_is_a_photo(tmp_path: Path, text: str):
    write_files(tmp_path, "a", "b", "a.jpg", "image.jpg")
    rows, _ = tables.read_rows(write(tmp_path, text))
    assert len(rows) == text.count("\n")


@pytest.mark.parametrize(
    "first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;", "\ufeffsep=;", "\nsep=; ", "\ufeff\ufeffsep=;"]
)
def test_a_line_that_says_the_separator(tmp_path: Path, first: str):
    table = write(tmp_path, f"{first}\npath;label\na,1.jpg;cat, small\nb.jpg;;\n")
    rows, problems = tables.read_rows(table)
    assert rows == [TableRow(str(tmp_path / "a,1.jpg"), "cat, small")]
    number = 4 + first.startswith("\n")
    assert [problem.where for problem in problems] == [f"{table}:{number}"]


@pytest.mark.parametrize("separator", [",", "\t", "|"])
def test_other_separators_that_a_line_says(tmp_path: Path, separator: str):
    table = write(tmp_path, f"sep={separator}\na.jpg{separator}cat;dog\n")
    assert tables.read_rows(table)[0] == [TableRow(str(tmp_path / "a.jpg"), "cat;dog")]


@pytest.mark.parametrize(
    "name", ["is_valid", "a b", "yes", "null", "1", "a, b", "x: y", "[a]", '"']
)
def test_a_line_of_recipe_is_yaml(name: str):
    line = recipe_line(split=name, group=None).removeprefix("data.columns: ")
    assert parse_value(line) == {"split": name, "group": None}
