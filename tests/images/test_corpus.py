"""Every kind of file: the right pixels, compared with OpenCV, or its name in the report."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builders import corpus
from builders.mutations import mutations

from tlcli.errors import ImageError
from tlcli.images import decode
from tlcli.training.check import check_recipe

cv2 = pytest.importorskip("cv2")

#: What OpenCV does not read, or reads differently from what viewers show, and why.
BY_HAND = {
    "png palette alpha": "OpenCV drops the alpha of palettes",
    "gif transparent": "a transparent GIF has no alpha channel in OpenCV",
    "tiff RGBA": "OpenCV multiplies its colours by alpha",
    "tiff CMYK": "OpenCV has inverted inks",
    "tiff planar": "OpenCV reads no channels that are apart",
    "png turned": "OpenCV reads EXIF of PNG in some versions",
    "png 4 bits grey key": "OpenCV drops the colour that stands for nothing",
    "tiff 16 RGB apart": "OpenCV scrambles it",
    "tiff 32 grey": "OpenCV keeps 32 bits, which are stretched to 8 here",
    "tiff fractions": "OpenCV keeps fractions as they are",
    "tiff fractions negative": "OpenCV keeps fractions as they are",
    "tiff fractions big-endian deflate": "OpenCV keeps fractions as they are",
}

#: Levels that lossy or rounding decoders may differ by.
NEAR = 3


def by_opencv(data: bytes) -> np.ndarray | None:
    """RGB on white, upright; None where OpenCV cannot read the file."""
    raw = np.frombuffer(data, np.uint8)
    stored = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    if stored is None:
        return None
    if stored.ndim == 3 and stored.shape[2] == 4:
        values = stored.astype(float) / (257 if stored.dtype == np.uint16 else 1)
        share = values[..., 3:] / 255
        return values[..., 2::-1] * share + 255 * (1 - share)
    if stored.dtype == np.uint16:
        values = stored.astype(float) / 257
        return values[..., ::-1] if stored.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    upright = cv2.imdecode(raw, cv2.IMREAD_COLOR)  # UNCHANGED does not turn
    return upright[..., ::-1].astype(float)


def test_there_are_enough_kinds():
    kinds = len(corpus.SOUND) + len(corpus.hopeless()) + len(list(corpus.truncated()))
    assert len(corpus.SOUND) >= 60
    assert kinds >= 200


@pytest.mark.parametrize("kind", corpus.SOUND)
def test_pixels_are_those_of_opencv(kind: str):
    actual = np.asarray(decode.decode(corpus.SOUND[kind], name=kind)).astype(float)
    expected = None if kind in BY_HAND else by_opencv(corpus.SOUND[kind])
    if expected is None:
        pytest.skip(BY_HAND.get(kind, "this OpenCV cannot read it"))
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= NEAR


def original(kind: str) -> np.ndarray:
    """What a file was made of, for those that OpenCV says nothing about."""
    colours = corpus.pixels().astype(float)
    if kind == "png 16 RGB key":
        deep = corpus.pixels(3, deep=True)
        nothing = np.all(deep == deep[corpus.HEIGHT // 2, corpus.WIDTH // 2], axis=2)
        return np.where(nothing[..., None], 255, deep >> 8)
    if "grey" in kind or "fractions" in kind or "1 bit" in kind:
        return np.repeat(grey(kind)[..., None], 3, axis=2)
    if kind.endswith("RGBA"):
        share = corpus.pixels(4)[..., 3:] / 255.0
        return corpus.pixels(4)[..., :3] * share + 255 * (1 - share)
    return np.rot90(colours, -1) if kind == "png turned" else colours


def grey(kind: str) -> np.ndarray:
    """The same of one channel."""
    deep = corpus.pixels(1, deep=True)
    if kind == "png 4 bits grey key":
        shallow = corpus.pixels(1) >> 4
        nothing = shallow == shallow[corpus.HEIGHT // 2, corpus.WIDTH // 2]
        return np.where(nothing, 255, shallow * 17)
    if "1 bit" in kind:
        return np.where(deep >> 15, 0, 255)
    if kind == "tiff 32 grey":
        return (deep - float(deep.min())) * 255 / (float(deep.max()) - float(deep.min()))
    return deep / 257


@pytest.mark.parametrize(
    ("kind", "near"),
    [("png turned", 0), ("tiff CMYK", 1), ("avif", 12), ("tiff RGBA", 1),
     ("webp RGBA", 1), ("png animated", 0), ("tiff pages", 0), ("tiff planar", 0),
     ("png 16 RGB key", 0), ("png 4 bits grey key", 0), ("tiff 12 grey", 1),
     ("tiff 16 grey apart", 1), ("tiff 16 RGB apart", 1), ("tiff 1 bit negative apart", 0),
     ("tiff 32 grey", 1), ("tiff fractions", 1), ("tiff fractions negative", 1),
     ("tiff fractions big-endian deflate", 1)],
)  # fmt: skip
def test_pixels_are_those_that_were_saved(kind: str, near: int):
    if kind not in corpus.SOUND:
        pytest.skip("this Pillow cannot write it")
    actual = np.asarray(decode.decode(corpus.SOUND[kind])).astype(float)
    assert np.abs(actual - original(kind)).max() <= near


def test_truncated_files_are_refused():
    for kind, data in corpus.truncated():
        with pytest.raises(ImageError, match=r"truncated|damaged"):
            decode.decode(data, name=kind)


def test_every_file_is_in_the_index_or_in_the_report(tmp_path: Path, write_recipe):
    folder = tmp_path / "data"
    written = []
    files = [*corpus.SOUND.items(), *corpus.truncated(), *corpus.hopeless().items()]
    for number, (kind, data) in enumerate(files):
        suffix = ".jpg" if number % 3 else ".PNG"
        path = folder / "ab"[number % 2] / (kind.replace("/", "") + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(path)
    odd = folder / "a"
    (odd / "folder.jpg").mkdir()
    (odd / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (odd / "raw.CR2").write_bytes(b"II*\0\x10\0\0\0CR")
    os.mkfifo(odd / "pipe.jpg")
    locked = odd / "locked.jpg"
    locked.write_bytes(corpus.SOUND["png RGB"] + b"locked")
    if os.geteuid() != 0:  # the superuser may read everything
        locked.chmod(0)
    config = write_recipe(
        f"data: {{dir: {folder}, on_bad_image: skip, split: {{val: 0, test: 0}}}}\n"
        "base: {name: VGG16, weights: random}\n"
    )
    checked = check_recipe(config)
    assert checked.passed
    report = "\n".join(map(str, checked.all_problems(each_file=True)))
    trained = {item.path for item in checked.plan.index.items}
    good = set(corpus.SOUND)
    for path, (kind, _) in zip(written, files, strict=True):
        assert (path in trained) == (kind in good), kind
        assert path in trained or str(path) in report, kind
    for name in ("folder.jpg", "dangling.jpg", "raw.CR2", "pipe.jpg"):
        assert name in report, name
    assert locked in trained or "locked.jpg" in report


def _survives(kind: str, data: bytes, path: Path) -> str:
    """Decode a file as a run does: it must decode, or be refused by its name, within seconds."""
    path.write_bytes(data)
    started = time.process_time()
    try:
        decode.decode(path)
        outcome = "decoded"
    except ImageError as error:
        (problem,) = error.problems
        assert problem.where == str(path), kind
        assert problem.message.startswith("cannot be decoded: "), kind
        outcome = "refused"
    try:
        decode.load_image(path, height=32, width=32, resize="squash")
        assert outcome == "decoded", kind
    except ImageError:
        assert outcome == "refused", kind
    # Of processor time, since machines that run tests are busy; decoding twice.
    assert time.process_time() - started < 4, kind
    return outcome


@pytest.mark.parametrize(
    "number", [400, pytest.param(6000, marks=pytest.mark.slow)], ids=["quick", "long"]
)
def test_mutated_files_decode_or_are_refused(tmp_path: Path, number: int):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = [_survives(kind, data, tmp_path / "mutated.jpg") for kind, data in mutations(number)]
    assert len(outcomes) == number
    assert outcomes.count("decoded") > number / 10
    assert outcomes.count("refused") > number / 10
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    # A header may claim as many pixels as are allowed, of four bytes each, and they are copied.
    assert grown < 3 * 4 * 200_000_000
