"""Evaluations: right numbers of the right photos, written into the run, with warnings where due."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, RunError
from tlcli.evaluation import calibration, evaluate, labelled_photos, metrics
from tlcli.evaluation.evaluate import EvaluationRequest
from tlcli.evaluation.predictions import LabelledProbabilities, RunProbabilities
from tlcli.recipe.settings import Head
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import EvaluatedModel
from tlcli.system import files

CLASSES = ("blue", "green", "red")


def write_run(folder: Path, photos: Path, *, seed: int = 0) -> Run:
    """A run that knows `photos` and keeps probabilities of its val and test photos."""
    run = Run(folder)
    folder.mkdir(parents=True)
    files.write_json(
        run.file(directory.RECORD), {"classes": CLASSES, "base": "VGG16", "created": "now"}
    )
    files.write_json(run.file(directory.SUMMARY), {"stages": []})
    run.file(directory.MODEL).touch()
    recipe = f"data: {{dir: '{photos}'}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
    run.file(directory.RECIPE).write_text(recipe)
    rows = [
        (path, path.parent.name, path.relative_to(photos).parts[0], hash_file(path))
        for path in sorted(photos.rglob("*.png"))
    ]
    files.write_table(run.file(directory.SPLIT), ("path", "label", "split", "sha256"), rows)
    random = np.random.default_rng(seed)
    for split in ("val", "test"):
        names = [path for path, _, where, _ in rows if where == split]
        labels = np.array([CLASSES.index(name.parent.name) for name in names])
        logits = random.normal(0, 2, (len(names), 3)) + 2 * np.eye(3)[labels]
        values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        shown = tuple(str(name.relative_to(photos)) for name in names)
        LabelledProbabilities(shown, labels, values, CLASSES).write(
            run.file(directory.predictions(split))
        )
    return run


@pytest.fixture
def run(tmp_path, photos) -> Run:
    return write_run(directory.runs_root() / "colours-1", photos)


def read_table(run: Run, split: str):
    """The kept probabilities and labels, read by hand."""
    with run.file(directory.predictions(split)).open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = np.array([[float(row[f"p:{name}"]) for name in CLASSES] for row in rows])
    return values, np.array([CLASSES.index(row["label"]) for row in rows]), rows


def test_the_file_holds_the_scores_of_the_stored_probabilities(run: Run, photos: Path):
    result = evaluate.evaluate(run, EvaluationRequest())
    evaluation = result.evaluation
    values, labels, rows = read_table(run, "test")
    fitted = calibration.fit(*read_table(run, "val")[:2])
    assert calibration.read_calibration(run) == fitted
    assert run.read(directory.evaluation("test")) == evaluation.as_dict()
    truth = metrics.measure(values, labels, CLASSES, fitted)
    assert {key: getattr(evaluation, key) for key, _ in truth} == dict(truth)
    assert evaluation.split == "test"
    assert evaluation.model == EvaluatedModel(run="colours-1", base="VGG16", created="now")
    assert evaluation.data == str(photos)
    assert evaluation.seen_in_training == 0
    names = {path.name for path in result.written}
    assert names == {
        "evaluation-test.json", "predictions-test.csv", "reliability-test.png",
        "confusion-test.png",
    }  # fmt: skip
    assert all(path.stat().st_size for path in result.written)
    wrong = [row for row in rows if row["predicted"] != row["label"]]
    mistakes = evaluation.mistakes
    assert sorted(guess.path for guess in mistakes) == sorted(row["path"] for row in wrong)
    assert [guess.probability for guess in mistakes] == sorted(
        (guess.probability for guess in mistakes), reverse=True
    )
    unsure = evaluation.unsure_correct
    assert len(unsure) == len(rows) - len(wrong)
    assert [guess.probability for guess in unsure] == sorted(guess.probability for guess in unsure)
    first = next(row for row in rows if row["path"] == unsure[0].path)
    assert unsure[0].probability == float(first[f"p:{first['label']}"])
    assert unsure[0].calibrated == pytest.approx(
        fitted.apply(values)[[row["path"] for row in rows].index(first["path"])].max()
    )


def test_the_calibration_is_kept_until_a_new_one_is_requested(run: Run):
    own = calibration.Calibration(2.0, {"n": 1})
    calibration.write_calibration(run, own)
    assert evaluate.evaluate(run, EvaluationRequest()).evaluation.calibrated.temperature == 2.0
    evaluate.evaluate(run, EvaluationRequest(target_precision=0.5))
    fitted = calibration.read_calibration(run)
    assert fitted is not None
    assert fitted.threshold is not None
    assert fitted.temperature == calibration.fit(*read_table(run, "val")[:2]).temperature
    evaluate.evaluate(run, EvaluationRequest())
    assert calibration.read_calibration(run) == fitted, "the threshold stays"


def test_a_run_without_val_photos_is_not_calibrated(run: Run, capsys):
    path = run.file(directory.SPLIT)
    path.write_text(path.read_text().replace(",val,", ",train,"))
    result = evaluate.evaluate(run, EvaluationRequest())
    assert result.evaluation.calibrated is None
    assert result.evaluation.reliability.calibrated_bins is None
    assert not run.file(directory.CALIBRATION).exists()
    assert "the probabilities are not calibrated: --split val: " in capsys.readouterr().err
    with pytest.raises(RunError, match="has no photo in this split"):
        evaluate.evaluate(run, EvaluationRequest(target_precision=0.9))


def test_a_calibration_that_cannot_be_made_again_stays(run: Run, photos: Path, capsys, monkeypatch):
    calibration.write_calibration(run, calibration.Calibration(2.0, {"n": 1}))
    test = RunProbabilities(run).split_probabilities("test")
    monkeypatch.setattr(RunProbabilities, "predict", lambda source, photos: test)
    (photos / "val/red/00.png").unlink()
    result = evaluate.evaluate(run, EvaluationRequest(again=True))
    assert result.evaluation.calibrated.temperature == 2.0
    assert "warning: the existing calibration is kept: " in capsys.readouterr().err


def test_a_run_that_cannot_be_written_to_is_evaluated(run: Run, capsys):
    run.file(directory.reliability("test")).mkdir()  # in the way, also for root
    result = evaluate.evaluate(run, EvaluationRequest())
    assert result.evaluation.n == 6
    assert result.written == ()
    assert capsys.readouterr().err == (
        f"warning: {run.path}/reliability-test.png: cannot be written: is a directory; "
        "name a folder for the files with --out\n"
    )


def test_files_go_where_they_are_asked(run: Run, tmp_path: Path):
    out = tmp_path / "out" / "deeper"
    result = evaluate.evaluate(run, EvaluationRequest(out=out))
    assert {path.parent for path in result.written} == {out}
    assert not run.file(directory.evaluation("test")).exists()
    assert run.file(directory.CALIBRATION).exists()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file; runs need a folder"):
        evaluate.evaluate(run, EvaluationRequest(out=tmp_path / "file" / "out"))


def test_photos_of_the_training_set_are_counted(run: Run, photos: Path, capsys, cli):
    lines = run.file(directory.SPLIT).read_text().splitlines()
    tests = [line for line in lines if ",test," in line][:2]
    leaked = [line.replace(",test,", ",train,").replace("/test/", "/train/x") for line in tests]
    run.file(directory.SPLIT).write_text("\n".join([*lines, *leaked]) + "\n")
    done = cli("evaluate", "--run", run.path)
    assert "warning: the model was trained on 2 of 6 photos: the numbers are better " in done.stderr


def test_damaged_records_are_reported(run: Run):
    files.write_json(run.file(directory.RECORD), {"classes": "cats"})
    with pytest.raises(RunError, match=r"run\.json: does not list the classes"):
        RunProbabilities(run)


def test_the_command(run: Run, cli):
    done = cli("evaluate", "--run", run.path, "--target-precision", "0.6")
    assert done.exit_code == 0
    value = run.read(directory.evaluation("test"))
    right = sum(value["confusion"][k][k] for k in range(3))
    low, high = value["accuracy_interval"]
    assert f"{right} right; 95% interval {low:.4f} to {high:.4f} (Wilson)" in done.stdout
    assert "test: 6 photos of 3 classes" in done.stdout
    assert "unsure below " in done.stdout
    assert done.stderr.endswith(f"written: {run.path}/evaluation-test.json\n")
    again = cli("evaluate", "--run", run.path, "--json")
    assert json.loads(again.stdout) == value
    val = cli("evaluate", "--run", run.path, "--split", "val")
    assert "written" in val.stderr
    assert "The temperature was fitted on these photos." in val.stdout
    assert "fitted on these" not in done.stdout
    assert run.file(directory.evaluation("val")).exists()
    for words in (["--csv", "a.csv", "--split", "val"], ["--csv", "a.csv", "--dir", "a"]):
        both = cli("evaluate", *words)
        assert both.exit_code == 2
        assert "--split, --dir and --csv: give only one of them" in both.stderr


PROBE = """
import sys
from tlcli.cli import main
try:
    main()
