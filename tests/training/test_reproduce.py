"""A run trained again from its own record."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from builders.homes import Home
from builders.networks import thin_vgg16
from builders.photos import paint_splits

from tlcli.errors import RunError
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory
from tlcli.runs.calibration_record import read_calibration_record, write_calibration_record
from tlcli.training import repetition, reproduce
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8]}
augment: {views: 1, horizontal_flip: true}
batch_size: 8
stages:
  - {name: head, epochs: 2, learning_rate: 0.01}
"""


@pytest.fixture
def quiet_environ(monkeypatch):
    """No variables that set numbers of threads."""
    remove_numbers_of_threads(monkeypatch)


def remove_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OMP_", "TF_NUM_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Home:
    """A home with photos and a finished run."""
    home = Home(tmp_path_factory.mktemp("trained"))
    with (
        thin_vgg16(),
        home.filled() as folder,
        pytest.MonkeyPatch.context() as patched,
    ):
        remove_numbers_of_threads(patched)
        paint_splits(folder / "photos")
        path = folder / "small.yaml"
        path.write_text(RECIPE.replace("PHOTOS", str(folder / "photos")), encoding="utf-8")
        train(make_plan(preflight(load_recipe(path))))
    return home


@pytest.fixture
def run(quiet_environ, trained: Home, monkeypatch) -> directory.Run:
    """The finished run, as it was after training; the tests may change it and its photos."""
    trained.restore(monkeypatch)
    return directory.find_run(None)


def change(run: directory.Run, epoch: int, **values: float) -> None:
    """Give a run other metrics."""
    path = run.file(directory.METRICS)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[epoch - 1] |= values
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_it_is_identical_or_says_where_it_first_differs(run, cli, trained: Home, tmp_path: Path):
    photos = trained.folder / "photos"
    done = cli("reproduce")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"identical: the metrics of 2 epochs, 30 tensors, all bits\nrun: {run.path}-again\n"
    )
    assert directory.find_run(None).path == run.path, "the last run is still the run"

    again = directory.Run(Path(f"{run.path}-again"))
    done = cli("reproduce")
    assert done.exit_code == 0, "what is there already is only compared"
    assert "epoch" not in done.stderr
    assert done.stderr == (
        f"the latest run: {run.name}\n"
        f"{again.path}: is its repetition already, which is compared once more; "
        "--force trains it again\n"
    )
    record = read_calibration_record(run)
    assert record is not None and record.temperature is not None
    write_calibration_record(run, record.model_copy(update={"temperature": 7.5}))
    assert (
        repetition.compare(run, again)
        .text()
        .startswith("different, first at the calibration: temperature was 7.5, is now ")
    )
    run.file(directory.CALIBRATION).unlink()  # as in a run of 0.1.0
    assert repetition.compare(run, again).difference is None
    write_calibration_record(run, record)
    change(run, 2, val_loss=0.25, seconds=9.0)
    compared = repetition.compare(run, again)
    assert compared.difference is not None
    assert (compared.difference.where, compared.difference.what, compared.difference.then) == (
        "stage 'head', epoch 2", "val_loss", 0.25
    )  # fmt: skip
    assert compared.text().startswith(
        "different, first at stage 'head', epoch 2: val_loss was 0.25, is now "
    )
    assert compared.as_dict()["identical"] is False

    photos.rename(tmp_path / "moved")
    lines = cli("reproduce", run.path, "--out", tmp_path / "second").stderr
    assert f"{photos}" in lines
    done = cli("reproduce", run.path, "--data", tmp_path / "moved", "--out", tmp_path / "third")
    assert done.exit_code == 1
    assert "different, first at stage 'head', epoch 2: val_loss was 0.25" in done.stdout

    (tmp_path / "moved/train/blue/00.png").unlink()
    with pytest.raises(RunError) as error:
        reproduce.reproduce(str(run.path), data=tmp_path / "moved", out=tmp_path / "fourth")
    assert str(error.value) == (
        f"{run.path}: 1 photo is gone; a run can only be repeated with what it was made from; "
        "--data says where it is now"
    )


