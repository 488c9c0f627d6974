"""Exports: read back by their own runtimes they answer as their run, or nothing is left of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from builders.commands import finetune_in
from PIL import Image

from tlcli.errors import DataError, Problem, RunError
from tlcli.evaluation.predict import Predictor
from tlcli.export import export as exports
from tlcli.export import parity
from tlcli.export.documents import labels_text
from tlcli.export.photos import training_pixels
from tlcli.export.records import ExportParity
from tlcli.images.loader import PixelSettings
from tlcli.networks.framework import keras, tf
from tlcli.runs.directory import MODEL, Run

#: Class names that break lines, tables, pages and shells where they are not escaped.
NAMES = ('<b>"cat" & dog</b>', "línea\nnueva", "{{ 7 * 7 }} C:\\x")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Run, Path]:
    """A finished run over photos of all shapes, with class names that do harm, and its photos."""
    folder = tmp_path_factory.mktemp("export")
    photos = folder / "photos"
    random = np.random.default_rng(0)
    lines = ["path,label,split"]
    photos.mkdir()
    for number in range(27):
        label = number % 3
        side = (60 + 7 * (number % 5), 40 + 5 * (number % 7), 3)
        pixels = random.integers(0, 120, side) + np.eye(3, dtype=int)[label] * 120
        image = Image.fromarray(pixels.astype(np.uint8))
        suffix = ("jpg", "png")[number % 2]
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save(photos / f"{number:02d}.{suffix}", exif=exif if suffix == "jpg" else None)
        split = ("train", "val", "test")[number // 9]
        name = NAMES[label].replace('"', '""')
        lines.append(f'{number:02d}.{suffix},"{name}",{split}')
    (photos / "labels.csv").write_text("\n".join(lines) + "\n")
    finetune_in(
        folder,
        f"data: {{csv: {photos / 'labels.csv'}}}\n"
        "base: {name: VGG16, weights: random, image_size: [32, 40], resize: crop}\n"
        "stages: [{name: head, epochs: 3, learning_rate: 0.01}]\n",
        "--no-instant",
    )
    return Run(folder / "run"), photos


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folder of an export, made once for each format and form of weights."""
    made: dict[tuple[str, str | None], Path] = {}
    folder = tmp_path_factory.mktemp("exports")

    def make(form: str, quantize: str | None = None) -> Path:
        key = (form, quantize)
        if key not in made:
            out = folder / f"{form}-{quantize}"
            exports.export(trained[0], exports.ModelExportRequest(form, quantize, out))
            made[key] = out
        return made[key]

    return make


def litert(folder: Path):
    call = Interpreter(model_path=str(folder / "model.tflite")).get_signature_runner()
    return lambda x: np.concatenate([call(pixels=row[None])["probabilities"] for row in x])


def onnx_runtime(folder: Path):
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=providers)
    return lambda x: session.run(["probabilities"], {"pixels": x})[0]


def saved_model(folder: Path):
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    serve = loaded.signatures["serving_default"]
    return lambda x, _=loaded: serve(pixels=tf.constant(x))["probabilities"].numpy()


def keras_model(folder: Path):
    return keras.saving.load_model(folder / "model.keras").predict_on_batch


READERS = {
    "litert": litert, "onnx": onnx_runtime, "savedmodel": saved_model, "keras": keras_model,
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "quantize", "tolerance"),
    [
        ("litert", None, 1e-5),
        pytest.param("litert", "float16", 1e-2, marks=pytest.mark.slow),
        ("onnx", None, 1e-5),
        pytest.param("onnx", "float16", 1e-2, marks=pytest.mark.slow),
        ("savedmodel", None, 1e-5),
        pytest.param("savedmodel", "float16", 1e-2, marks=pytest.mark.slow),
        ("keras", None, 1e-5),
    ],
)
def test_an_export_answers_as_its_run_does(trained, exported, form, quantize, tolerance):
    folder = exported(form, quantize)
    pixels = np.random.default_rng(1).uniform(0, 255, (5, 32, 40, 3)).astype(np.float32)
    expected = Predictor(trained[0].path).probabilities(pixels)
    given = READERS[form](folder)(pixels)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=tolerance)
    card = json.loads((folder / "model.json").read_text())
    assert card["unknown"]["rows"] == 9
    assert card["parity"]["distance"] < (1e-4 if quantize is None else 1e-2)
    assert np.load(folder / "neighbours.npz").files == ["rows"], "no names of training photos"
    assert card["parity"]["photos"] == 18
    assert card["parity"]["labels_changed"] == 0
    assert card["parity"]["largest"] <= tolerance
    assert tuple(card["classes"]) == tuple(sorted(NAMES))
    if quantize == "float16":
        plain = json.loads((exported(form) / "model.json").read_text())
        assert card["bytes"] < 0.7 * plain["bytes"]


