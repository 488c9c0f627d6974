"""Tables of labelled photos, and the index made of one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tlcli.data import dataset, leakage, tables
from tlcli.data.tables import TableRow
from tlcli.errors import DataError
from tlcli.recipe.settings import Data


def write(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def plant(folder: Path, *names: str) -> None:
    """Files whose bytes are their names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,cat\nin/b.jpg,dog\n",
        "a.jpg,cat\nin/b.jpg,dog\n",
        "a.jpg,cat\r\n\r\nin/b.jpg,dog",
        b"\xef\xbb\xbfpath;label\na.jpg;cat\nin/b.jpg;dog\n",
        "path\tlabel\na.jpg\tcat\nin/b.jpg\tdog\n",
        'Label , PATH,\n"cat","a.jpg",x\ndog,"in/b.jpg",y\n',
    ],
    ids=["header", "bare", "CRLF", "semicolons", "tabs", "any order"],
)
def test_ways_to_write_a_table(tmp_path: Path, text: str | bytes):
    rows, problems = tables.read_rows(write(tmp_path, text))
    assert problems == []
    assert rows == [
        TableRow(str(tmp_path / "a.jpg"), "cat"),
        TableRow(str(tmp_path / "in/b.jpg"), "dog"),
    ]


def test_all_columns(tmp_path: Path):
    text = "a.jpg,cat,Train,g1\nb.jpg,dog,valid,\nc.jpg,cat,dev,\nd.jpg,cat,testing,\n"
    rows, _ = tables.read_rows(write(tmp_path, text))
    assert rows == [
        TableRow(str(tmp_path / "a.jpg"), "cat", "train", "g1"),
        TableRow(str(tmp_path / "b.jpg"), "dog", "val", ""),
        TableRow(str(tmp_path / "c.jpg"), "cat", "val", ""),
        TableRow(str(tmp_path / "d.jpg"), "cat", "test", ""),
    ]


def test_labels_and_names_are_kept_exactly(tmp_path: Path):
    text = 'path,label\n"a, b.jpg"," Känguru; ""rot"" "\n名前 1.jpg,007\n/data/x.jpg,№\n'
    rows, problems = tables.read_rows(write(tmp_path, text))
    assert problems == []
    assert [row.label for row in rows] == [' Känguru; "rot" ', "007", "№"]
    assert [str(row.path) for row in rows] == [
        f"{tmp_path}/a, b.jpg",
        f"{tmp_path}/名前 1.jpg",
        "/data/x.jpg",
    ]


def test_a_tsv_may_hold_commas(tmp_path: Path):
    rows, _ = tables.read_rows(write(tmp_path, "a,1,2.jpg\tcat, small, grey\n", "x.tsv"))
    assert rows == [TableRow(str(tmp_path / "a,1,2.jpg"), "cat, small, grey")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "TABLE: is empty; write a line `path,label` for each photo"),
        ("\n \n", "TABLE: is empty; write a line `path,label` for each photo"),
        (b"a.jpg,caf\xe9\n", "TABLE: is not UTF-8 text (byte 9); save it as UTF-8 (CSV UTF-8)"),
        ("a.jpg\n", "TABLE:1: has no columns path and label (found 'a.jpg'); "
         "begin with a line `path,label`, and `split` or `group` if there are any"),
        ("file,label\na.jpg,cat\n", "TABLE:1: names columns, but not path (found 'file,label'); "
         "say in the recipe which is which: data.columns: {path: file}"),
        ("image_path, class_name\na.jpg,cat\n", "TABLE:1: names columns, but not path and label "
         "(found 'image_path,class_name'); say in the recipe which is which: "
         "data.columns: {path: image_path, label: class_name}"),
        ("path,x\n", "TABLE:1: names no column 'label' (found 'path,x'); "
         "say in the recipe which is which: data.columns: {label: x}"),
        ("path,x,y\n", "TABLE:1: names no column 'label' (found 'path,x,y'); begin with a line "
         "`path,label`, and `split` or `group` if there are any"),
        ("path,Class,x\n", "TABLE:1: names no column 'label' (found 'path,Class,x'); "
         "say in the recipe which is which: data.columns: {label: Class}"),
        ("path,lable,x\n", "TABLE:1: names no column 'label' (found 'path,lable,x'); "
         "say in the recipe which is which: data.columns: {label: lable}"),
        ("path,label,path\n", "TABLE:1: names the column 'path' twice; rename one of them"),
        ('path,label\na.jpg,"cat\n', "TABLE:2: is not a line of a table: unexpected end of data; "
         'close the quotes, and double those inside: "5"" disk.jpg"'),
    ],
)  # fmt: skip
def test_what_is_no_table(tmp_path: Path, text: str | bytes, expected: str):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        tables.read_rows(path)
    assert str(caught.value).replace(str(path), "TABLE") == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("site,width,path2", ["note: ignored 3 columns: 'site', 'width', 'path2'"]),
        ("a,b,c,d,e,f", ["note: ignored 6 columns: 'a', 'b', 'c', 'd', 'e', ..."]),
        ("split,group,,", []),
    ],
)
def test_columns_that_are_not_read_are_a_note(tmp_path: Path, columns: str, expected: list[str]):
    row = "," * columns.count(",")
    path = write(tmp_path, f"path,label,{columns}\na.jpg,cat,{row}\n")
    rows, problems = tables.read_rows(path)
    assert len(rows) == 1
    assert {problem.where for problem in problems} <= {f"{path}:1"}
    lines = [f"{problem.severity}: {problem}" for problem in problems]
    assert [line.replace(f"{path}:1: ", "") for line in lines] == expected