def test_weights_are_compared_bit_by_bit(run, tmp_path: Path):
    from tlcli.networks.framework import keras

    other = directory.Run(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    model = keras.saving.load_model(run.file(directory.MODEL))
    layer = model.get_layer("head_logits")
    kernel, bias = layer.get_weights()
    bias[1] += 1e-6
    layer.set_weights([kernel, bias])
    model.save(other.file(directory.MODEL))
    difference = repetition.compare(run, other).difference
    assert difference is not None
    assert difference.where.startswith("tensor layers/dense")
    assert difference.what == "value [1]"
    assert difference.now == pytest.approx(difference.then + 1e-6, abs=1e-9)


def test_a_run_with_a_stage_that_is_refused_today_is_repeated(
    quiet_environ, cli, write_recipe, photos
):
    """Version 0.1.0 took a boundary with nothing to train above it."""
    stages = "  - {name: top, epochs: 1, freeze_until: block5_conv3, learning_rate: 0.001}\n"
    path = write_recipe(RECIPE.replace("PHOTOS", str(photos)) + stages, "small.yaml")
    done = cli("finetune", "--config", path)
    assert done.exit_code == 1
    assert "no layer with weights is above 'block5_conv3', so the stage would train" in done.stderr
    train(make_plan(preflight(load_recipe(path), repeated=True)))
    assert cli("reproduce").stdout.startswith("identical: the metrics of 3 epochs, 30 tensors")


def test_what_else_has_changed_is_told(run, tmp_path: Path):
    other = directory.Run(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    record = other.read(directory.RECORD)
    record["versions"]["keras"] = "99"
    record["machine"]["variables"] = {"OMP_NUM_THREADS": "1"}
    del record["machine"]["cores"]  # as if another version of tlcli had recorded it
    other.file(directory.RECORD).write_text(json.dumps(record), encoding="utf-8")
    compared = repetition.compare(run, other)
    assert compared.difference is None
    before = run.read(directory.RECORD)["versions"]["keras"]
    assert compared.circumstances == (
        f"keras was {before}, is now 99",
        "variables was {}, is now {'OMP_NUM_THREADS': '1'}",
    )
    assert f"circumstances: keras was {before}, is now 99" in compared.text()


def test_a_run_records_what_its_bits_hang_on(run):
    record = run.read(directory.RECORD)
    assert record["machine"].keys() == {
        "system", "processor", "cores", "usable_cores", "threads", "variables", "onednn", "devices",
    }  # fmt: skip
    assert record["machine"]["devices"][0].startswith("CPU")
    assert record["versions"].keys() == {
        "tlcli",
        "python",
        "tensorflow",
        "keras",
        "numpy",
        "pillow",
    }
    assert record["deterministic"] is True
    assert record["photo_order"]
    assert load_recipe(run.file(directory.RECIPE)).seed == record["seed"]


def test_only_its_repetition_may_be_where_that_goes(run, cli):
    again = directory.Run(Path(f"{run.path}-again"))
    hint = "name another folder with --out, or replace it with --force\n"
    shutil.copytree(run.path, again.path)
    record = run.record()
    for changed in ({"dataset_fingerprint": "x"}, []):
        value = {**record, **changed} if changed else changed
        again.file(directory.RECORD).write_text(json.dumps(value), encoding="utf-8")
        done = cli("reproduce")
        assert done.exit_code == 1
        assert done.stderr.endswith(hint)
    for words in ([], ["--force"]):
        done = cli("reproduce", run.path, "--out", run.path, *words)
        assert done.stderr == (
            f"error: --out {run.path}: is the run itself; name another folder with --out\n"
        )


def test_force_trains_again_in_the_place_of_another_run(run, cli):
    again = directory.Run(Path(f"{run.path}-again"))
    shutil.copytree(run.path, again.path)
    record = {**run.record(), "dataset_fingerprint": "x"}
    again.file(directory.RECORD).write_text(json.dumps(record), encoding="utf-8")
    change(again, 1, val_loss=0.25)
    done = cli("reproduce", "--force")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("identical: the metrics of 2 epochs")
    assert "epoch" in done.stderr
    again.file(directory.METRICS).write_text("", encoding="utf-8")
    assert cli("reproduce").exit_code == 1, "a repetition is there, with fewer epochs"
    done = cli("reproduce", "--force")
    assert done.stdout.startswith("identical: the metrics of 2 epochs")
    assert sorted(path.name for path in run.path.parent.iterdir() if path.is_dir()) == sorted(
        [run.name, again.name, "latest"]
    )


def test_other_weights_are_refused_before_anything_is_trained(run, cli):
    record = run.record()
    checksum = record["weights"]["checksum"]
    record["weights"]["checksum"] = "0" * 64
    run.file(directory.RECORD).write_text(json.dumps(record), encoding="utf-8")
    done = cli("reproduce")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"the weights have the checksum {checksum[:16]}; the run began with {'0' * 16}; "
        "bring back those it began with; --weights-file says where they are"
    )
    assert not Path(f"{run.path}-again").exists()
