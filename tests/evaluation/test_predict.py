"""Predictions: right, in order, whatever stands between the photos."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import special

from tlcli.errors import RunError
from tlcli.evaluation import predict
from tlcli.images import augment, decode
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Head
from tlcli.runs import directory, resume
from tlcli.runs.calibration_record import (
    CalibrationRecord,
    ThresholdRecord,
    write_calibration_record,
)
from tlcli.runs.directory import Run
from tlcli.runs.model_file import read_card
from tlcli.system import files
from tlcli.training import saving
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight

#: The keys of a photo in JSON.
PREDICTED = [
    "calibrated", "distance", "distance_limit", "label", "log_odds", "path", "probability",
    "threshold", "top", "unknown", "unsure",
]  # fmt: skip

RECIPE = "data: {dir: 'PHOTOS'}\nbase: {name: LeNet5, image_size: 32}\n"


@pytest.fixture
def model(photos, write_recipe, tmp_path):
    """A run directory with an untrained model."""
    plan = make_plan(preflight(load_recipe(write_recipe(RECIPE.replace("PHOTOS", str(photos))))))
    network = build_network(BASES["LeNet5"], (32, 32), Head(), 3, seed=2)
    with resume.claim(resume.RunRequest(), plan.recipe, plan.index) as claimed:
        run = claimed.run
        saving.save_model(network, plan.recipe, plan.index.classes, run)
        files.write_json(run.file(directory.SUMMARY), {"stages": [], "test": None})
        write_calibration_record(run, CalibrationRecord(temperature=1.0, fitted_on="logits"))
    directory.mark_latest(run)
    return network, run


def card_of(run):
    return read_card(run.file(directory.MODEL))


def expected(network, *paths):
    pixels = [decode.load_image(path, height=32, width=32, resize="squash") for path in paths]
    return network.whole(np.float32(np.stack(pixels)), training=False).numpy()


def test_probabilities_are_the_networks_in_the_order_of_the_paths(model, photos):
    network, run = model
    paths = sorted(photos.rglob("*.png"))[::-1] * 2  # more than a batch, each twice
    predictor = predict.Predictor(run.path)
    predictions = list(predictor.predict(paths, top=3))
    assert [prediction.path for prediction in predictions] == list(map(str, paths))
    for prediction, values in zip(predictions, expected(network, *paths), strict=True):
        assert prediction.label == predictor.classes[int(values.argmax())]
        assert prediction.probability == pytest.approx(values.max(), abs=1e-5)
        assert [label for label, _ in prediction.top] == [
            predictor.classes[i] for i in np.argsort(-values)
        ]


def calibrated(values, temperature):
    """Probabilities of a network as they are with its logits divided."""
    return special.softmax(np.log(values.astype(np.float64)) / temperature, axis=1)


def augmented(run, text):
    """Give the recipe of a run other views."""
    path = run.file(directory.RECIPE)
    before = load_recipe(path).as_yaml()
    start, end = before.index("augment:"), before.index("stages:")
    path.write_text(f"{before[:start]}augment: {text}\n{before[end:]}", encoding="utf-8")


def test_tta_is_the_mean_over_the_photo_and_its_views(model, photos, cli):
    network, run = model
    augmented(run, "{rotation_range: 40, brightness_range: 0.5, seed: 3}")
    settings = load_recipe(run.file(directory.RECIPE)).augment
    write_calibration_record(run, CalibrationRecord(temperature=0.3, fitted_on="logits"))
    paths = sorted(photos.rglob("*.png"))[:5]
    printed = cli("predict", *paths, "--tta", 3, "--top", 3, "--format", "jsonl").stdout
    plain = cli("predict", *paths, "--top", 3, "--format", "jsonl").stdout
    assert printed != plain
    for path, line in zip(paths, printed.splitlines(), strict=True):
        photo = decode.load_image(path, height=32, width=32, resize="squash")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        views = augment.make_views(settings, photo[None].repeat(4, 0), [digest] * 4, [0, 1, 2, 3])
        mean = calibrated(network.whole(views, training=False).numpy(), 0.3).mean(axis=0)
        probabilities = {top["label"]: top["probability"] for top in json.loads(line)["top"]}
        assert [probabilities[name] for name in card_of(run)["classes"]] == pytest.approx(
            mean, abs=1e-5
        )


def test_an_evaluation_with_tta_is_of_those_means_and_is_not_kept(model, photos, cli):
    network, run = model
    augmented(run, "{rotation_range: 40, brightness_range: 0.5, seed: 3}")
    settings = load_recipe(run.file(directory.RECIPE)).augment
    write_calibration_record(run, CalibrationRecord(temperature=0.3, fitted_on="logits"))
    value = json.loads(cli("evaluate", "--tta", 2, "--json").stdout)
    losses = []
    for path in sorted((photos / "test").rglob("*.png")):
        photo = decode.load_image(path, height=32, width=32, resize="squash")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        views = augment.make_views(settings, photo[None].repeat(3, 0), [digest] * 3, [0, 1, 2])
        mean = calibrated(network.whole(views, training=False).numpy(), 0.3).mean(axis=0)
        losses.append(-np.log(mean[card_of(run)["classes"].index(path.parent.name)]))
    assert value["tta"] == 2
    assert value["log_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert not run.file(directory.evaluation("test")).exists()
    # Those without views are kept, as they would be without --tta.
    plain = json.loads(cli("evaluate", "--json").stdout)
    assert value["without_tta"] == {name: plain[name] for name in ("accuracy", "log_loss")}
    assert value["temperature"] == plain["temperature"] == 0.3
    done = cli("evaluate", "--tta", 2)
    assert "test: 6 photos of 3 classes, mean over each photo and 2 views of it" in done.stdout
    assert f"log loss {plain['log_loss']:.4f}, with views {value['log_loss']:.4f}" in done.stdout
    latest, aside, verdict, *_, following = done.stderr.splitlines()
    assert latest == f"the latest run: {run.name}"
    assert aside == "--tta: the threshold is left aside, and nothing is kept in the run"
    assert verdict.startswith("It classifies ")
    assert following == "next: tlcli report --explain"


def test_tta_reports_a_bad_photo_in_its_place(model, photos):
    _, run = model
    augmented(run, "{horizontal_flip: true}")
    good = next(photos.rglob("*.png"))
    bad = good.with_name("bad.png")
    bad.write_bytes(b"<html>")
    predictions = predict.Predictor(run.path).predict([bad, good, good, bad], tta=2)
    assert [prediction.error is None for prediction in predictions] == [False, True, True, False]


@pytest.mark.parametrize("tta", [0, 1])
def test_a_photo_that_changes_meanwhile_is_answered_as_it_was_read(model, photos, monkeypatch, tta):
    """Probabilities, views and `seen_in_training` are of the same bytes."""
    _, run = model
    augmented(run, "{rotation_range: 20, horizontal_flip: true}")
    known = next((photos / "train").rglob("*.png"))
    unknown = photos / "unknown.png"
    Image.new("RGB", (40, 40), (1, 2, 3)).save(unknown)
    place = photos / "changing.png"
    predictor = predict.Predictor(run.path)
    before, new = (next(predictor.predict([path], tta=tta)) for path in (known, unknown))
    assert (before.seen_in_training, new.seen_in_training) == (True, False)

    place.write_bytes(known.read_bytes())
    compute = predict.Predictor.logits

    def compute_late(self, pixels):
        place.write_bytes(unknown.read_bytes())
        return compute(self, pixels)

    monkeypatch.setattr(predict.Predictor, "logits", compute_late)
    answer = next(predictor.predict([place], tta=tta))
    assert answer.seen_in_training
    assert answer.top == before.top


def test_tta_needs_views_and_the_recipe_that_says_what_they_are(model, photos, cli, tmp_path):
    _, run = model
    photo = next(photos.rglob("*.png"))
    done = cli("predict", photo, "--tta", 2)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"the latest run: {run.name}\n"
        f"error: {run.path / 'recipe.yaml'}: no setting of `augment` changes a photo, so there are "
        "no views to average over; leave --tta out\n"
    )
    alone = tmp_path / "alone" / "model.keras"
    alone.parent.mkdir()
    alone.write_bytes(run.file(directory.MODEL).read_bytes())
    done = cli("predict", photo, "--run", alone, "--tta", 2)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {alone.parent}: test-time augmentation needs the recipe.yaml of the run beside "
        "the model; name the run directory with --run, or leave --tta out\n"
    )


def test_a_bad_photo_is_reported_in_its_place(model, photos, cli):
    good = sorted(photos.rglob("*.png"))[:2]
    bad = good[0].with_name("bad.jpg")
    bad.write_text("<html>", encoding="utf-8")
    done = cli("predict", good[0], bad, photos / "none.jpg", good[1], "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [line["path"] for line in lines] == [
        str(good[0]), str(bad), str(photos / "none.jpg"), str(good[1])
    ]  # fmt: skip
    assert [sorted(line) for line in lines] == [
        PREDICTED, ["error", "hint", "path"], ["error", "hint", "path"], PREDICTED
    ]  # fmt: skip
    assert lines[1]["error"].startswith("cannot be decoded: not an image: it starts with")
    # The hint is that of `check`, in every form.
    hint = "it looks like a web page or markup: fetch the photo itself"
    assert lines[1]["hint"] == hint
    assert cli("--quiet", "predict", bad).stderr == f"error: {bad}: {lines[1]['error']}; {hint}\n"


def test_a_source_without_photos_does_not_stop_the_others(model, photos, cli, tmp_path):
    good = next(photos.rglob("*.png"))
    (tmp_path / "empty").mkdir()
    odd = tmp_path / "photo[1].png"
    odd.write_bytes(good.read_bytes())
    raw = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(raw)).write_bytes(good.read_bytes())
    names = b"\n".join([os.fsencode(odd), raw, b"gone[1].png"])
    done = cli(
        "predict", good, "nothing*.png", tmp_path / "empty", "-", "--format", "jsonl", input=names
    )
    assert done.exit_code == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in line for line in records] == [False, True, True, False, False, True]


def test_the_folder_is_what_it_is(model, photos, cli, tmp_path):
    """What is said of a folder fits a folder, and what is passed over is counted on stderr."""
    (tmp_path / "empty").mkdir()
    done = cli("--quiet", "predict", tmp_path / "empty")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: {tmp_path}/empty: no photos in this folder; looked for .apng, .avif"
    )
    folder = photos / "test" / "red"
    quiet = cli("predict", folder, "--format", "json")
    for name in ("notes.txt", "sizes.csv"):
        (folder / name).write_text("x")
    warned = cli("predict", folder, "--format", "json")
    assert warned.stdout == quiet.stdout
    assert (quiet.exit_code, warned.exit_code) == (0, 0)
    passed_over, *others = warned.stderr.splitlines()
    assert passed_over == (
        f"warning: {folder}: 2 files: ignored, without an image extension: notes.txt, sizes.csv; "
        "photos need a file extension such as .jpg"
    )
    assert others == quiet.stderr.splitlines()


def test_an_address_in_the_place_of_a_photo(model, photos, cli):
    address, good = "https://example.org/a/cat.jpg", next(photos.rglob("*.png"))
    what = "is a web address; tlcli reads files: download it and name the file"
    done = cli("--quiet", "predict", address, good)
    assert done.exit_code == 1
    assert done.stderr == f"error: {address}: {what}\n"
    assert str(good) in done.stdout
    listed = cli("predict", "-", "--format", "jsonl", input=f"\ufeff{good}\r\n{address}\r\n")
    lines = [json.loads(line) for line in listed.stdout.splitlines()]
    assert lines[0]["path"] == str(good) and "label" in lines[0]
    assert lines[1]["path"] == address
    for words in (["explain", address], ["visualize", "activations", address]):
        done = cli(*words, "--run", "latest")
        assert (done.exit_code, f"error: {address}: {what}\n" in done.stderr) == (1, True)


def test_every_form_has_the_same_content(model, photos, cli):
    folder = photos / "test"
    lines = cli("predict", folder, "--format", "jsonl", "--top", 2).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert json.loads(cli("predict", folder, "--format", "json", "--top", 2).stdout) == records
    table = list(csv.DictReader(io.StringIO(cli("predict", folder, "--format", "csv").stdout)))
    assert [(row["path"], row["label"]) for row in table] == [
        (record["path"], record["label"]) for record in records
    ]
    printed = cli("predict", folder)
    assert printed.exit_code == 0
    first = printed.stdout.splitlines()[0].split()
    assert first == [records[0]["label"], f"{records[0]['probability']:.4f}", records[0]["path"]]


def test_photos_come_from_folders_patterns_and_stdin(model, photos, cli):
    folder = photos / "test"
    paths = sorted(map(str, folder.rglob("*.png")))
    for arguments, text in (
        ([folder], None),
        ([str(folder / "**" / "*.png")], None),
        (["-"], "\n".join(paths) + "\n"),
    ):
        done = cli("predict", *arguments, "--format", "jsonl", input=text)
        shown = sorted(json.loads(line)["path"] for line in done.stdout.splitlines())
        assert shown == paths


def test_a_run_is_found_by_folder_name_file_or_as_the_latest(model, photos, cli, tmp_path):
    _, run = model
    photo = next(photos.rglob("*.png"))
    elsewhere = tmp_path / "elsewhere.keras"
    elsewhere.write_bytes(run.file(directory.MODEL).read_bytes())
    outputs = {
        cli("predict", photo, *options).stdout
        for options in ((), ("--run", run.path), ("--run", run.name), ("--run", elsewhere))
    }
    assert len(outputs) == 1


def test_models_that_are_not_ours_get_one_line(tmp_path, model):
    _, run = model
    whole = run.file(directory.MODEL).read_bytes()
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="is not a model"):
        predict.Predictor(cut)
    bare = tmp_path / "bare.keras"
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(
        RunError, match=r"has no tlcli.json inside; only models written by tlcli say"
    ):
        predict.Predictor(bare)
    flipped = tmp_path / "flipped.keras"
    with zipfile.ZipFile(run.file(directory.MODEL)) as archive:
        weights = archive.getinfo("model.weights.h5")
        at = weights.header_offset + weights.file_size // 2
    flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(RunError, match="cannot be loaded"):
        predict.Predictor(flipped)
    for card in ("[]", "{}", '{"classes": ["a"], "image_size": [1e9, 2], "resize": "pad"}'):
        other = tmp_path / "other.keras"
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr(directory.MODEL_CARD, card)
        with pytest.raises(RunError, match=r"its tlcli\.json is not valid"):
            predict.Predictor(other)
    other = tmp_path / "other.keras"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(
            directory.MODEL_CARD, json.dumps({**card_of(run), "decoder": 0, "tlcli": "0.0.1"})
        )
    with pytest.raises(RunError, match=r"use tlcli 0\.0\.1, or train again"):
        predict.Predictor(other)


def test_a_model_that_would_run_code_is_refused(model, tmp_path):
    """A Lambda layer in a stranger's model must not come to life."""
    from tlcli.networks.framework import keras

    inputs = keras.Input((32, 32, 3))
    hostile = keras.Model(
        inputs, keras.layers.Lambda(lambda x: x[:, 0, 0, :], output_shape=(3,))(inputs)
    )
    path = tmp_path / "hostile.keras"
    hostile.save(path)
    _, run = model
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(directory.MODEL_CARD, json.dumps(read_card(run.file(directory.MODEL))))
    with pytest.raises(RunError, match="cannot be loaded"):
        predict.Predictor(path)