def test_a_photo_may_be_called_as_a_column(tmp_path: Path):
    rows, _ = tables.read_rows(write(tmp_path, "image.jpg,image\nb.jpg,class\n"))
    assert [row.label for row in rows] == ["image", "class"]


def test_a_missing_table(tmp_path: Path):
    with pytest.raises(DataError, match="no such table; check the path"):
        tables.read_rows(tmp_path / "x.csv")
    with pytest.raises(DataError) as caught:
        tables.read_rows(tmp_path / "https://example.org/x.csv")
    assert str(caught.value) == (
        "https://example.org/x.csv: is a web address; "
        "tlcli reads files: download it and name the file"
    )
    with pytest.raises(DataError, match="cannot be read: is a directory"):
        tables.read_rows(tmp_path)


def test_slips_are_told_by_line(tmp_path: Path):
    text = (
        "path,label,split\na.jpg,cat,train\nb.jpg,cat\n ,cat,val\nc.jpg,,val\nd.jpg,cat,tran\n"
        "a.jpg,cat,train\na.jpg,dog,train\n"
    )
    path = write(tmp_path, text)
    rows, problems = tables.read_rows(path)
    assert rows == [TableRow(str(tmp_path / "a.jpg"), "cat", "train")]
    assert [(p.severity, str(p).replace(str(path), "TABLE")) for p in problems] == [
        ("error", "TABLE:3: has 2 columns, not 3; put names with a comma in double quotes"),
        ("error", "TABLE:4: has no path; name the photo, or delete the line"),
        ("error", "TABLE:5: has no label for c.jpg; write one, or delete the line"),
        ("error", "TABLE:6: has the unknown split 'tran'; did you mean 'train'?"),
        ("warning", "TABLE:7: repeats line 2; used once"),
        ("error", "TABLE:8: contradicts line 2 about a.jpg; keep one of the lines"),
    ]


def test_many_slips_of_a_kind_are_counted(tmp_path: Path):
    path = write(tmp_path, "path,label\n" + "a.jpg,\n" * 1000)
    _, problems = tables.read_rows(path)
    assert len(problems) == 6
    assert problems[-1].message == "995 more lines like that, up to line 1001"


# The index of a table


def test_an_index_from_a_table(tmp_path: Path):
    names = [f"{kind}/{n}.jpg" for kind in ("x", "y") for n in range(40)]
    plant(tmp_path, *names)
    text = "path,label\n" + "".join(f"{name},{name[0].upper()}\n" for name in names)
    table = write(tmp_path, text)
    index = dataset.read_index(Data(csv=table, split={"val": 0.3, "test": 0.2}))
    assert index.root == tmp_path
    assert index.classes == ("X", "Y")
    folders = dataset.read_index(Data(dir=tmp_path, split={"val": 0.3, "test": 0.2}))
    assert [item.split for item in index.items] == [item.split for item in folders.items]
    assert [item.digest for item in index.items] == [item.digest for item in folders.items]


def test_splits_of_a_table(tmp_path: Path):
    plant(tmp_path, *"abcdef")
    text = "path,label,split\na,x,train\nb,y,train\nc,x,val\nd,y,val\ne,x,test\nf,y,test\n"
    index = dataset.read_index(Data(csv=write(tmp_path, text)))
    assert [item.split for item in index.items] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert index.notes == ()


