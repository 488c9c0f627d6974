"""Thumbnails: the right photos, small, within their room, and nothing else of them."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint
from PIL import Image

from tlcli.data.hashing import hash_file
from tlcli.report.thumbnails import PhotoThumbnails, make_thumbnail


def opened(uri: str) -> Image.Image:
    head, _, text = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize(
    ("size", "small"), [((400, 300), (160, 120)), ((20, 10), (20, 10)), ((5000, 2), (160, 1))]
)
def test_shrinking(size: tuple[int, int], small: tuple[int, int]):
    small_picture = make_thumbnail(Image.new("RGB", size, (200, 40, 90)), 160)
    image = opened(small_picture.uri)
    assert image.size == (small_picture.width, small_picture.height) == small
    assert np.abs(np.asarray(image, int) - (200, 40, 90)).max() <= 3


def test_names_and_places(tmp_path: Path):
    thumbnails = PhotoThumbnails(Path("/then/pets"), tmp_path / "now", {}, 0)
    assert thumbnails.relative_name("test/cats/1.png") == thumbnails.relative_name(
        "/then/pets/test/cats/1.png"
    )
    assert thumbnails.current_path("/then/pets/test/cats/1.png") == tmp_path / "now/test/cats/1.png"
    assert thumbnails.current_path("/elsewhere/2.png") == Path("/elsewhere/2.png")


def test_photos_that_cannot_be_shown(tmp_path: Path):
    for name in ("good.png", "changed.png"):
        paint(tmp_path / name, (9, 90, 190), 1)
    (tmp_path / "text.png").write_text("words")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    digests = {name: hash_file(tmp_path / name) for name in ("good.png", "text.png")}
    digests["changed.png"] = "0" * 64
    thumbnails = PhotoThumbnails(tmp_path, tmp_path, digests, 1_000_000)
    names = ["good.png", "changed.png", "text.png", "folder.png", "pipe.png", "none.png", "\0.png"]
    assert list(thumbnails.pictures(names, 32)) == ["good.png"]
    messages = {path: problem.message for path, problem in thumbnails.problems.items()}
    assert messages["changed.png"] == "is not a photo of the run, or has changed since"
    assert messages["text.png"].startswith("cannot be decoded: not an image")
    assert messages["folder.png"] == messages["pipe.png"] == messages["none.png"] == "is missing"
    assert set(messages) == set(names) - {"good.png"}


def test_room_is_kept(tmp_path: Path):
    for number in range(40):
        paint(tmp_path / f"{number:02d}.png", (90, 90, 90), number)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    digests = {name: hash_file(tmp_path / name) for name in names}
    everything = PhotoThumbnails(tmp_path, tmp_path, digests, 10**9).pictures(names, 48)
    assert list(everything) == names
    total = sum(len(thumbnail.uri) for thumbnail in everything.values())
    thumbnails = PhotoThumbnails(tmp_path, tmp_path, digests, total // 2)
    some = thumbnails.pictures(names, 48)
    assert list(some) == names[: len(some)], "the first ones"
    assert total // 3 < sum(len(thumbnail.uri) for thumbnail in some.values()) <= total // 2
    assert not thumbnails.problems