def test_the_calibration_of_the_run_is_applied(model, photos, cli):
    _, run = model
    paths = sorted((photos / "test").rglob("*.png"))
    plain = predict.Predictor(run.path, raw=True)
    raw = [dict(prediction.top) for prediction in plain.predict(paths, top=3)]
    # T = 1/2 squares the probabilities: p^2 / sum(p^2).
    expected = [
        {label: value**2 / sum(v**2 for v in values.values()) for label, value in values.items()}
        for values in raw
    ]
    surest = sorted(max(values.values()) for values in expected)
    middle = (surest[2] + surest[3]) / 2
    threshold = ThresholdRecord(
        target_precision=0.9, probability=middle, val_coverage=0.5, val_precision=0.9
    )
    record = CalibrationRecord(temperature=0.5, fitted_on="logits", threshold=threshold)
    write_calibration_record(run, record)
    predictions = list(predict.Predictor(run.path).predict(paths, top=3))
    for prediction, values in zip(predictions, expected, strict=True):
        assert dict(prediction.top) == pytest.approx(values, abs=1e-9)
        assert prediction.unsure == (max(values.values()) < middle)
    assert sum(prediction.unsure for prediction in predictions) == 3
    again = list(predict.Predictor(run.path, raw=True).predict(paths, top=3))
    assert [dict(prediction.top) for prediction in again] == raw
    assert not any(prediction.unsure for prediction in again)

    done = cli("predict", *paths, "--format", "jsonl")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["unsure"] for record in records] == [p.unsure for p in predictions]
    assert {(record["threshold"], record["calibrated"]) for record in records} == {(middle, True)}
    run_name = "the latest run: recipe-1\n"
    assert done.stderr == run_name + (
        f"unsure below {middle:.4f}, the threshold of --target-precision 0.9; "
        "`tlcli evaluate --clear-threshold` removes it\n"
    )
    shown = cli("predict", *paths).stdout.splitlines()
    assert [line.startswith("unsure: ") for line in shown] == [p.unsure for p in predictions]
    own = cli("predict", *paths, "--raw", "--format", "jsonl")
    assert own.stderr == run_name
    for line in own.stdout.splitlines():
        value = json.loads(line)
        assert (value["unsure"], value["threshold"], value["calibrated"]) == (False, None, False)


