"""Sheets: where pictures and words come to stand, and where no sheet may be written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlcli.errors import TlcliError
from tlcli.images import contact_sheet

RED, BLUE = Image.new("RGB", (50, 40), (255, 0, 0)), Image.new("RGB", (30, 20), (0, 0, 255))


def where(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=-1))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_pictures_stand_in_rows():
    sheet = contact_sheet.lay_out_cells(
        [contact_sheet.SheetCell([RED]), contact_sheet.SheetCell([BLUE])], 2, gap=10
    )
    assert sheet.size == (2 * 16 + 50 + 10 + 50, 2 * 16 + 40)
    assert where(sheet, (255, 0, 0)) == (16, 16, 65, 55)
    assert where(sheet, (0, 0, 255)) == (76, 16, 105, 35)
    below = contact_sheet.lay_out_cells(
        [contact_sheet.SheetCell([RED]), contact_sheet.SheetCell([BLUE])], 1, gap=10
    )
    assert where(below, (0, 0, 255)) == (16, 66, 45, 85)


def test_words_take_room_below_and_never_beside():
    long = "a name that is much wider than the picture it belongs to " * 5
    sheet = contact_sheet.lay_out_cells([contact_sheet.SheetCell([BLUE], [long, "x"])], 1)
    assert sheet.width == 30 + 2 * 16
    dark = np.asarray(sheet).astype(int).sum(axis=-1) < 300
    assert not dark[:, 16 + 30 :].any() and dark[16 + 20 :].any()


def test_a_sheet_that_no_viewer_opens_is_refused(monkeypatch):
    monkeypatch.setattr(contact_sheet, "MAX_PIXELS", 10_000)
    with pytest.raises(
        TlcliError, match=r"a sheet of 40 pictures .* ask for fewer pictures at once"
    ):
        contact_sheet.lay_out_cells([contact_sheet.SheetCell([RED])] * 40, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sheet.jpg", "sheets are written as PNG; name a file.png"),
        ("none/sheet.png", "its folder does not exist"),
        ("folder.png", "is a folder"),
        ("there.png", "exists already; name another, or replace it with --force"),
    ],
)
def test_where_no_sheet_may_be_written(tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "there.png").touch()
    with pytest.raises(TlcliError, match=message):
        contact_sheet.sheet_path(tmp_path / name, "", force=False)
    assert (
        contact_sheet.sheet_path(tmp_path / "there.png", "", force=True) == tmp_path / "there.png"
    )


NAMES = [
    "photo.jpg",
    "<script>alert(1)</script>.jpg",
    "quotes \" and ' and $math_{x}$",
    "two\nlines\tand a tab",
    "\u202egnp.exe",
    "고양이.jpg",
    "חתול",
    "x" * 300,
    "\ud800 broken",
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_can_be_written(name):
    sheet = contact_sheet.lay_out_cells([contact_sheet.SheetCell([RED], [name])], 1)
    assert sheet.width == 50 + 2 * 16
    text, _ = contact_sheet.fit_text(name, 10_000, 14)
    assert not any(steering in text for steering in "\n\t\u202e\ud800")


def test_a_long_name_keeps_its_end():
    text, chosen = contact_sheet.fit_text("a" * 200 + "-0001.jpg", 150, 14)
    assert text.startswith("aaa") and text.endswith("1.jpg") and "…" in text
    assert chosen.getlength(text) <= 150


def test_a_font_with_the_letters_is_chosen():
    korean = contact_sheet.choose_font("고양이", 14)
    plain = contact_sheet.choose_font("cat", 14)
    if korean == plain:
        pytest.skip("no font with Korean letters is installed")
    assert contact_sheet._has(korean, "고")