def test_labels_and_card_are_inside_of_the_files(exported):
    labels = labels_text(tuple(sorted(NAMES)))
    assert labels.splitlines() == [
        '<b>"cat" & dog</b>', "l\u00ednea\\nnueva", "{{ 7 * 7 }} C:\\\\x",
    ]  # fmt: skip
    with zipfile.ZipFile(exported("litert") / "model.tflite") as archive:
        assert archive.read("labels.txt").decode() == labels
        inside = json.loads(archive.read("model.json"))
    props = {p.key: p.value for p in onnx.load(exported("onnx") / "model.onnx").metadata_props}
    assert props["labels"] == labels
    assert (exported("savedmodel") / "saved_model/assets/labels.txt").read_text() == labels
    for card in (inside, json.loads(props["tlcli"])):
        assert tuple(card["classes"]) == tuple(sorted(NAMES))
        assert card["input"]["resize"] == "crop"
        assert card["temperature"] is not None


@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_the_program_needs_the_runtime_alone_and_prints_what_predict_prints(
    cli, trained, exported, form, tmp_path
):
    run, photos = trained
    listed = sorted(map(str, photos.glob("[0-9]*")))
    foreign = tmp_path / "stripes.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::4] = 255
    Image.fromarray(stripes).save(foreign)
    words = ("predict", "--run", run.path, "--format", "jsonl", "--engine", "keras")
    expected = cli(*words, *listed, foreign)
    blocked = "import sys; sys.modules.update(tensorflow=None, keras=None, tlcli=None); "
    script = exported(form) / "predict.py"
    assert len(script.read_text().splitlines()) <= 95
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}sys.argv = sys.argv[1:]; import runpy; "
         "runpy.run_path(sys.argv[0], run_name='__main__')", script, *listed, str(foreign)],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    predicted = [json.loads(line) for line in expected.stdout.splitlines()]
    assert len(printed) == 28
    assert printed[-1]["unknown"], "photos of noise are known"
    for mine, other in zip(printed, predicted, strict=True):
        other.pop("seen_in_training", None)
        assert mine.keys() == other.keys()
        assert (mine["path"], mine["label"]) == (other["path"], other["label"])
        assert mine["probability"] == pytest.approx(other["probability"], abs=1e-4)
        assert mine["log_odds"] == pytest.approx(other["log_odds"], abs=1e-3)
        assert mine["distance"] == pytest.approx(other["distance"], abs=1e-4)
        assert mine["distance_limit"] == other["distance_limit"]
        assert mine["unknown"] == (mine["distance"] > mine["distance_limit"])


def test_encoded_photos_are_answered_nearly_the_same(trained, exported):
    run, photos = trained
    folder = exported("savedmodel")
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    upright = sorted(photos.glob("*.png"))
    contents = tf.constant([path.read_bytes() for path in upright])
    given = loaded.signatures["serve_bytes"](image_bytes=contents)["probabilities"].numpy()
    predictions = Predictor(run.path).predict(upright)
    classes = tuple(sorted(NAMES))
    assert [classes[i] for i in given.argmax(axis=1)] == [p.label for p in predictions]
    measured = json.loads((folder / "model.json").read_text())["serve_bytes"]
    assert measured["photos"] == 18
    assert 0 < measured["levels"] < 40


def test_raw_leaves_the_temperature_out(cli, trained, tmp_path):
    run, _ = trained
    done = cli(
        "export", run.path, "--format", "keras", "--raw", "--out", tmp_path / "raw", "--json"
    )
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["parity"]["largest"] <= 1e-5
    assert result["file"] == str(tmp_path / "raw/model.keras")
    card = json.loads((tmp_path / "raw/model.json").read_text())
    assert card["temperature"] is None
    pixels = np.full((1, 32, 40, 3), 100, np.float32)
    expected = Predictor(run.path, raw=True).probabilities(pixels)
    np.testing.assert_allclose(keras_model(tmp_path / "raw")(pixels), expected, atol=1e-5)


def changed(**values) -> ExportParity:
    same = {
        "photos": 200, "largest": 1e-6, "mean": 1e-7, "labels_changed": 0,
        "accuracy": 0.9, "low": 0.85, "high": 0.95, "accuracy_before": 0.9,
        "calibration_error": 0.02, "calibration_error_before": 0.02,
        "ms_per_photo": {"1": 1.0, "32": 1.0},
    }  # fmt: skip
    return ExportParity(**{**same, **values})