def test_the_columns_of_csv_are_the_same_with_a_threshold_and_without(model, photos, cli):
    _, run = model
    paths = sorted((photos / "test").rglob("*.png"))
    threshold = ThresholdRecord(
        target_precision=0.9, probability=1.0, val_coverage=0.5, val_precision=0.9
    )
    record = CalibrationRecord(temperature=2.0, fitted_on="logits")
    tables = []
    for chosen in (None, threshold):
        write_calibration_record(run, record.model_copy(update={"threshold": chosen}))
        text = cli("predict", *paths, "--format", "csv").stdout
        tables.append(list(csv.DictReader(io.StringIO(text))))
    heads = ["path", "label", "probability", "error", "unsure", "log_odds", "unknown", "distance"]
    assert [list(row) for table in tables for row in table] == [heads] * 12
    assert [{row["unsure"] for row in table} for table in tables] == [{""}, {"yes"}]


def test_a_model_alone_has_the_temperature_of_its_run(model, photos, cli, tmp_path):
    network, run = model
    photo = sorted((photos / "test").rglob("*.png"))[0]
    logits = np.log(expected(network, photo)[0].astype(np.float64))
    elsewhere = Run(tmp_path / "elsewhere")
    elsewhere.path.mkdir()
    recipe = load_recipe(run.file(directory.RECIPE))
    saving.save_model(network, recipe, predict.Predictor(run.path).classes, elsewhere, 1.7)
    copy = elsewhere.file(directory.MODEL)
    done = cli("predict", photo, "--run", copy, "--top", 3, "--format", "jsonl")
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert value["calibrated"] is True
    assert [top["probability"] for top in value["top"]] == pytest.approx(
        sorted(special.softmax(logits / 1.7), reverse=True), abs=1e-5
    )
    none = tmp_path / "none.keras"
    none.write_bytes(run.file(directory.MODEL).read_bytes())
    assert cli("predict", photo, "--run", none).stderr == (
        f"{none}: not calibrated: a temperature is neither in it nor in a run around it\n"
    )


