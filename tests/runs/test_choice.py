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
    write_probe,
)


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
    assert (choice.folder.resolve(), choice.advice) == (folder.resolve(), None)
    page = write_report(run).path.read_text("utf-8")
    assert "How it was chosen" in page
    assert "87.5%" in page
    assert "Photos for validation and test had no say in this." in page


@pytest.mark.parametrize("change", [{"data": "0"}, {"image_size": (1, 1)}, {"base": "Xception"}])
def test_one_of_others_does_not(run, change):
    keep(run, **change)
    assert find_choice(run, read_recipe(run), read_split(run)) is None
    assert "How it was chosen" not in write_report(run).path.read_text("utf-8")