@pytest.mark.parametrize(
    ("quantize", "values", "words"),
    [
        (None, {"largest": 9e-5}, ""),
        (None, {"largest": 2e-4}, "a probability differs by 0.0002, at most 0.0001 is allowed"),
        ("float16", {"largest": 9e-3}, ""),
        ("float16", {"largest": 2e-2}, "a probability differs by 0.02, at most 0.01 is allowed"),
        ("int8", {"largest": 0.5, "labels_changed": 2}, ""),
        ("int8", {"labels_changed": 3}, "98.5% of the labels are kept (3 of 200 change)"),
        ("dynamic", {"accuracy": 0.894}, "the accuracy falls from 0.9000 to 0.8940"),
    ],
)
def test_the_limits(quantize, values, words):
    excess = parity.find_excess(changed(**values), quantize)
    assert words in excess
    assert bool(words) == bool(excess)


def test_nothing_is_left_of_an_export_that_answers_otherwise(cli, trained, tmp_path, monkeypatch):
    run, _ = trained
    monkeypatch.setitem(parity.LARGEST, None, 0.0)
    monkeypatch.chdir(tmp_path)
    words = ["export", run.path, "--format", "keras", "--out", "out"]
    done = cli(*words)
    assert done.exit_code == 1
    assert "error: --format keras: a probability differs by" in done.stderr
    assert "--allow-difference keeps it" in done.stderr
    assert list(tmp_path.iterdir()) == []
    kept = cli(*words, "--allow-difference")
    assert kept.exit_code == 0
    assert "kept in spite of this" in kept.stderr
    assert "BEYOND THE LIMITS" in kept.stdout
    assert "BEYOND THE LIMITS" in (tmp_path / "out/README.md").read_text()
    assert json.loads((tmp_path / "out/model.json").read_text())["parity"]["accepted"] is False


def test_an_export_is_checked_again(cli, trained, exported, tmp_path):
    run, _ = trained
    folder = Path(shutil.copytree(exported("litert"), tmp_path / "copy"))
    done = cli("export", "--check", folder, "--run", run.path, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["labels_changed"] == 0
    with (folder / "model.tflite").open("ab") as file:
        file.write(b"more")
    spoilt = cli("export", "--check", folder / "model.tflite", "--run", run.path)
    assert spoilt.exit_code == 1
    assert "model.tflite: has changed since it was exported; export it again" in spoilt.stderr
    other = Path(shutil.copytree(run.path, tmp_path / "other"))
    with zipfile.ZipFile(other / MODEL, "a") as archive:
        archive.writestr("more.txt", "another model")
    wrong = cli("export", "--check", exported("litert"), "--run", other)
    assert "was exported from another model than that of" in wrong.stderr
    none = cli("export", "--check", tmp_path)
    assert "has no valid model.json; name a folder that `tlcli export` has written" in none.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "keras", "--quantize", "int8"], "Keras files keep their weights in float32"),
        (["--format", "onnx", "--quantize", "dynamic"], "several times slower"),
        (["--format", "savedmodel", "--quantize", "dynamic"], "computes with float32 weights"),
    ],
)
def test_what_no_conversion_gives_is_refused_before_any_work(cli, trained, words, message):
    done = cli("export", trained[0].path, *words)
    assert done.exit_code == 1
    assert message in done.stderr


def test_folders_that_are_in_the_way_are_kept(cli, trained, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    words = ["export", trained[0].path, "--format", "keras", "--out", out]
    for more in ([], ["--force"]):
        done = cli(*words, *more)
        assert done.exit_code == 1
        assert f"--out {out}: exists already; name another folder" in done.stderr
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_usage_and_runs_that_are_not_there(cli, tmp_path):
    assert "give --format, or --check with an export" in cli("export").stderr
    done = cli("export", "nothing", "--format", "onnx")
    assert done.exit_code == 1
    assert "no such run" in done.stderr


def test_a_missing_runtime_is_named(cli, trained, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tf2onnx" else find(name)
    )
    done = cli("export", trained[0].path, "--format", "onnx")
    assert done.exit_code == 1
    assert (
        "--format onnx: needs tf2onnx, not installed here; run `pip install 'tlcli[onnx]'`"
    ) in done.stderr


def test_int8_takes_training_photos_from_where_they_are_now(trained, tmp_path):
    run, photos = trained
    settings = PixelSettings(32, 40, "crop")
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    pixels = list(training_pixels(run, settings, moved))
    assert len(pixels) == 9
    assert {row.shape for row in pixels} == {(32, 40, 3)}
    (moved / "03.png").unlink()
    with pytest.raises(DataError, match=r"03\.png"):
        list(training_pixels(run, settings, moved))


def test_the_default_folder_is_named_by_run_format_and_quantization(cli, trained, monkeypatch):
    run, _ = trained
    written = []

    @contextmanager
    def note(out: Path):
        written.append(out)
        raise RunError(Problem("stop", "here"))
        yield

    monkeypatch.setattr(exports, "new_folder", note)
    cli("export", run.path, "--format", "litert")
    cli("export", run.path, "--format", "litert", "--quantize", "float16")
    assert list(map(str, written)) == ["run-litert", "run-litert-float16"]