def test_a_damaged_calibration_is_reported(model, photos, cli):
    _, run = model
    run.file(directory.CALIBRATION).write_text("{}")
    photo = next(photos.rglob("*.png"))
    done = cli("predict", photo)
    assert done.exit_code == 1
    assert "calibration.json: temperature: Field required; restore it, or remove it" in done.stderr
    assert cli("predict", photo, "--raw").exit_code == 0


def test_photos_of_the_training_set_are_recognised(model, photos, cli, tmp_path):
    _, run = model
    trained = photos / "train/red/00.png"
    copy = tmp_path / "holiday.png"
    copy.write_bytes(trained.read_bytes())
    new = photos / "test/red/00.png"
    done = cli("predict", copy, new, "--format", "jsonl")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record.get("seen_in_training") for record in records] == [True, None]
    raw = json.loads(cli("predict", copy, "--raw", "--format", "jsonl").stdout)
    assert raw["seen_in_training"] is True
    assert done.stderr.splitlines()[-1] == (
        f"warning: {copy}: 1 of 2 photos was in the training set of the run; "
        "predictions for such photos say nothing about new ones"
    )
    assert "warning" not in cli("predict", new).stderr
    run.file(directory.SPLIT).unlink()  # a run copied without it predicts all the same
    assert "warning" not in cli("predict", copy).stderr
