"""The section of a report about labels: of an audit of the same photos with the same labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders.runs import HOSTILE_CLASSES, write_finished_run

from tlcli.evaluation.labelled_photos import photo_name
from tlcli.report.report import write_report
from tlcli.runs import directory
from tlcli.runs.inputs import read_recipe, read_split
from tlcli.runs.label_audit_record import (
    LABEL_AUDITS,
    LabelAuditRecord,
    Neighbour,
    SurestPhotos,
    Suspect,
    find_label_audit,
    write_label_audit,
)
from tlcli.runs.probe_record import fingerprint_photos


@pytest.fixture
def run(tmp_path: Path) -> directory.Run:
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos")


def keep(run: directory.Run, **changes: object) -> LabelAuditRecord:
    """An audit with one suspect, the first training photo; its neighbours are the next ones."""
    recipe, photos = read_recipe(run), read_split(run)
    audited = [row for row in photos if row.split != "test"]
    other = next(row for row in audited if row.label != audited[0].label)
    first, own, likelier = (
        photo_name(row, recipe.data.root) for row in (audited[0], audited[1], other)
    )
    suspect = Suspect(
        path=first, split="train", label=audited[0].label, suggested=other.label, score=0.875,
        neighbours=(
            Neighbour(path=own, label=audited[1].label, distance=0.1),
            Neighbour(path=likelier, label=other.label, distance=0.05),
        ),
    )  # fmt: skip
    record = LabelAuditRecord(
        recipe="pets", base=recipe.base.name, image_size=recipe.base.image_size, weights="w",
        root=str(recipe.data.root), photos=60, classes=3, folds=5, boundaries=("block5_pool",),
        data=fingerprint_photos((row.sha256, row.label) for row in audited), suspects=(suspect,),
        surest=SurestPhotos(photos=30, disagree=3, low=0.035, high=0.256), decided=2, images=0,
        seconds={},
    ).model_copy(update=changes)  # fmt: skip
    folder = directory.runs_root() / LABEL_AUDITS / "pets-VGG16"
    folder.mkdir(parents=True)
    write_label_audit(folder, record)
    return record


def section(run: directory.Run) -> str:
    page = write_report(run).path.read_text("utf-8")
    match = re.search(r'<section id="labels".*?</section>', page, re.S)
    return match[0] if match else ""


def test_the_suspects_stand_in_the_report_beside_the_photos_most_like_them(run):
    assert section(run) == ""
    record = keep(run)
    shown = section(run)
    assert (
        "About 6 labels are wrong (2 to 15): 3 of the 30 labels that the classifier is surest "
        "about contradict it. 1 suspect; expect about 0 of them to be false alarms (0 to 0). 2 "
        "more are not listed: a person has decided about them." in shown
    )
    assert shown.count("<img") == 3
    assert Path(record.suspects[0].path).name in shown
    assert "by 0.875" in shown
    assert '<a href="#labels">Labels</a>' in run.file(directory.REPORT).read_text("utf-8")


@pytest.mark.parametrize("change", [{"data": "0"}, {"base": "Xception"}])
def test_an_audit_of_others_does_not_belong_to_the_run(run, change):
    keep(run, **change)
    assert find_label_audit(run, read_recipe(run), read_split(run)) is None
    assert section(run) == ""


def test_labels_that_look_right(run):
    keep(run, suspects=(), surest=SurestPhotos(photos=30, disagree=0, low=0, high=0.1), decided=0)
    shown = section(run)
    assert "The labels look right: 0 of the 30 labels that" in shown
    assert "no suspect" in shown.lower()
    assert "<img" not in shown


def test_one_that_contradicts_may_be_chance(run):
    keep(run, surest=SurestPhotos(photos=30, disagree=1, low=0.006, high=0.17))
    assert "Few labels are wrong, or none (0 to 10): 1 of the 30 labels that the" in section(run)


def test_names_do_no_harm(tmp_path):
    run = write_finished_run(
        directory.runs_root() / "bad", tmp_path / "photos", classes=HOSTILE_CLASSES
    )
    keep(run)
    shown = section(run)
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<b>bold</b>" not in shown