finally:
    print("TENSORFLOW", "tensorflow" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["evaluate"], ["compare", "RUN"]])
def test_kept_probabilities_need_no_tensorflow(run: Run, words: list[str]):
    given = ["--run", str(run.path)] if words == ["evaluate"] else [str(run.path)]
    words = [str(run.path) if word == "RUN" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words, *given],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "TENSORFLOW False"


@pytest.fixture
def trained(photos, write_recipe) -> Run:
    """A real run directory with an untrained model."""
    from tlcli.networks.bases import BASES
    from tlcli.networks.network import build_network
    from tlcli.recipe.load import load_recipe
    from tlcli.runs import resume
    from tlcli.training import saving
    from tlcli.training.plan import make_plan
    from tlcli.training.preflight import preflight

    text = f"data: {{dir: '{photos}'}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
    plan = make_plan(preflight(load_recipe(write_recipe(text))))
    network = build_network(BASES["VGG16"], (32, 32), Head(), 3, seed=2)
    with resume.claim(resume.RunRequest(), plan.recipe, plan.index) as claimed:
        run = claimed.run
        saving.save_model(network, plan.recipe, plan.index.classes, run)
        files.write_json(run.file(directory.SUMMARY), {"stages": [], "test": None})
    directory.mark_latest(run)
    return run


