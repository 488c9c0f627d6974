"""A run and what was measured before it belong together where photos, classes and base agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.runs import write_finished_run

from tlcli.report.report import write_report
from tlcli.runs import directory
from tlcli.runs.choice import find_choice
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.runs.probe_record import (
    PROBES,
    LearningPoint,
    PairedDifference,
    ProbedBoundary,
    ProbeRecord,
    fingerprint_photos,
    read_probe,
    write_probe,
)
from tlcli.runs.rate_record import RATES, RateTestRecord, write_rate_test
from tlcli.system import files


@pytest.fixture
def run(tmp_path: Path) -> directory.Run:
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos")


def keep(run: directory.Run, **changes: object) -> Path:
    recipe = read_recipe(run)
    train = [(row.sha256, row.label) for row in read_split(run) if row.split == "train"]
    none = PairedDifference(value=0, low=0, high=0, p=1)
    row = ProbedBoundary(
        name="block5_pool", accuracy=0.875, low=0.8, high=0.9, knn=0.7, p=1, parameters_above=0,
        row_bytes=1, seconds=0,
    )  # fmt: skip
    point = LearningPoint(share=1, photos=3, accuracy=0.875, low=0.8, high=0.9)
    record = ProbeRecord(
        recipe="pets", base=recipe.base.name, image_size=recipe.base.image_size, weights="w",
        data=fingerprint_photos(train), photos=4, classes=2, folds=2, majority=0.5,
        boundaries=(row,), best="block5_pool", learning_curve=(point,), foreignness=none,
        slope=none, images=4, seconds={},
    )  # fmt: skip
    folder = directory.runs_root() / PROBES / "pets-VGG16"
    folder.mkdir(parents=True)
    write_probe(folder, record.model_copy(update=changes))
    return folder


def test_a_probe_of_the_same_photos_belongs_to_a_run(run):
    recipe, photos = read_recipe(run), read_split(run)
    assert find_choice(run, recipe, photos) is None
    folder = keep(run)
    choice = find_choice(run, recipe, photos)
    assert choice is not None
    assert (choice.probe, choice.advice) == (read_probe(folder), None)
    page = write_report(run).path.read_text("utf-8")
    assert "How it was chosen" in page
    assert "87.5%" in page
    assert "Photos for validation and test had no say in this." in page


@pytest.mark.parametrize("change", [{"data": "0"}, {"image_size": (1, 1)}, {"base": "Xception"}])
def test_one_of_others_does_not(run, change):
    keep(run, **change)
    assert find_choice(run, read_recipe(run), read_split(run)) is None
    assert "How it was chosen" not in write_report(run).path.read_text("utf-8")


def fingerprint(run: directory.Run) -> str:
    train = [(row.sha256, row.label) for row in read_split(run) if row.split == "train"]
    return fingerprint_photos(train)


def keep_rates(run: directory.Run, suggested: float | None, **changes: object) -> None:
    recipe = read_recipe(run)
    for stage in recipe.stages:
        folder = directory.runs_root() / RATES / f"pets-{stage.name}"
        folder.mkdir(parents=True, exist_ok=True)
        record = RateTestRecord(
            stage=stage.name, freeze_until=stage.freeze_until, base=recipe.base.name,
            image_size=recipe.base.image_size, data=fingerprint(run), suggested=suggested,
            in_recipe=0.5, tests=3,
        )  # fmt: skip
        write_rate_test(folder, record.model_copy(update=changes))


@pytest.mark.parametrize(
    ("suggested", "words"), [(0.0042, "0.0042"), (None, '<td class="n">none</td>')]
)
def test_a_range_test_stands_beside_the_rate_of_the_run(run, suggested, words):
    keep_rates(run, suggested)
    choice = find_choice(run, read_recipe(run), read_split(run))
    assert choice is not None
    used = [(row.test.stage, row.used) for row in choice.rates]
    assert used == [(stage.name, stage.learning_rate) for stage in read_recipe(run).stages]
    page = write_report(run).path.read_text("utf-8")
    assert "Learning rates by range tests" in page
    assert words in page
    assert "linear classifier" not in page


@pytest.mark.parametrize("change", [{"stage": "x"}, {"freeze_until": "block1_pool"}, {"data": "0"}])
def test_one_of_another_stage_does_not(run, change):
    keep_rates(run, 0.01, **change)
    assert find_choice(run, read_recipe(run), read_split(run)) is None


def keep_search(run: directory.Run, rate: float) -> None:
    """The outcome of a search that found a rate of the first stage, as `tlcli tune` writes it."""
    recipe, settings = read_recipe(run), {"stages.0.learning_rate": rate}
    seeds = {name: {"values": [0.25], "mean": 0.25} for name in ("val_loss", "val_accuracy")}
    score = {"accuracy": 0.625, "accuracy_interval": [0.5, 0.75], "log_loss": 1.0}
    trial = {"number": 4, "state": "complete", "settings": settings, "val_loss": 0.2,
             "val_accuracy": 0.9}  # fmt: skip
    folder = directory.runs_root() / "pets-study"
    folder.mkdir()
    files.write_json(folder / directory.TUNING, {
        "study": str(folder), "objective": "val_loss", "base": recipe.base.name,
        "image_size": recipe.base.image_size, "data": fingerprint(run), "trials": [trial],
        "best": {**trial, "run": "w", "seeds": seeds, "test": score},
        "default": {"run": "d", "seeds": seeds, "test": {**score, "accuracy": 0.5625}},
        "comparison": {"seeds": [5], "photos": {
            "split": "test", "n": 8, "verdict": "the difference may be chance"}},
    })  # fmt: skip


def test_a_search_belongs_to_a_run_with_the_settings_that_it_found(run):
    recipe, photos = read_recipe(run), read_split(run)
    keep_search(run, recipe.stages[0].learning_rate)
    choice = find_choice(run, recipe, photos)
    assert choice is not None and choice.tuning is not None
    page = write_report(run).path.read_text("utf-8")
    words = ("those of trial 4, the best of 1 trial by", "stages.0.learning_rate: ", "56.2%",
             "62.5%", "one complete run of each on 8 test photos", "may be chance")  # fmt: skip
    assert [part for part in words if part not in page] == []


def test_a_search_that_found_other_settings_does_not(run):
    keep_search(run, 3 * read_recipe(run).stages[0].learning_rate)
    assert find_choice(run, read_recipe(run), read_split(run)) is None
