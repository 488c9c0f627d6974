"""Evaluations: right numbers of the right photos, written into the run, with warnings where due."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, RunError
from tlcli.evaluation import evaluate, labelled_photos, metrics
from tlcli.evaluation.calibration import Calibration, choose_threshold, read_calibration
from tlcli.evaluation.evaluate import EvaluationRequest
from tlcli.evaluation.predictions import LabelledLogits, RunProbabilities
from tlcli.recipe.settings import Head
from tlcli.runs import directory
from tlcli.runs.calibration_record import (
    CalibrationRecord,
    fit_calibration,
    read_calibration_record,
    write_calibration_record,
)
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import EvaluatedModel
from tlcli.system import files

CLASSES = ("blue", "green", "red")
CALIBRATED = CalibrationRecord(temperature=1.6, fitted_on="logits")


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
        shown = tuple(str(name.relative_to(photos)) for name in names)
        if split == "val":
            write_calibration_record(run, CALIBRATED)
        LabelledLogits(shown, labels, logits, CLASSES).write(
            run.file(directory.predictions(split)), read_calibration(run)
        )
    return run


@pytest.fixture
def run(tmp_path, photos) -> Run:
    return write_run(directory.runs_root() / "colours-1", photos)


def read_table(run: Run, split: str):
    """The kept logits and labels, read by hand."""
    with run.file(directory.predictions(split)).open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = np.array([[float(row[f"logit:{name}"]) for name in CLASSES] for row in rows])
    return values, np.array([CLASSES.index(row["label"]) for row in rows]), rows


def test_the_file_holds_the_scores_of_the_stored_logits(run: Run, photos: Path):
    result = evaluate.evaluate(run, EvaluationRequest())
    evaluation = result.evaluation
    logits, labels, rows = read_table(run, "test")
    assert run.read(directory.evaluation("test")) == evaluation.as_dict()
    truth = metrics.measure(logits, labels, CLASSES, Calibration(1.6))
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


def test_nothing_changes_what_a_run_answers_unless_asked(run: Run, cli):
    kept = run.file(directory.CALIBRATION).read_bytes()
    for request in (
        EvaluationRequest(), EvaluationRequest(split="val"), EvaluationRequest(raw=True)
    ):  # fmt: skip
        evaluate.evaluate(run, request)
        assert run.file(directory.CALIBRATION).read_bytes() == kept
    assert cli("evaluate", run.name, "--calibrate").stderr.startswith(
        f"--calibrate: {run.path} is calibrated already, from its training on\n"
    )
    assert run.file(directory.CALIBRATION).read_bytes() == kept


def test_a_threshold_is_chosen_seen_replaced_and_removed(run: Run, cli):
    logits, labels, _ = read_table(run, "val")
    values = Calibration(1.6).apply(logits)
    for target in (0.5, 0.9):
        evaluation = evaluate.evaluate(run, EvaluationRequest(target_precision=target)).evaluation
        record = read_calibration_record(run)
        assert record is not None
        assert record.threshold == choose_threshold(values, labels, target)
        assert record.model_copy(update={"threshold": None}) == CALIBRATED
        assert evaluation.abstaining is not None
    shown = cli("evaluate", run.name)
    below = f"{record.threshold.probability:.4f}"
    assert f"unsure below {below} (chosen on the val photos for a precision of 0.9): " in (
        shown.stdout
    )
    cleared = cli("evaluate", run.name, "--clear-threshold")
    assert cleared.stderr.startswith(
        f"--clear-threshold: answers below {below} are no longer called unsure\n"
    )
    assert "unsure below" not in cleared.stdout
    assert read_calibration_record(run) == CALIBRATED
    assert "--clear-threshold: there is none\n" in (
        cli("evaluate", run.name, "--clear-threshold").stderr
    )
    for other in ("--tta=2", "--raw", "--clear-threshold"):
        both = cli("evaluate", run.name, "--target-precision", "0.9", other)
        assert both.exit_code == 2
        name = other.split("=")[0]
        assert f"--target-precision and {name}: give only one of them" in both.stderr


def test_raw_is_the_networks_own_and_leaves_the_files_of_the_run(run: Run, cli, tmp_path: Path):
    evaluate.evaluate(run, EvaluationRequest(target_precision=0.5))
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    done = cli("evaluate", run.name, "--raw", "--json", "--out", tmp_path / "own")
    logits, labels, _ = read_table(run, "test")
    truth = metrics.measure(logits, labels, CLASSES)
    value = json.loads(done.stdout)
    assert (value["temperature"], value["log_loss"]) == (None, truth.log_loss)
    assert (value["abstaining"], value["uncalibrated"]) == (None, None)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    table = Run(tmp_path / "own").file(directory.predictions("test")).read_text().splitlines()
    assert float(table[1].split(",")[3]) == Calibration().apply(logits)[0, 0]


def test_a_run_without_val_photos_is_not_calibrated(run: Run, capsys):
    path = run.file(directory.SPLIT)
    path.write_text(path.read_text().replace(",val,", ",train,"))
    record = CalibrationRecord(temperature=None, fitted_on="logits")
    write_calibration_record(run, record)
    evaluation = evaluate.evaluate(run, EvaluationRequest()).evaluation
    assert (evaluation.temperature, evaluation.uncalibrated) == (None, None)
    assert evaluation.reliability.uncalibrated_bins is None
    assert f"{run.path}: not calibrated: it had no validation photos\n" in (capsys.readouterr().err)
    with pytest.raises(RunError, match=r"--target-precision 0.9: .* had no validation photos"):
        evaluate.evaluate(run, EvaluationRequest(target_precision=0.9))
    assert read_calibration_record(run) == record


def test_a_run_of_0_1_0_is_calibrated_where_that_is_asked(run: Run, cli):
    """It had no calibration, or one from probabilities that were cut off."""
    logits, labels, _ = read_table(run, "val")
    fitted = fit_calibration(logits, labels)
    run.file(directory.CALIBRATION).unlink()
    plain = cli("evaluate", run.name)
    again = f"`tlcli evaluate --run {run.path} --calibrate`"
    assert f"{run.path}: not calibrated, as tlcli 0.1.0 left it; {again} does it\n" in plain.stderr
    assert not run.file(directory.CALIBRATION).exists()
    refused = cli("evaluate", run.name, "--target-precision", "0.6")
    assert "the run is not calibrated, as tlcli 0.1.0 left it; add --calibrate" in refused.stderr
    done = cli("evaluate", run.name, "--calibrate", "--json")
    assert f"{run.path}: calibrated, temperature {fitted.temperature:.3f}\n" in done.stderr
    assert json.loads(done.stdout)["temperature"] == fitted.temperature
    assert read_calibration_record(run) == fitted.model_copy(update={"precision": "float32"})
    for split in ("val", "test"):  # the tables follow
        logits, _, rows = read_table(run, split)
        values = Calibration(fitted.temperature).apply(logits)
        assert [float(row["p:red"]) for row in rows] == values[:, 2].tolist()

    threshold = {
        "target_precision": 0.6, "probability": 0.9, "val_coverage": 0.5, "val_precision": 0.6
    }  # fmt: skip
    old = {"temperature": 3.0, "val": {"n": 9}, "threshold": threshold}
    files.write_json(run.file(directory.CALIBRATION), old)
    kept = cli("evaluate", run.name, "--json")
    assert json.loads(kept.stdout)["temperature"] == 3.0
    assert "calibrated by tlcli 0.1.0, from probabilities that were cut off; " in kept.stderr
    cli("evaluate", run.name, "--calibrate")
    record = read_calibration_record(run)
    assert record is not None and record.threshold is not None
    assert (record.temperature, record.fitted_on) == (fitted.temperature, "logits")
    assert record.threshold.target_precision == 0.6
    assert record.threshold.probability != 0.9


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
    *messages, following = done.stderr.splitlines()
    assert f"written: {run.path}/evaluation-test.json" in messages
    assert sum(line.startswith("It classifies ") for line in messages) == 1
    assert following.startswith("next: tlcli report --explain --run ")
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
    given = ["--run", str(run.path)]
    if words != ["evaluate"]:
        given = [str(shutil.copytree(run.path, run.path.with_name("copy-1")))]
    words = [str(run.path) if word == "RUN" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words, *given],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "TENSORFLOW False"


@pytest.fixture
def trained(thin_vgg16, photos, write_recipe) -> Run:
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


def test_the_precision_is_named_recorded_and_computed_anew_where_it_is_another(trained: Run, cli):
    def scored(*words: str) -> tuple[np.ndarray, dict]:
        done = cli("evaluate", "--json", *words)
        assert done.exit_code == 0, done.stderr
        return read_table(trained, "test")[0], json.loads(done.stdout)

    plain, first = scored()
    assert first["precision"] == "float32"
    rounded, value = scored("--precision", "mixed_bfloat16")
    assert value["precision"] == "mixed_bfloat16"
    assert (rounded != plain).any()
    # bfloat16 has 8 significant bits.
    assert rounded == pytest.approx(plain, abs=0.02 * np.abs(plain).max())
    kept, value = scored()
    assert value["precision"] == "mixed_bfloat16"
    assert (kept == rounded).all()
    assert "test: 6 photos of 3 classes, computed in mixed_bfloat16\n" in cli("evaluate").stdout
    again, value = scored("--precision", "float32")
    assert value["precision"] == "float32"
    assert (again == plain).all()

    trained.file(directory.CALIBRATION).unlink(missing_ok=True)
    cli("evaluate", "--calibrate", "--precision", "mixed_bfloat16")
    fitted = read_calibration_record(trained)
    assert fitted is not None and fitted.precision == "mixed_bfloat16"
    refused = cli("evaluate", "--folds", "3", "--precision", "float32")
    assert "--folds and --precision: give only one of them" in refused.stderr


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
    logits, labels, rows = read_table(trained, "test")
    values = Calibration().apply(logits)
    assert [row["path"] for row in rows] == [str(path.relative_to(photos)) for path in paths]
    assert values == pytest.approx(truth, abs=1e-6)
    assert (np.float32(logits) == logits).all()
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
    assert Calibration().apply(predicted.logits) == pytest.approx(values, abs=1e-6)
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
    again = source.split_logits("test", data=moved, again=True)
    assert again.logits == pytest.approx(logits, abs=1e-5)
    assert kept.stat().st_mtime_ns != stamp
    assert evaluate.evaluate(trained, EvaluationRequest(data=moved)).evaluation.data == str(moved)
