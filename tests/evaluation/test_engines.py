"""Answers without TensorFlow: the same as those of Keras, or Keras itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from builders.commands import ROOT

from tlcli.errors import RunError
from tlcli.evaluation import engines, instant
from tlcli.evaluation.calibration import RAW
from tlcli.evaluation.keras_models import open_keras
from tlcli.evaluation.predict import Predictor
from tlcli.images.loader import PixelSettings, View
from tlcli.networks.engine import LiteRTEngine
from tlcli.runs import directory
from tlcli.runs.directory import INSTANT, MODEL, Run
from tlcli.runs.instant_file import RECORD_MEMBER, read_instant_file
from tlcli.runs.model_file import read_card

#: Looks at what a command has imported.
PROBE = """
import atexit, sys
def look():
    heavy = {"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules)
    print("HEAVY", sorted(heavy), file=sys.stderr)
atexit.register(look)
from tlcli.cli import main
main()
"""


@pytest.fixture(scope="module")
def trained(instant_run) -> tuple[Run, Path]:
    """A finished run with its instant file, and the folder of its photos."""
    return instant_run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy of it that may be changed."""
    return Run(Path(shutil.copytree(trained[0].path, tmp_path / "run")))


def jsonl(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcome(cli, photos: Path, run: Run, *words: str):
    """What `predict` prints about the test photos."""
    return cli("predict", str(photos / "test"), "--run", str(run.path), "--verbose", *words)


def test_both_engines_give_the_same_answers(cli, trained):
    run, photos = trained
    words = [str(photos), "--run", str(run.path), "--format", "jsonl", "--top", "3"]
    quick = jsonl(cli("predict", *words, "--engine", "instant"))
    keras = jsonl(cli("predict", *words, "--engine", "keras"))
    assert len(quick) == 36
    assert any(line.get("seen_in_training") for line in quick)
    for answer, expected in zip(quick, keras, strict=True):
        assert answer.keys() == expected.keys()
        assert (answer["path"], answer["label"]) == (expected["path"], expected["label"])
        for mine, other in zip(answer["top"], expected["top"], strict=True):
            assert mine["label"] == other["label"]
            assert mine["probability"] == pytest.approx(other["probability"], abs=1e-5)
            assert mine["log_odds"] == pytest.approx(other["log_odds"], abs=1e-4)


def test_logits_and_views_are_the_same(trained):
    run, _ = trained
    quick, keras = Predictor(run.path), Predictor(run.path, engine="keras")
    assert (quick.engine.name, keras.engine.name) == ("instant", "keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32)
    for count in (5, 1, 3):  # another batch each time
        actual, expected = quick.logits(pixels[:count]), keras.logits(pixels[:count])
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    digests = ["1f" * 32, "2e" * 32, "3d" * 32]
    np.testing.assert_allclose(
        quick.tta_probabilities(pixels[:3], digests, 1),
        keras.tta_probabilities(pixels[:3], digests, 1),
        atol=1e-5,
    )


def probe(run: Run, photos: Path):
    return subprocess.run(
        [sys.executable, "-c", PROBE, "predict", str(photos / "test"), "--run",
         str(run.path), "--verbose"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip


def test_a_run_with_an_instant_file_needs_no_tensorflow(trained):
    done = probe(*trained)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    assert done.stderr.splitlines() == [
        "engine: instant (instant.tflite of the run)",
        "HEAVY []",
    ]


def test_keras_answers_where_the_runtime_is_missing(cli, trained, monkeypatch):
    run, photos = trained
    for name in ("ai_edge_litert", *sys.modules):
        if name.partition(".")[0] == "ai_edge_litert":
            monkeypatch.setitem(sys.modules, name, None)
    done = outcome(cli, photos, run)
    assert done.exit_code == 0, done.stderr
    assert "engine: keras (ai-edge-litert is not installed)" in done.stderr
    asked = outcome(cli, photos, run, "--engine", "instant")
    assert asked.exit_code == 1
    assert asked.stderr.splitlines()[0] == (
        "error: --engine instant: ai-edge-litert is not installed; "
        "install it: pip install ai-edge-litert"
    )


def flip_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def replace_by_words(path: Path) -> None:
    path.write_text("not a network")


def spoil_the_record(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(RECORD_MEMBER).header_offset
    path.write_bytes(path.read_bytes()[:start])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(RECORD_MEMBER, '{"tlcli": 1}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (flip_a_weight, "is damaged: its contents are not those that were written"),
        (cut, "cannot be read: File is not a zip file"),
        (replace_by_words, "cannot be read: File is not a zip file"),
        (spoil_the_record, "cannot be read: its record is not valid"),
    ],
)
def test_a_damaged_file_is_passed_over_with_a_warning(cli, trained, run, spoil, words):
    spoil(run.file(INSTANT))
    done = outcome(cli, trained[1], run)
    assert done.exit_code == 0
    what_to_do = "Keras answers; `tlcli predict --engine instant` makes it anew"
    assert f"warning: {run.file(INSTANT)}: {words}; {what_to_do}" in done.stderr
    assert "engine: keras" in done.stderr


def test_the_file_of_another_model_is_passed_over(cli, trained, run):
    with zipfile.ZipFile(run.file(MODEL), "a") as archive:
        archive.writestr("remark.txt", "another archive")
    done = outcome(cli, trained[1], run)
    assert f"{run.file(INSTANT)}: was made from another model.keras" in done.stderr
    assert "engine: keras" in done.stderr


@pytest.mark.slow
def test_a_missing_file_is_made_when_it_is_asked_for(cli, trained, run):
    expected = outcome(cli, trained[1], run, "--format", "jsonl").stdout
    run.file(INSTANT).unlink()
    without = outcome(cli, trained[1], run)
    why = "the run has no instant.tflite; `tlcli predict --engine instant` makes it"
    assert f"engine: keras ({why})" in without.stderr
    made = outcome(cli, trained[1], run, "--engine", "instant", "--format", "jsonl")
    assert f"making {run.file(INSTANT)}" in made.stderr
    assert made.stdout == expected
    again = outcome(cli, trained[1], run, "--format", "jsonl")
    assert "engine: instant (instant.tflite of the run)" in again.stderr
    assert again.stdout == expected


def test_a_model_alone_is_answered_by_keras(cli, trained, tmp_path):
    run, photos = trained
    alone = Path(shutil.copy(run.file(MODEL), tmp_path / "alone.keras"))
    done = cli("predict", str(photos / "test"), "--run", str(alone), "--verbose")
    assert "engine: keras (the model lies in no run)" in done.stderr
    asked = cli("predict", str(photos / "test"), "--run", str(alone), "--engine", "instant")
    assert asked.exit_code == 1
    assert "--engine instant: only the model of a run has an instant file" in asked.stderr


@pytest.mark.slow
def test_for_many_photos_the_faster_engine_is_measured_once(cli, trained, monkeypatch):
    run, photos = trained
    monkeypatch.setattr(engines, "MANY_PHOTOS", 5)
    first = outcome(cli, photos, run)
    assert "photos/s with it" in first.stderr
    cache = Path(os.environ["TLCLI_CACHE"]) / engines.SPEEDS
    ((key, speeds),) = json.loads(cache.read_text()).items()
    for faster, slower in (("instant", "keras"), ("keras", "instant")):
        cache.write_text(json.dumps({key: {faster: 0.01, slower: 1e3}}))
        done = outcome(cli, photos, run)
        assert f"engine: {faster} (" in done.stderr
    cache.write_text("{")
    assert outcome(cli, photos, run).exit_code == 0
    assert json.loads(cache.read_text()).keys() == {key}
    assert speeds.keys() == {"instant", "keras"}


def test_the_precision_is_float32_unless_many_photos_or_the_user_ask(cli, trained, monkeypatch):
    run, photos = trained
    words = [str(photos), "--run", str(run.path), "--format", "jsonl", "--verbose"]
    monkeypatch.setenv("TLCLI_PRECISION", "mixed_bfloat16")
    plain = cli("predict", *words, "--engine", "keras")
    assert "engine: keras (--engine keras)" in plain.stderr
    asked = cli("predict", *words, "--precision", "mixed_bfloat16")
    assert "engine: keras (--precision mixed_bfloat16)" in asked.stderr
    answers = [[line["log_odds"] for line in jsonl(done)] for done in (plain, asked)]
    assert answers[0] != answers[1]
    assert answers[0] == pytest.approx(answers[1], abs=0.2)
    monkeypatch.setattr(engines, "MANY_PHOTOS", 20)
    many = cli("predict", *words, "--engine", "keras")
    assert "engine: keras (--engine keras, in mixed_bfloat16)" in many.stderr
    assert many.stdout == asked.stdout
    monkeypatch.setenv("TLCLI_PRECISION", "mixed_float16")  # for training alone
    assert cli("predict", *words, "--engine", "keras").stdout == plain.stdout
    monkeypatch.setenv("TLCLI_PRECISION", "mixed_bfloat16")
    named = cli("predict", *words, "--engine", "keras", "--precision", "float32")
    assert named.stdout == plain.stdout
    refused = cli("predict", *words, "--engine", "instant", "--precision", "mixed_bfloat16")
    assert refused.exit_code == 1
    assert (
        "--precision mixed_bfloat16: instant.tflite is in float32; leave one of them out"
        in refused.stderr
    )


def test_a_list_on_stdin_is_not_waited_for(cli, trained):
    run, photos = trained
    names = "\n".join(map(str, sorted((photos / "test").rglob("*.png"))))
    done = cli("predict", "-", "--run", str(run.path), "--verbose", input=names)
    assert done.exit_code == 0
    assert "engine: instant (instant.tflite of the run)" in done.stderr


class Shifted:
    """An engine whose last class gets a larger logit."""

    name = "instant"

    def __init__(self, engine, shift: float) -> None:
        self.engine, self.shift = engine, shift

    def compute(self, pixels):
        return self.engine.compute(pixels) + self.shift * np.array([0, 0, 1])


@pytest.mark.parametrize(("shift", "passes"), [(1e-5, True), (1e-2, False), (1e6, False)])
def test_the_proof_is_failed_by_other_answers(trained, shift, passes):
    run, photos = trained
    path = run.file(MODEL)
    card = read_card(path)
    keras = open_keras(path, card)
    views = [View(str(photo)) for photo in sorted((photos / "test").rglob("*.png"))]
    settings = PixelSettings.from_card(card)
    parity = instant.compare_engines(keras, Shifted(keras, shift), views, settings, RAW)
    assert parity is not None and parity.photos == 9
    if passes:
        instant.check_parity(path, parity)
    else:
        with pytest.raises(RunError, match="its converted form answers otherwise"):
            instant.check_parity(path, parity)


def test_a_file_is_not_made_without_photos_to_prove_it_on(trained, run):
    run.file(INSTANT).unlink()
    # The photos themselves stay where they are: other processes of the tests read them.
    for name in (directory.SPLIT, directory.RECIPE):
        path = run.file(name)
        path.write_text(path.read_text().replace(str(trained[1]), str(trained[1]) + "-away"))
    with pytest.raises(RunError, match="no photo of the run can be read"):
        instant.make_instant_file(run)
    assert not run.file(INSTANT).exists()


def test_a_network_for_other_pixels_is_refused(trained):
    run, _ = trained
    flatbuffer = read_instant_file(run.file(INSTANT), run.file(MODEL))
    with pytest.raises(ValueError, match="it takes photos of 32x32x3, not 64x64x3"):
        LiteRTEngine(flatbuffer, (64, 64))
    with pytest.raises(ValueError):
        LiteRTEngine(flatbuffer[:5000], (32, 32))
