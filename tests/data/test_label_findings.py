"""Names of classes: words for 'no label', names for the same, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.data_folders import data_block, notes, write_classes, write_files

from tlcli.data import dataset
from tlcli.data.findings import Finding
from tlcli.data.label_findings import find_label_flaws
from tlcli.recipe.settings import Data


def flaws(*names: str, **counts: int) -> dict[str, Finding]:
    """The findings about some names, of ten photos each where nothing else is said, by kind."""
    numbers = {**dict.fromkeys(names, 10), **counts}
    return {flaw.kind: flaw for flaw in find_label_flaws(numbers, "PLACE", "class folder")}


def line(flaw: Finding) -> str:
    return str(flaw.as_problem(Path("ROOT")))


@pytest.mark.parametrize(
    "name",
    ["nan", "NaN", "None", "none", "N/A", "#N/A", "<NA>", "null", "-", "?", "unlabeled",
     "Unlabelled", "no_label", "No Label", "not-labelled", "unknown", "misc", "Miscellaneous",
     "unsorted"],
)  # fmt: skip
def test_words_for_no_label(name: str):
    findings = flaws("cats", "dogs", name)
    assert line(findings["no label"]) == (
        f"PLACE: class folder '{name}': looks like a word for 'no label', but tlcli does not leave "
        "it out: 10 photos; it is a class like any other, unless you remove its photos from the "
        "data"
    )
    assert findings.keys() == {"no label"}


def test_words_for_no_label_are_one_line():
    findings = flaws("cats", "misc", "nan", "null", "unknown", none=1)
    assert line(findings["no label"]) == (
        "PLACE: 5 class folders: looks like a word for 'no label', but tlcli does not leave it "
        "out: 'misc' (10 photos), 'nan' (10 photos), 'none' (1 photo) and 2 more; it is a class "
        "like any other, unless you remove its photos from the data"
    )
    listed = findings["no label"].as_dict(Path("ROOT"))
    assert listed["count"] == 5
    assert listed["names"] == ["'misc'", "'nan'", "'none'", "'null'", "'unknown'"]
    lines = [str(problem) for problem in findings["no label"].as_problems(Path("ROOT"))]
    assert len(lines) == 5
    assert lines[4].startswith("PLACE: class folder 'unknown': looks like a word for 'no label'")


@pytest.mark.parametrize(
    "names",
    [
        ("+", "-"),
        ("nonea", "manx"),
        ("other", "background"),
        ("😀", "😡"),
        ("negative", "no finding"),
    ],
)
def test_names_that_are_no_words_for_no_label(names: tuple[str, ...]):
    assert flaws(*names) == {}


@pytest.mark.parametrize(
    ("more", "fewer"),
    [("cat", "Cat"), ("cat", "cat "), ("big cat", "big  cat"), ("caf\u00e9", "cafe\u0301"),
     ("cat", "cat\u200b"), ("cat", "\ufeffcat"), ("big cat", "big\u00a0cat"),
     ("STRASSE", "straße")],
)  # fmt: skip
def test_names_that_differ_in_nothing_that_is_seen(more: str, fewer: str):
    findings = flaws("other", **{more: 20, fewer: 3})
    assert line(findings["same name"]) == (
        f"PLACE: class folder '{fewer}': has the name of another but for letter case, spaces or "
        f"accent encoding: like '{more}'; merge or rename them"
    )
    assert (findings.keys(), findings["same name"].severity) == ({"same name"}, "error")


@pytest.mark.parametrize(
    ("more", "fewer"),
    [("cat", "cats"), ("Cats", "cat"), ("box", "boxes"), ("puppies", "puppy"), ("1", "01"),
     ("golden_retriever", "golden retriever"), ("Golden-Retriever", "goldenretriever"),
     ("2", "2.0"), ("café", "cafe"), ("class_1", "class 1"), ("class-01", "class 01")],
)  # fmt: skip
def test_names_that_a_person_takes_for_the_same(more: str, fewer: str):
    findings = flaws("other", **{more: 20, fewer: 3})
    assert line(findings["similar name"]) == (
        f"PLACE: class folder '{fewer}': looks like the name of another, but tlcli does not merge "
        f"them: like '{more}'; if they are one class, give them one name"
    )
    assert (findings.keys(), findings["similar name"].severity) == ({"similar name"}, "warning")


@pytest.mark.parametrize("rare", ["retriver", "retreiver", "retrievers", "retrjever", "rretriever"])
def test_a_rare_name_that_is_a_misspelt_frequent_one(rare: str):
    assert flaws("poodle", retriever=200, **{rare: 2})["similar name"].details == (
        "like 'retriever'",
    )


@pytest.mark.parametrize(
    "names",
    [("A", "A-"), ("c", "c++", "c#"), ("class1", "class2"), ("1-1", "11"), ("1", "-1"),
     ("0.5", "5"), ("strife", "stripe"), ("glass", "gloss"), ("1_10", "11_0"), ("ball", "bell"),
     ("c1", "c10"), ("モモ", "もも"), ("मन", "मान")],
)  # fmt: skip
def test_names_that_only_seem_alike(names: tuple[str, ...]):
    assert flaws(*names) == {}


def test_every_name_is_in_one_finding_of_likeness():
    findings = flaws(Cat=30, cat=5, cats=3, dog=9, Dog=9)
    assert findings["same name"].names == ("'cat'", "'dog'")
    assert findings["same name"].details == ("like 'Cat'", "like 'Dog'")
    assert (findings["similar name"].names, findings["similar name"].details) == (
        ("'cats'",),
        ("like 'Cat'",),
    )


def test_the_labels_of_a_table_and_folders_say_the_same(tmp_path: Path):
    names = ("cats", "Cats", "nan")
    write_files(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in range(4)))
    (tmp_path / "x.csv").write_text(
        "".join(f"{name}/{number}.jpg,{name}\n" for name in names for number in range(4))
    )
    share = {"val": 0, "test": 0}
    by_folder = dataset.build_index(Data(dir=tmp_path, split=share)).findings
    by_table = dataset.build_index(Data(csv=tmp_path / "x.csv", split=share)).findings
    kinds = ["same name", "no label"]
    assert [flaw.kind for flaw in by_folder][:2] == [flaw.kind for flaw in by_table] == kinds
    assert [line(flaw) for flaw in by_table] == [
        line(flaw).replace("class folder", "label").replace(str(tmp_path), f"{tmp_path}/x.csv")
        for flaw in by_folder[:2]
    ]


def test_numeric_class_names(tmp_path: Path):
    write_classes(tmp_path, "1", "2", "10")
    index = dataset.read_index(data_block(tmp_path))
    assert index.classes == ("1", "10", "2")
    assert notes(index, "note")[-1] == (
        "ROOT: numeric class names are sorted as text: '10' comes before '2'; "
        "pad them with zeros to sort them by value"
    )


def test_numeric_class_names_of_any_length_and_script(tmp_path: Path):
    text = "".join(f"{n}.jpg,{label}\n" for n, label in enumerate(("9" * 5000, "007", "٣", "10")))
    write_files(tmp_path, *(f"{number}.jpg" for number in range(4)))
    (tmp_path / "x.csv").write_text(text)
    index = dataset.build_index(Data(csv=tmp_path / "x.csv", split={"val": 0, "test": 0}))
    assert index.classes == ("007", "10", "9" * 5000, "٣")
    assert index.findings[-1].message == (
        "numeric class names are sorted as text: '007' comes before '٣'"
    )


def test_padded_numeric_class_names_need_no_note(tmp_path: Path):
    write_classes(tmp_path, "01", "02", "10")
    assert notes(dataset.read_index(data_block(tmp_path)), "note") == ["ROOT: no test split"]
