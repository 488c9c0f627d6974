"""What is like no training photo, and which training photos a photo is like, beside plain Keras."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint_classes
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from tlcli.errors import RunError
from tlcli.evaluation.predict import Predictor
from tlcli.images.decode import load_image
from tlcli.networks.framework import keras
from tlcli.runs import neighbour_file
from tlcli.runs.directory import INSTANT, MODEL, NEIGHBOURS, Run
from tlcli.runs.inputs import read_split
from tlcli.runs.neighbour_file import fit_neighbours, read_neighbours, write_neighbours


@pytest.fixture(scope="module")
def trained(instant_run, tmp_path_factory) -> tuple[Run, Path]:
    """A run with a limit of what is known, and a folder with known and foreign photos."""
    folder = tmp_path_factory.mktemp("neighbours")
    run = Run(Path(shutil.copytree(instant_run[0].path, folder / "run")))
    paint_classes(folder / "known", 10, 500)
    (folder / "foreign").mkdir()
    for number in range(4):  # unlike patches of one colour
        stripes = np.zeros((48, 48, 3), np.uint8)
        stripes[:: number + 3] = 255
        Image.fromarray(stripes).save(folder / "foreign" / f"{number}.png")
    before = read_neighbours(run.file(NEIGHBOURS), run.file(MODEL), 3)
    train = plain_features(run, split_paths(run, "train"))
    known = plain_features(run, sorted((folder / "known").rglob("*.png")))
    photos = list(zip(before.paths, before.digests, strict=True))
    content = fit_neighbours(run.file(MODEL), train, before.labels, photos, known, 0.05)
    write_neighbours(run.file(NEIGHBOURS), content)
    return run, folder


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy of it that may be changed."""
    return Run(Path(shutil.copytree(trained[0].path, tmp_path / "run")))


def normalize(rows: np.ndarray) -> np.ndarray:
    """Square roots in rows of length 1; scikit-learn leaves short ones as they are."""
    assert (rows >= 0).all()
    rows = np.sqrt(rows)
    return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


@cache
def base_of(path: Path) -> keras.Model:
    model = keras.saving.load_model(path, compile=False)
    return keras.Model(model.input, model.get_layer("block5_pool").output)


def plain_features(run: Run, paths: list[Path]) -> np.ndarray:
    """What Keras itself gives: the mean of the base's output over both image axes."""
    inner = base_of(run.file(MODEL))
    pixels = np.stack([load_image(path, height=32, width=32, resize="squash") for path in paths])
    return inner(pixels.astype(np.float32), training=False).numpy().mean(axis=(1, 2))


def split_paths(run: Run, split: str) -> list[Path]:
    return [row.path for row in read_split(run) if row.split == split]


