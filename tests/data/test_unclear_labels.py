"""Labels that name no one class: several in one, and numbers to predict."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.data_folders import write_files

from tlcli.data import dataset
from tlcli.data.findings import Finding
from tlcli.data.label_findings import find_label_flaws
from tlcli.recipe.settings import Data


def flaws(*labels: str, photos: int = 10) -> dict[str, Finding]:
    """The findings about labels of ten photos each, by kind."""
    return {
        flaw.kind: flaw
        for flaw in find_label_flaws(dict.fromkeys(labels, photos), "t.csv", "label")
        if flaw.kind in ("several labels", "numbers to predict")
    }


def several(*labels: str) -> list[str]:
    findings = flaws(*labels)
    return [name.strip("'") for name in findings["several labels"].names] if findings else []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog", "cat,dog"], ["cat,dog"]),
        (["cat", "dog", "dog, cat", "bird"], ["dog, cat"]),
        (["cat|indoor", "dog|outdoor"], ["cat|indoor", "dog|outdoor"]),
        (["cat;dog", "cat"], ["cat;dog"]),
        (["cat/dog", "cat/bird", "dog", "bird"], ["cat/bird", "cat/dog"]),
        (["cat + dog", "Cat", "Dog"], ["cat + dog"]),
        (["cat and dog", "cat", "dog"], ["cat and dog"]),
        (["[cat]", "dog"], ["[cat]"]),
        (["cat\ndog", "dog"], ["cat\ndog"]),
        (["1", "2", "3", "4", "1,2"], ["1,2"]),
    ],
)
def test_several_labels_in_one(labels: list[str], expected: list[str]):
    assert several(*labels) == expected


def test_lists_as_programs_write_them():
    assert len(several("['cat', 'dog']", "['cat']", "bird")) == 2


def test_tags_between_spaces():
    words = ["haze", "primary", "road", "water"]
    labels = {
        " ".join(word for bit, word in enumerate(words) if number >> bit & 1)
        for number in range(1, 16)
    }
    labels |= {f"cloudy {label}" for label in labels}
    assert len(labels) == 30
    assert len(several(*labels)) == 30 - len(words)


@pytest.mark.parametrize(
    "labels",
    [
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane, bird"],
        ["black/white", "colour"],
        ["salt and pepper", "sugar"],
        ["C++", "C", "C#"],
        ["red apple", "green apple", "red pear", "green pear"],
        [f"{colour} {fruit}" for colour in "abcdefg" for fruit in "rstuvwx"],
        ["0", "1", "2"],
        ["cat", "dog"],
        ["[]", "()"],
    ],
)
def test_names_that_are_one_label(labels: list[str]):
    assert flaws(*labels) == {}


def test_several_labels_are_one_line():
    labels = ["cat", "dog", "cat|dog", "cat|bird", "dog|bird", "cat|dog|bird"]
    assert str(flaws(*labels)["several labels"].as_problem(Path("ROOT"))) == (
        "t.csv: 4 labels: looks like several labels in one, but tlcli gives each photo one class: "
        "'cat|bird' (10 photos), 'cat|dog' (10 photos), 'cat|dog|bird' (10 photos) and 1 more; "
        "it is a class of its own, apart from its parts; write the one label that matters"
    )


@pytest.mark.parametrize(
    ("labels", "photos", "severity"),
    [
        (["1.52", "1.69", "1.7", "1.81", "1.9"], 100, "warning"),
        (["1,52", "1,69", "1,70", "1,81", "1,90"], 1, "error"),
        (["-0.5", "0", "0.5", "1", "1.5e0", ".25"], 3, "warning"),
        ([str(price) for price in range(100, 9000, 97)], 2, "error"),
    ],
)
def test_numbers_to_predict(labels: list[str], photos: int, severity: str):
    findings = flaws(*labels, photos=photos)
    assert findings.keys() == {"numbers to predict"}
    assert findings["numbers to predict"].severity == severity
    first = ", ".join(f"'{label}'" for label in sorted(labels)[:3])
    assert str(findings["numbers to predict"].as_problem(Path("ROOT"))) == (
        f"t.csv: {len(labels)} labels look like numbers to predict ({first}, ...), but tlcli takes "
        "each for a class of its own and does not know which are near to each other; put them "
        "into a few ranges with names, such as low and high: tlcli does no regression"
    )


@pytest.mark.parametrize(
    ("labels", "photos"),
    [
        ([str(digit) for digit in range(10)], 1),
        ([f"{number:05}" for number in range(1000)], 2),
        ([str(price) for price in range(100, 9000, 97)], 40),
        (["0.5", "1.0", "2.0"], 100),
        (["1.5 mm", "2.5 mm", "3.5 mm", "4.5 mm", "5.5 mm"], 100),
    ],
)
def test_numbers_that_name_classes(labels: list[str], photos: int):
    assert flaws(*labels, photos=photos) == {}


def test_labels_of_a_table_are_looked_at(tmp_path: Path):
    labels = ["nan", "cat", "Cats", "cat|indoor"]
    names = [f"{label[0]}{label[-1]}{n}.jpg" for label in labels for n in range(20)]
    write_files(tmp_path, *names)
    table = tmp_path / "t.csv"
    table.write_text("".join(f"{name},{labels[n // 20]}\n" for n, name in enumerate(names)))
    index = dataset.read_index(Data(csv=table))
    assert index.classes == ("Cats", "cat", "cat|indoor", "nan")
    lines = [str(problem) for problem in index.notes if problem.severity == "warning"]
    assert [line.split("; ")[0].replace(str(table), "TABLE") for line in lines] == [
        "TABLE: label 'cat': looks like the name of another, but tlcli does not merge them: "
        "like 'Cats'",
        "TABLE: label 'nan': looks like a word for 'no label', but tlcli does not leave it out: "
        "20 photos",
        "TABLE: label 'cat|indoor': looks like several labels in one, but tlcli gives each photo "
        "one class: 20 photos",
    ]
