"""The table of `data.labels`: what a person has decided, and every way to get it wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tlcli.data import dataset
from tlcli.data.dataset import Index
from tlcli.errors import DataError
from tlcli.recipe.settings import Data

HEAD = "path,label,suggested,keep"


def decide(root: Path, *lines: str, head: str = HEAD, **data: object) -> tuple[Index, list[str]]:
    """The index with a table of these lines, and the messages about it."""
    table = root.parent / "fixes.csv"
    table.write_bytes("\n".join([head, *lines]).encode())
    index = dataset.build_index(Data(dir=root, labels=table, **data))
    messages = [
        f"{problem.severity}: {problem}".replace(str(table), "TABLE").replace(str(root), "ROOT")
        for problem in index.notes
        if "fixes.csv" in str(problem)
    ]
    return index, messages


def labels(index: Index) -> dict[str, str]:
    return {
        item.path.relative_to(index.root).as_posix(): index.classes[item.label]
        for item in index.items
    }


def test_what_a_person_has_decided_is_applied_and_nothing_else(root: Path):
    before = dataset.build_index(Data(dir=root))
    index, messages = decide(
        root, "cats/1.jpg,cats,dogs,no", "cats/2.jpg,cats,dogs,yes", "dogs/3.jpg,dogs,cats,"
    )
    assert messages == ["note: ROOT: labels: 1 changed, 1 confirmed, 1 undecided by fixes.csv"]
    assert labels(index) == {**labels(before), "cats/1.jpg": "dogs"}
    assert index.fingerprint != before.fingerprint
    assert [item.split for item in index.items] == [item.split for item in before.items]
    undone = [replace(item, label=item.path.parts[-2] == "dogs") for item in index.items]
    assert replace(index, items=tuple(undone)).fingerprint == before.fingerprint


@pytest.mark.parametrize("keep", ["no", "No ", "n", "false", "0"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_that_spreadsheets_have_saved(root: Path, keep: str, separator: str):
    line = f"cats/1.jpg,cats,dogs,{keep},what I saw".replace(",", separator)
    head = "\ufeffPath,label,Suggested,keep,comment".replace(",", separator)
    index, messages = decide(root, line + "\r", "\r", head=head + "\r")
    assert labels(index)["cats/1.jpg"] == "dogs"
    assert messages == ["note: ROOT: labels: 1 changed, 0 confirmed by fixes.csv"]


def test_columns_may_be_in_any_order_and_another_class_be_written(root: Path):
    (root / "foxes").mkdir()
    (root / "foxes/1.jpg").write_bytes(b"fox")
    index, _ = decide(root, "no,cats/1.jpg,foxes,cats", head="keep,path,suggested,label")
    assert labels(index)["cats/1.jpg"] == "foxes"


RELABEL = (
    "the table is of other data, or of other labels: make it again with `tlcli audit labels "
    "--fix-list FILE`"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cats/1.jpg,cats,dogs,maybe"],
         "TABLE:2: has 'maybe' in keep; write no to take the suggested class, yes to keep the "
         "label, or nothing"),
        (["cats/1.jpg,cats,,no"],
         "TABLE:2: takes the label from cats/1.jpg, but suggests no other; write the right class "
         "into suggested"),
        (["cats/1.jpg,cats,cats,no"],
         "TABLE:2: changes the label of cats/1.jpg to 'cats', which it has; write yes into keep, "
         "or another class into suggested"),
        (["cats/1.jpg,cats,dog,no"],
         "TABLE:2: gives cats/1.jpg the class 'dog', which is none of the data; did you mean "
         "'dogs'? (allowed: cats, dogs)"),
        (["cats/1.jpg,dogs,cats,no"],
         "TABLE:2: says that cats/1.jpg is labelled 'dogs'; in the data it is 'cats'; " + RELABEL),
        (["cats/1.jpg,cat,dogs,"],
         "TABLE:2: says that cats/1.jpg is labelled 'cat'; in the data it is 'cats'; was 'cat' "
         "renamed to 'cats'? " + RELABEL),
        (["cats/1.jpg,dogs,dogs,yes"],
         "TABLE:2: keeps the label of cats/1.jpg, and changes it from 'cats' to 'dogs'; to change "
         "it, write the class into suggested and no into keep"),
        (["cats/1.jpg,cats,dogs,no", "cats/1.jpg,cats,dogs,yes"],
         "TABLE:3: contradicts line 2 about cats/1.jpg: its label is both kept and changed; keep "
         "one of the lines"),
        (["cats/1.jpg,cats,dogs,no", "cats/1.jpg,cats,foxes,no"],
         "TABLE:3: contradicts line 2 about cats/1.jpg; keep one of the lines"),
        (["cats/1.jpg,cats,dogs"],
         "TABLE:2: has 3 columns, not 4; put names with a comma in double quotes"),
        (["cats/1.jpg,cats,dogs,no", "cats/11.jpg,cats,dogs,no"],
         "data.labels: TABLE: 1 line without a photo in the data: 'cats/11.jpg' (line 3; did you "
         "mean 'cats/1.jpg'?); correct the paths, or delete the lines"),
        (["a/1.jpg,a,b,no", "a/2.jpg,a,b,"],
         "data.labels: TABLE: none of its 2 photos is in the data, such as 'a/1.jpg'; it is of "
         "other data; paths are relative to ROOT"),
        ([f"cats/{number}.jpg,cats,dogs,no" for number in range(8)],
         "data.labels: TABLE: takes every photo from the class 'cats'; leave it some, or remove "
         "the class from data"),
    ],
)  # fmt: skip
def test_mistakes_are_errors_that_say_what_to_do(root: Path, lines: list[str], message: str):
    _, messages = decide(root, *lines)
    assert [text for text in messages if text.startswith("error")] == [f"error: {message}"]


def test_a_line_that_stands_twice_is_used_once(root: Path):
    index, messages = decide(root, *["cats/1.jpg,cats,dogs,no"] * 2)
    assert messages[0] == "warning: TABLE:3: repeats line 2; used once"
    assert labels(index)["cats/1.jpg"] == "dogs"


def test_photos_that_are_left_out_may_stand_in_the_table(root: Path):
    exclude = root.parent / "bad.txt"
    exclude.write_text("cats/1.jpg\n")
    index, messages = decide(
        root, "cats/1.jpg,cats,dogs,no", "cats/2.jpg,cats,dogs,no", exclude=exclude
    )
    assert labels(index)["cats/2.jpg"] == "dogs"
    assert not [text for text in messages if text.startswith("error")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: no such file or directory; check the path; `tlcli audit labels "
               "--fix-list FILE` writes such a table"),
        ("", "is not a table of labels: it has no column path, label, suggested, keep; `tlcli "
             "audit labels --fix-list FILE` writes one"),
        ("path,label\na,b\n", "is not a table of labels: it has no column suggested, keep; "
                              "`tlcli audit labels --fix-list FILE` writes one"),
        (HEAD + '\n"cats/1.jpg,cats,dogs,no\n', "cannot be read: unexpected end of data; check "
         "the path; `tlcli audit labels --fix-list FILE` writes such a table"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_such_table(root: Path, text: str | None, message: str):
    table = root.parent / "fixes.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(DataError) as error:
        dataset.build_index(Data(dir=root, labels=table))
    assert str(error.value) == f"data.labels: {table}: {message}"


def test_the_table_may_lie_among_the_photos(root: Path):
    table = root / "fixes.csv"
    table.write_text(f"{HEAD}\ncats/1.jpg,cats,dogs,no\n")
    index = dataset.read_index(Data(dir=root, labels=table))
    assert [str(problem) for problem in index.notes if "fixes.csv" in str(problem)] == [
        f"{root}: labels: 1 changed, 0 confirmed by fixes.csv"
    ]


def test_check_the_plan_and_a_dry_run_say_what_is_changed(cli, photos, write_recipe):
    table = photos.parent / "fixes.csv"
    first = next((photos / "train").glob("*/*"))
    name, label = first.relative_to(photos).as_posix(), first.parent.name
    other = next(path.name for path in (photos / "train").iterdir() if path.name != label)
    table.write_text(f"{HEAD}\n{name},{label},{other},no\n")
    recipe = write_recipe(
        f"data: {{dir: {photos}, labels: fixes.csv}}\n"
        "base: {name: VGG16, weights: random, image_size: 32}\n"
    )
    done = cli("check", "--config", recipe)
    assert done.exit_code == 0, done.stderr
    assert f"{photos}: labels: 1 changed, 0 confirmed by fixes.csv" in done.stderr
    assert "\nlabels: 1 changed, 0 confirmed by fixes.csv\n" in done.stdout
    done = cli("finetune", "--config", recipe, "--dry-run", "--json")
    assert '"changed": 1' in done.stdout
    table.write_text(f"{HEAD}\n{name},{other},{label},no\n")
    assert cli("check", "--config", recipe).exit_code == 1
