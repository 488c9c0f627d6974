"""Paths of tables that are not quite those of files: completed, or refused with what is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders.data_folders import write_files

from tlcli.data import tables
from tlcli.data.tables import TableRow
from tlcli.errors import Problem


def read(folder: Path, *paths: str) -> tuple[list[str], list[Problem]]:
    """The rows of a table of these paths, by what is read, and its problems."""
    table = folder / "t.csv"
    lines = ["path,label", *(f'"{path}",cat' for path in paths)]
    table.write_text("\n".join(lines), encoding="utf-8")
    rows, problems = tables.read_rows(table)
    return [str(row.path.relative_to(folder)) for row in rows], problems


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("img/c0", "1 path completed by a suffix, such as img/c0 to c0.jpg"),
        ("img/c0.JPG", "1 path completed in other letter case, such as img/c0.JPG to c0.jpg"),
        ("img\\c0.jpg", "1 path completed with / in place of \\, such as img\\c0.jpg to c0.jpg"),
        ("img\\c0", "1 path completed with / in place of \\, such as img\\c0 to c0.jpg"),
        ("./img/c0", "1 path completed by a suffix, such as ./img/c0 to c0.jpg"),
    ],
)
def test_a_path_is_completed_if_one_file_fits(tmp_path: Path, path: str, note: str):
    write_files(tmp_path, "img/c0.jpg", "img/c0.txt", "img/c00.jpg", "img/C0.jpg")
    paths, problems = read(tmp_path, path)
    assert paths == ["img/c0.jpg"]
    assert [(p.severity, str(p)) for p in problems] == [("note", f"{tmp_path}/t.csv: {note}")]


def test_completed_paths_are_counted_by_how(tmp_path: Path):
    write_files(tmp_path, *(f"{n}.png" for n in range(10)))
    _, problems = read(tmp_path, *map(str, range(6)), "6.PNG", "7.Png", "8.png", "9.png")
    assert [problem.message for problem in problems] == [
        "6 paths completed by a suffix, such as 0 to 0.png",
        "2 paths completed in other letter case, such as 6.PNG to 6.png",
    ]


def test_a_path_that_fits_several_files_is_an_error(tmp_path: Path):
    write_files(tmp_path, "c0.jpg", "c0.png", "d.JPG", "d.jpG")
    paths, problems = read(tmp_path, "c0", "d.jpg", "c0.png")
    assert paths == ["c0.png"]
    assert [(p.severity, str(p)) for p in problems] == [
        ("error", f"{tmp_path}/t.csv:2: names 'c0', which may be c0.jpg or c0.png; "
         "write the whole name"),
        ("error", f"{tmp_path}/t.csv:3: names 'd.jpg', which may be d.JPG or d.jpG; "
         "write the whole name"),
    ]  # fmt: skip


def test_a_file_of_the_very_name_is_meant_first(tmp_path: Path):
    write_files(tmp_path, "c0", "c0.jpg", "a\\b", "a/b")
    assert read(tmp_path, "c0", "a\\b") == (["c0", "a\\b"], [])


def test_other_suffixes_are_other_files(tmp_path: Path):
    write_files(tmp_path, "a.png", "b.jpeg")
    assert read(tmp_path, "a.jpg", "b.jpg") == (["a.jpg", "b.jpg"], [])


def test_a_photo_listed_with_and_without_suffix_is_one(tmp_path: Path):
    write_files(tmp_path, "c0.jpg")
    table = tmp_path / "t.csv"
    table.write_text("path,label\nc0,cat\nc0.jpg,cat\nc0.JPG,dog\n")
    rows, problems = tables.read_rows(table)
    assert rows == [TableRow(str(tmp_path / "c0.jpg"), "cat")]
    assert [(p.severity, p.message) for p in problems[:2]] == [
        ("warning", "repeats line 2"),
        ("error", "contradicts line 2 about c0.jpg"),
    ]


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(tmp_path, *(f"in/{n}.jpg" for n in range(50)))
    listed, list_folder = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or list_folder(folder))
    read(tmp_path, *(f"in/{n}.jpg" for n in range(50)))
    assert listed == []
    read(tmp_path, *(f"in/{n}" for n in range(50)), *(f"in/x{n}" for n in range(50)))
    assert listed == [str(tmp_path / "in")]


FILES = "tlcli reads files: download it and name the file"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("https://example.org/a.jpg", FILES),
        (" HTTP://example.org/a.jpg ", FILES),
        ("ftp://example.org/a.jpg", FILES),
        ("file:///data/a.jpg", "name the file by its path, without file://"),
    ],
)
def test_an_address_is_no_path(tmp_path: Path, path: str, hint: str):
    paths, problems = read(tmp_path, path)
    assert paths == []
    shown = path.strip().replace(":///", "://")
    assert [str(problem) for problem in problems] == [
        f"{tmp_path}/t.csv:2: {shown} is a web address; {hint}"
    ]


def test_a_file_may_have_the_name_of_an_address(tmp_path: Path):
    write_files(tmp_path, "https:/example.org/a.jpg")
    assert read(tmp_path, "https://example.org/a.jpg") == (["https:/example.org/a.jpg"], [])


def test_many_addresses_are_one_kind(tmp_path: Path):
    _, problems = read(tmp_path, *(f"https://example.org/{n}.jpg" for n in range(100)))
    assert len(problems) == 6
    assert problems[-1].message == "95 more lines like that, up to line 101"
    assert problems[-1].hint == FILES
