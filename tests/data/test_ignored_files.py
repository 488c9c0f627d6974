"""What lies beside photos: photos without a suffix, links to nothing, lists to leave out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tlcli.data import ignored_files, read_layout
from tlcli.data.findings import Finding


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cats/1.jpg", "dogs/1.jpg"):
        save(tmp_path / name)
    return tmp_path


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "JPEG")


def found(root: Path, exclude: Path | None = None) -> dict[str, Finding]:
    """The findings of the layout, by severity and kind."""
    findings = read_layout.read_folder_layout(root, [exclude] if exclude else ()).findings
    return {f"{finding.severity}: {finding.kind}": finding for finding in findings}


def test_photos_without_a_suffix_are_told_first(root: Path):
    save(root / "cats/IMG_1")
    save(root / "dogs/x.jpg_large")
    (root / "README.md").write_text("words")
    (root / "cats/empty").touch()
    (finding,) = found(root).values()
    assert str(finding.as_problem(root)) == (
        f"{root}: 4 files: ignored, without an image extension: cats/IMG_1, dogs/x.jpg_large, "
        "README.md and 1 more; 2 of these 4 files are photos by content; give photos a "
        "matching extension such as .jpg"
    )


def test_few_of_many_files_are_looked_into(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ignored_files, "_MAX_OPENED", 2)
    for number in range(3):
        save(root / f"cats/{number}")
    (finding,) = found(root).values()
    assert finding.hint.startswith("2 of the first 2 files are photos by content")
    assert len(finding.paths) == 3


def test_a_camera_raw_file_is_no_photo_to_rename(root: Path):
    Image.new("RGB", (8, 8)).save(root / "cats/1.NEF", "TIFF")
    (finding,) = found(root).values()
    assert finding.hint == "photos need a file extension such as .jpg"


def test_links_to_nothing(root: Path):
    for name in ("README", "horses", "cats/LICENSE", "cats/gone.jpg"):
        (root / name).symlink_to(root / "nowhere")
    layout = read_layout.read_folder_layout(root)
    assert layout.dangling == [root / "cats/gone.jpg"]
    assert [str(finding.as_problem(root)) for finding in layout.findings] == [
        f"{root}: 2 links: ignored, a link to nothing: README, horses; "
        "repair it if it pointed to a class folder; otherwise delete it",
        f"{root}/cats/LICENSE: ignored, a link to nothing",
    ]
    assert [finding.severity for finding in layout.findings] == ["warning", "note"]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_list_that_check_has_written_is_nothing_to_tell(root: Path, start: str):
    (root / "bad.txt").write_text(f"{start}{ignored_files.FIX_LIST_TITLE}\ncats/1.jpg\n")
    os.mkfifo(root / "pipe")
    assert list(found(root)) == ["note: hidden"]


def test_nor_is_one_of_another_hand_that_the_recipe_names(root: Path):
    (root / "mine.txt").write_text("cats/1.jpg\n")
    assert list(found(root, root / "cats/../mine.txt")) == []
    assert list(found(root)) == ["warning: no image suffix"]