def test_a_real_model(trained: Run, photos: Path, cli, tmp_path):
    """What is kept is what Keras says of the pixels, whatever way the photos are named."""
    from tlcli.images import decode
    from tlcli.networks.framework import keras

    done = cli("evaluate", "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    paths = sorted((photos / "test").rglob("*.png"))
    pixels = [np.float32(decode.load_image(p, height=32, width=32, resize="squash")) for p in paths]
    model = keras.saving.load_model(trained.file(directory.MODEL), compile=False)
    truth = model(np.stack(pixels), training=False).numpy()
    values, labels, rows = read_table(trained, "test")
    assert [row["path"] for row in rows] == [str(path.relative_to(photos)) for path in paths]
    assert values == pytest.approx(truth, abs=1e-6)
    assert (np.float32(values) == values).all()
    assert value["accuracy"] == np.mean(truth.argmax(axis=1) == labels)

    others = json.loads(cli("evaluate", "--dir", photos / "test", "--json").stdout)
    assert others["split"] == "dir"
    assert others["log_loss"] == pytest.approx(value["log_loss"])
    assert others["confusion"] == value["confusion"]
    assert not trained.file(directory.evaluation("dir")).exists()

    source = RunProbabilities(trained)  # one model for the rest
    listed = tmp_path / "labels.csv"
    files.write_table(listed, ("path", "label"), [(path, path.parent.name) for path in paths])
    predicted = source.predict(labelled_photos.find_table_photos(listed, source.classes))
    assert predicted.probabilities == pytest.approx(values, abs=1e-6)
    assert predicted.labels.tolist() == labels.tolist()

    broken = photos / "test" / "red" / "zz.png"
    broken.write_text("<html>")
    with pytest.raises(DataError) as caught:
        source.predict(labelled_photos.find_folder_photos(photos / "test", source.classes))
    assert str(caught.value).startswith(f"{broken}: cannot be decoded: not an image")
    broken.unlink()

    kept = trained.file(directory.predictions("test"))
    stamp = kept.stat().st_mtime_ns
    moved = photos.rename(tmp_path / "moved")
    assert evaluate.evaluate(trained, EvaluationRequest()).evaluation.accuracy == value["accuracy"]
    with pytest.raises(DataError, match="of 6 missing; say where they are"):
        evaluate.evaluate(trained, EvaluationRequest(again=True))
    assert kept.stat().st_mtime_ns == stamp
    again = source.split_probabilities("test", data=moved, again=True)
    assert again.probabilities == pytest.approx(values, abs=1e-6)
    assert kept.stat().st_mtime_ns != stamp
    assert evaluate.evaluate(trained, EvaluationRequest(data=moved)).evaluation.data == str(moved)
