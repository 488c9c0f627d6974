"""What is called unknown, measured beside plain Keras, NumPy and scikit-learn."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from builders.photos import paint
from PIL import Image
from sklearn.metrics import roc_auc_score

from tlcli.images.decode import load_image
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.runs.unknown_record import find_unknown


@pytest.fixture
def run(instant_run: tuple[Run, Path], tmp_path: Path) -> Run:
    """The run, in a folder of its own."""
    shutil.copytree(instant_run[0].path, tmp_path / "run", copy_function=os.link)
    return Run(tmp_path / "run")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Five photos of noise."""
    folder = tmp_path / "noise"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(5):
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_distances_and_areas_are_those_of_plain_libraries(cli, run: Run, instant_run, foreign):
    done = cli("evaluate", run.path, "--foreign", foreign, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)["unknown"]
    model = keras.saving.load_model(run.file(directory.MODEL), compile=False)
    top = model.get_layer("block5_pool").output
    inner = keras.Model(model.inputs[0], [top, model.outputs[0]])

    def compute(paths: list[Path]):
        pixels = [load_image(p, height=32, width=32, resize="squash") for p in paths]
        features, probabilities = inner(np.stack(pixels).astype(np.float32))
        means = np.sqrt(features.numpy().mean(axis=(1, 2)))
        return means / np.linalg.norm(means, axis=1, keepdims=True), probabilities.numpy()

    rows = {
        split: [row for row in read_split(run) if row.split == split] for split in ("train", "test")
    }
    photos = instant_run[1]
    train, _ = compute([photos / row.path for row in rows["train"]])
    train = train.astype(np.float16).astype(np.float32)  # as the run keeps them
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    test, known = compute([photos / row.path for row in rows["test"]])
    noise, strange = compute(sorted(foreign.iterdir()))

    def nearest(features, among):
        return np.linalg.norm(features[:, None] - among[None], axis=2).min(axis=1)

    def area(positives, negatives):
        return roc_auc_score([1] * len(positives) + [0] * len(negatives), [*positives, *negatives])

    (measured,) = record["foreign"]
    assert (measured["n"], record["n"]) == (5, len(test))
    assert measured["auroc"] == pytest.approx(area(nearest(noise, train), nearest(test, train)))
    expected = area(-strange.max(axis=1), -known.max(axis=1))
    assert measured["auroc_probability"] == pytest.approx(expected, abs=0.05)
    classes = sorted({row.label for row in rows["train"]})
    assert [entry["name"] for entry in record["left_out"]] == classes
    label = classes[0]
    others = train[[row.label != label for row in rows["train"]]]
    of_class = np.array([row.label == label for row in rows["test"]])
    far = nearest(test, others)
    assert record["left_out"][0]["auroc"] == pytest.approx(area(far[of_class], far[~of_class]))
    assert record["limit"] is None, "the recipe allows no false alarms"
    assert find_unknown(run) is not None
    cli("report", run.path)
    page = run.file(directory.REPORT).read_text(encoding="utf-8")
    assert "Photos that show none of the classes" in page


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder, photos: None, "is not a folder"),
        (lambda folder, photos: folder.mkdir(), "no photos in this folder"),
        (
            lambda folder, photos: shutil.copytree(photos, folder),
            "36 photos of the run in it (test, train, val), such as",
        ),
    ],
)
def test_folders_that_are_not_foreign(cli, run: Run, instant_run, tmp_path: Path, make, words):
    make(tmp_path / "other", instant_run[1])
    refused = cli("evaluate", run.path, "--foreign", tmp_path / "other")
    assert refused.exit_code == 1
    assert words in refused.stderr


def test_photos_that_cannot_be_read_are_named(cli, run: Run, foreign: Path):
    (foreign / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused = cli("evaluate", run.path, "--foreign", foreign)
    assert refused.exit_code == 1
    assert "broken.png" in refused.stderr


def test_a_run_without_features_says_so(cli, run: Run):
    run.file(directory.NEIGHBOURS).unlink()
    refused = cli("evaluate", run.path, "--unknown")
    assert refused.exit_code == 1
    assert "has no neighbours.npz, in which its training photos would be" in refused.stderr


def test_heat_maps_stand_beside_the_neighbours(cli, run: Run, tmp_path: Path):
    photo = tmp_path / "red.png"
    paint(photo, (210, 50, 40), 999)
    words = ("--run", run.path, "--why", 2, "--json")
    explained = json.loads(cli("explain", photo, *words, "--out", "why.png").stdout)
    (predicted,) = json.loads(cli("predict", photo, *words).stdout)
    assert explained["photos"][0]["neighbours"] == predicted["neighbours"]
    with Image.open("why.png") as sheet:
        assert sheet.width >= 4 * 300, "the photo, its heat and two neighbours"
    refused = cli("explain", photo, "--base", "VGG16", "--why", 1)
    assert "--why and --base: only a run has training photos" in refused.stderr


def test_a_sheet_shows_the_neighbours(cli, run: Run, tmp_path: Path):
    photo = tmp_path / "red.png"
    paint(photo, (210, 50, 40), 999)
    done = cli("predict", photo, "--run", run.path, "--why", 2, "--why-sheet", "why.png", "--json")
    assert done.exit_code == 0, done.stderr
    assert "written: why.png" in done.stderr
    (answer,) = json.loads(done.stdout)
    assert len(answer["neighbours"]) == 2
    with Image.open("why.png") as sheet:
        assert sheet.width >= 3 * 128
        cells = np.asarray(sheet.convert("RGB"))[-100:, [70, 204, 338]].reshape(-1, 3)
        assert cells.std(axis=0).max() > 0, "photos, not grey squares"
    Path("mine.png").write_bytes(b"a picture of somebody else's")
    refused = cli("predict", photo, "--run", run.path, "--why-sheet", "mine.png")
    assert refused.stderr.endswith(
        "error: --why-sheet mine.png: exists already; name another, or replace it with --force\n"
    )
    words = ["predict", photo, "--run", run.path, "--why-sheet", "mine.png", "--force"]
    assert cli(*words).exit_code == 0
    with Image.open("mine.png") as sheet:
        assert sheet.format == "PNG"
