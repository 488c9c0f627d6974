"""The section of a report about folds: a k-fold evaluation that lies in the run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders.runs import write_finished_run

from tlcli.report.report import write_report
from tlcli.runs import directory
from tlcli.runs.fold_record import (
    FOLDS,
    FOLDS_WITH_TUNING,
    FoldRecord,
    FoldResult,
    FoldSettings,
    write_folds,
)


@pytest.fixture
def run(tmp_path: Path) -> directory.Run:
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos")


def result(seed: int, fold: int, right: tuple[int, int, int]) -> FoldResult:
    return FoldResult(
        seed=seed, fold=fold, fitted=24, val=6, judged=(10, 10, 10), right=right, log_loss=0.2,
        mistakes=(), seconds=1,
    )  # fmt: skip


def record(*results: FoldResult) -> FoldRecord:
    settings = FoldSettings(recipe="a", data="b", val=30, folds=2, stages=("head",))
    return FoldRecord(
        settings=settings, name="pets", base="VGG16", image_size=(64, 64),
        classes=("blue", "green", "<b>red"), photos=60, images=0, precision="float32",
        results=results,
    )  # fmt: skip


def section(run: directory.Run) -> str:
    page = write_report(run, force=True).path.read_text(encoding="utf-8")
    match = re.search(r'<section id="folds".*?</section>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", match[0]).split()) if match else ""


def test_it_shows_the_seeds_whose_folds_are_all_there(run):
    write_folds(run.file(FOLDS), record(result(0, 1, (10, 8, 9)), result(0, 2, (9, 10, 10)),
                                        result(1, 1, (1, 1, 1))))  # fmt: skip
    text = section(run)
    assert "(head) on all folds of the 60 training and validation photos but one" in text
    assert "accuracy 93.3% , with an interval from" in text
    assert "(from 90.0% to 96.7%). Test photos had no part in this." in text
    assert "2 folds, 1 seed" in text
    assert "green 20 90.0% 80.0%" in text
    assert "&lt;b&gt;red 20 95.0% 90.0%" in text


def test_there_is_none_without_a_whole_division(run):
    assert section(run) == ""
    write_folds(run.file(FOLDS_WITH_TUNING), record(result(0, 1, (10, 8, 9))))
    assert section(run) == ""