def failures(table: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        dataset.read_index(Data(csv=table))
    return [str(problem).replace(str(table), "TABLE") for problem in caught.value.problems]


def test_tables_that_cannot_be_trained_on(tmp_path: Path):
    plant(tmp_path, *"abcd")
    assert failures(write(tmp_path, "a,x\nb,x\n")) == [
        "TABLE: only one class to train on, 'x'; a classifier needs two or more"
    ]
    assert failures(write(tmp_path, "a,x,val\nb,y,val\n")) == [
        "TABLE: no photo to train on; a classifier needs two or more"
    ]
    assert failures(write(tmp_path, "a,x,train\nb,y,train\nc,x,test\nd,z,test\n")) == [
        "TABLE: label 'z': a class that is not in train; add it to train, or delete it here",
        "TABLE: class 'y': missing from test, but in train; "
        "add photos of it to test, or leave that split to tlcli",
    ]
    assert failures(write(tmp_path, "path,label,split\na,x,train\nb,y,train\nc,x,\n"))[0] == (
        "TABLE: 1 line without a split, such as that of c; write train, val or test on every line"
    )
    assert failures(write(tmp_path, "a,cat\nb,Cat\nc,dog\n"))[-1] == (
        "TABLE: label 'cat': has the name of another but for letter case, spaces or accent "
        "encoding: like 'Cat'; merge or rename them"
    )


def test_missing_photos_of_a_table(tmp_path: Path):
    plant(tmp_path, *(f"{name}{n}" for name in "xy" for n in range(20)))
    rows = [f"{name}{n},{name}\n" for name in "xy" for n in range(22)]
    table = write(tmp_path, "".join(rows))
    assert failures(table) == [
        f"{tmp_path}: 4 photos: no such file: x20 (line 21), x21 (line 22), "
        "y20 (line 43) and 1 more; check the path; it is relative to the table",
        "data: of each kind, the first 3 are named here; `tlcli check --all` or `--json` names all",
    ]
    assert len(dataset.read_index(Data(csv=table, on_bad_image="skip")).items) == 40


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("on\\c.jpg", "write / instead of \\ between folders"),
        ("b.jpg", "did you mean 'in/b.jpg'? move the table into 'in', or write 'in/' before the "
         "paths"),
        ("b", "did you mean 'in/b.jpg'? move the table into 'in', or write 'in/' before the "
         "paths"),
        ("in/B.jpg", "did you mean 'b.jpg', in different letter case?"),
        ("none/c.jpg", "check the path; it is relative to the table"),
        ("C:\\me\\c.jpg", "write / instead of \\ between folders"),
        ("here/in/b.jpg", "did you mean 'in/b.jpg'? paths are relative to the table"),
        ("C:\\me\\in\\b.jpg", "did you mean 'in/b.jpg'? paths are relative to the table"),
        ("in/" + "b" * 300, "check the path; it is relative to the table"),
    ],
)  # fmt: skip
def test_hints_for_a_missing_photo(tmp_path: Path, name: str, hint: str):
    plant(tmp_path, "in/b.jpg", "x", "y")
    table = write(tmp_path, f"x,x\ny,y\n{name},y\n")
    assert failures(table)[-1:] == [f"{tmp_path}/{name}: no such file: line 3; {hint}"]


def test_a_photo_that_is_there_and_cannot_be_read_is_told_apart(tmp_path: Path):
    plant(tmp_path, "x", "y")
    (tmp_path / "z").symlink_to(tmp_path / "nowhere")
    table = write(tmp_path, "x,x\ny,y\nz,y\nno,y\n")
    share = {"val": 0, "test": 0}
    index = dataset.build_index(Data(csv=table, on_bad_image="skip", split=share))
    assert [(f.severity, f.message, f.hint) for f in index.findings] == [
        ("warning", "cannot be read: no such file or directory", "left out of the run"),
        ("warning", "no such file", "left out of the run"),
    ]


def test_a_group_stays_together(tmp_path: Path):
    names = [f"{dog}-{n}.jpg" for dog in range(60) for n in range(3)]
    plant(tmp_path, *names)
    rows = [
        f"{name},{'ab'[int(name.split('-')[0]) % 2]},dog {name.split('-')[0]}" for name in names
    ]
    table = write(tmp_path, "\n".join(["path,label,group", *rows]))
    index = dataset.read_index(Data(csv=table, split={"val": 0.2, "test": 0.2}))
    splits = {}
    for item in index.items:
        splits.setdefault(item.group, set()).add(item.split)
    # By hand: in each class the groups with the lowest hashes are for the test.
    for label in (0, 1):
        groups = {item.group: item.split for item in index.items if item.label == label}
        row = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
        expected = ["test"] * 6 + ["train"] * 18 + ["val"] * 6
        assert [groups[group] for group in row] == expected
    assert len(splits) == 60
    assert all(len(of_group) == 1 for of_group in splits.values())
    assert leakage.resolve_copies(index, "error").findings == ()


def test_a_group_in_two_splits_is_an_error(tmp_path: Path):
    plant(tmp_path, *"abcdef")
    text = "a,x,train,g\nb,y,train,h\nc,x,val,g\nd,y,val,i\ne,x,test,j\nf,y,test,g\n"
    index = dataset.build_index(Data(csv=write(tmp_path, text)))
    (finding,) = leakage.resolve_copies(index, "drop").findings
    assert str(finding.as_problem(tmp_path)).startswith(
        f"{tmp_path}: 2 photos: its group is also in another split: a (group g), c (group g); "
    )
    assert finding.severity == "error"


def test_a_table_with_the_paths_of_another_machine(tmp_path: Path):
    plant(tmp_path, "in/b.jpg", "x", "y")
    table = write(tmp_path, "x,x\ny,y\n/home/me/in/b.jpg,y\n")
    assert failures(table)[-1:] == [
        "/home/me/in/b.jpg: no such file: line 3; "
        "did you mean 'in/b.jpg'? paths are relative to the table"
    ]