def lines(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_run_keeps_the_features_of_its_training_photos(instant_run):
    run, photos = instant_run
    content = read_neighbours(run.file(NEIGHBOURS), run.file(MODEL), 3)
    train = split_paths(run, "train")
    assert content.rows.dtype == np.float16
    np.testing.assert_allclose(content.rows, normalize(plain_features(run, train)), atol=1e-3)
    assert content.paths == tuple(path.relative_to(photos).as_posix() for path in train)
    assert list(content.labels) == [0] * 6 + [1] * 6 + [2] * 6
    record = content.record
    assert (record.val, record.trained_on) == (9, 18)
    # `unknown_rate: 0` of its recipe.
    assert (record.asked_rate, record.limit, record.rate) == (0, None, None)


def test_the_limit_is_a_quantile_of_the_distances_of_validation_photos(trained):
    run, folder = trained
    train = normalize(plain_features(run, split_paths(run, "train")))
    known = normalize(plain_features(run, sorted((folder / "known").rglob("*.png"))))
    distances, _ = NearestNeighbors().fit(train).kneighbors(known, 1)
    record = read_neighbours(run.file(NEIGHBOURS), run.file(MODEL), 3).record
    # Of 30 photos and one more, one is beyond the largest distance.
    assert record.limit == pytest.approx(distances.max(), abs=1e-3)
    assert record.rate == pytest.approx(1 / 31)
    assert (record.val, record.asked_rate) == (30, 0.05)


@pytest.mark.parametrize("engine", ["keras", "instant"])
def test_predictions_tell_what_is_unknown_by_both_engines(trained, cli, engine):
    run, folder = trained
    words = ["--run", run.path, "--engine", engine, "--format", "jsonl"]
    given = lines(cli("predict", folder / "foreign", folder / "known", *words))
    paths = [Path(line["path"]) for line in given]
    train = normalize(plain_features(run, split_paths(run, "train")))
    expected, _ = NearestNeighbors().fit(train).kneighbors(normalize(plain_features(run, paths)), 5)
    np.testing.assert_allclose([line["distance"] for line in given], expected[:, 0], atol=2e-3)
    limit = given[0]["distance_limit"]
    assert [line["unknown"] for line in given] == [line["distance"] > limit for line in given]
    assert all(line["unknown"] for line in given[:4])
    # One of twenty known photos is expected beyond the limit.
    assert sum(line["unknown"] for line in given[4:]) <= 4
    off = lines(cli("predict", folder / "foreign", *words, "--no-unknown"))
    assert [(line["unknown"], line["distance"], line["distance_limit"]) for line in off] == [
        (False, None, None)
    ] * 4
    for line, without in zip(given, off, strict=False):
        same = ("path", "label", "probability", "log_odds", "top", "unsure")
        assert [line[key] for key in same] == [without[key] for key in same]


def test_the_table_says_unknown_and_how_to_turn_it_off(trained, cli):
    run, folder = trained
    done = cli("predict", folder / "foreign", folder / "known" / "red" / "00.png",
               "--run", run.path)  # fmt: skip
    marked = [line.startswith("unknown: ") for line in done.stdout.splitlines()]
    assert marked == [True] * 4 + [False]
    assert done.stderr.splitlines()[-1] == (
        "unknown: 4 of 5 photos are unlike all training photos, and may show none of the classes; "
        "--no-unknown turns this off"
    )
    assert done.exit_code == 0


def test_why_names_the_nearest_training_photos(trained, instant_run, cli):
    run, photo = trained[0], instant_run[1] / "train" / "green" / "03.png"
    done = cli("predict", photo, "--run", run.path, "--why", 7, "--format", "json")
    (given,) = json.loads(done.stdout)
    near = given["neighbours"]
    assert len(near) == 7
    assert (near[0]["path"], near[0]["label"]) == ("train/green/03.png", "green")
    assert near[0]["distance"] == pytest.approx(0, abs=2e-3)
    distances = [neighbour["distance"] for neighbour in near]
    assert distances == sorted(distances)
    assert given["distance"] == distances[0]
    # Without the marks, too.
    words = ["--run", run.path, "--why", 2, "--no-unknown"]
    table = cli("predict", photo, *words).stdout.splitlines()
    assert len(table) == 3
    assert table[1].split()[1:] == ["green", "train/green/03.png"]


def test_views_leave_the_likeness_alone(trained, cli):
    run, folder = trained
    words = ["--run", run.path, "--format", "jsonl"]
    plain = lines(cli("predict", folder / "foreign", *words))
    averaged = lines(cli("predict", folder / "foreign", *words, "--tta", 2))
    for with_views, without in zip(averaged, plain, strict=True):
        assert with_views["distance"] == pytest.approx(without["distance"], abs=1e-6)
        assert with_views["unknown"] == without["unknown"]


def test_a_file_of_another_model_or_damaged_tells_nothing(run, trained, cli):
    other = read_neighbours(run.file(NEIGHBOURS), run.file(MODEL), 3)
    record = other.record.model_copy(update={"model": "0" * 64})
    path = run.file(NEIGHBOURS)
    foreign = [trained[1] / "foreign", "--run", run.path, "--format", "jsonl"]
    for damage, message in (
        (lambda: write_neighbours(path, neighbour_file.NeighbourFile(
            record, other.rows, other.labels, other.paths, other.digests)),
         "was made from another model.keras"),
        (lambda: path.write_bytes(path.read_bytes()[:-40]), "cannot be read: "),
    ):  # fmt: skip
        damage()
        done = cli("predict", *foreign)
        assert [line["unknown"] for line in lines(done)] == [False] * 4
        assert f"warning: {path}: {message}" in done.stderr
        assert "without it, no photo is called unknown" in done.stderr
        refused = cli("predict", *foreign, "--why", 1)
        assert refused.exit_code == 1
        assert f"{path}: {message}" in refused.stderr
        assert "restore it, or leave --why out" in refused.stderr


def test_a_run_without_the_file_says_nothing_but_cannot_say_why(run, trained, cli):
    run.file(NEIGHBOURS).unlink()
    foreign = [trained[1] / "foreign", "--run", run.path]
    done = cli("predict", *foreign)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "unknown" not in done.stdout
    refused = cli("predict", *foreign, "--why", 3)
    assert refused.exit_code == 1
    assert f"{run.path}: has no neighbours.npz" in refused.stderr
    with pytest.raises(RunError, match=r"has no neighbours\.npz"):
        Predictor(run.file(INSTANT).with_name(MODEL), why=1)


def test_small_classes_and_large_sets(tmp_path, monkeypatch, trained):
    model = trained[0].file(MODEL)
    generator = np.random.default_rng(0)
    rows = generator.gamma(1, size=(60, 16)).astype(np.float32)
    labels = np.repeat([0, 1], [57, 3])
    photos = [(f"{number}.png", f"{number:064x}") for number in range(60)]
    content = fit_neighbours(model, rows, labels, photos, rows[:0], 0.05)
    assert (content.record.val, content.record.limit, content.record.rate) == (0, None, None)
    assert fit_neighbours(model, rows, labels, photos, rows, 0).record.limit is None
    monkeypatch.setattr(neighbour_file, "MAX_BYTES", 5000)
    path = tmp_path / "n.npz"
    write_neighbours(path, fit_neighbours(model, rows, labels, photos, rows, 0.05))
    assert path.stat().st_size <= 5000
    kept = read_neighbours(path, model, 2)
    assert kept.record.trained_on == 60
    assert list(np.bincount(kept.labels)) == [len(kept.paths) - 3, 3]
    for name, digest, row in zip(kept.paths, kept.digests, kept.rows, strict=True):
        number = int(digest, 16)
        assert name == f"{number}.png"
        np.testing.assert_allclose(row, normalize(rows[number][None])[0], atol=1e-3)


def test_a_file_from_before_square_roots_is_compared_by_features_as_they_are(tmp_path, trained):
    model = trained[0].file(MODEL)
    rows = np.random.default_rng(0).gamma(1, size=(20, 16)).astype(np.float32)
    photos = [(f"{number}.png", f"{number:064x}") for number in range(20)]
    content = fit_neighbours(model, rows[:15], np.zeros(15, int), photos[:15], rows[:0], 0.05)
    plain = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    path = tmp_path / "n.npz"
    write_neighbours(path, replace(content, rows=plain[:15]))
    with np.load(path) as arrays:
        earlier = dict(arrays)
    record = json.loads(earlier["record"].tobytes())
    assert record.pop("rooted") is True
    earlier["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez(path, **earlier)
    nearest = read_neighbours(path, model, 3).searchable().search(rows[15:], 1)
    truth, _ = NearestNeighbors().fit(plain[:15].astype(float)).kneighbors(plain[15:], 1)
    np.testing.assert_allclose(nearest.distances, truth, atol=2e-3)
