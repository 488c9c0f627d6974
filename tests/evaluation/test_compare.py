"""Two runs on the same photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tlcli.errors import RunError
from tlcli.evaluation import compare
from tlcli.evaluation.intervals import PairedCounts
from tlcli.evaluation.predictions import LabelledProbabilities
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files


def write_run(
    name: str, right: list[bool], *, classes=("cat", "dog"), first: int = 0, labels=None
) -> Run:
    """A finished run whose stored answers are right or wrong as in `right`; photo k has hash k."""
    run = Run(directory.runs_root() / name)
    run.path.mkdir(parents=True)
    files.write_json(run.file(directory.RECORD), {"classes": classes})
    files.write_json(run.file(directory.SUMMARY), {})
    run.file(directory.MODEL).touch()
    run.file(directory.RECIPE).write_text("data: {dir: /nowhere}\nbase: {name: VGG16}\n")
    names = [f"{number}.png" for number in range(first, first + len(right))]
    labels = np.array([number % 2 for number in range(len(right))] if labels is None else labels)
    rows = [
        (name, classes[label], "test", f"{first + number:064x}")
        for number, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    files.write_table(run.file(directory.SPLIT), ("path", "label", "split", "sha256"), rows)
    predicted = np.where(right, labels, 1 - labels)
    values = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
    LabelledProbabilities(tuple(names), labels, values, tuple(classes)).write(
        run.file(directory.predictions("test"))
    )
    return run


def test_the_cells_are_counted_by_hand():
    first = write_run("a-1", [True] * 20 + [True] * 2 + [False] * 12 + [False] * 16)
    second = write_run("b-1", [True] * 20 + [False] * 2 + [True] * 12 + [False] * 16)
    compared = compare.compare(first, second)
    assert compared.n == 50
    assert compared.pairs == PairedCounts(20, 2, 12, 16)
    assert [run.accuracy for run in compared.runs] == [22 / 50, 32 / 50]
    assert compared.difference == pytest.approx(0.2)
    assert compared.difference_interval == PairedCounts(20, 2, 12, 16).difference_interval()
    assert compared.test.p == pytest.approx(0.0129, abs=5e-5)
    assert compared.more_than_chance is True
    assert compared.verdict == "b-1 is better than a-1, by more than chance"
    turned = compare.compare(second, first)
    assert turned.verdict == compared.verdict
    assert turned.difference == pytest.approx(-0.2)


def test_a_small_difference_is_chance(cli):
    first = write_run("a-1", [True, True, False, True])
    second = write_run("b-1", [True, True, True, False])
    done = cli("compare", first.name, second.name)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == (
        "the difference may be chance: the runs differ on 2 photos (McNemar, exact, p = 1)"
    )
    assert "both right 2, only a-1 1, only b-1 1, neither 0" in done.stdout
    value = json.loads(cli("compare", first.path, second.path, "--json").stdout)
    assert value == json.loads(json.dumps(compare.compare(first, second).as_dict()))


def test_photos_are_identified_by_their_bytes():
    first = write_run("a-1", [True] * 6)
    second = write_run("b-1", [True, False, True, False], first=4, labels=[0, 1, 0, 1])
    compared = compare.compare(first, second)
    assert (compared.n, compared.left_out) == (2, (4, 2))
    assert compared.pairs == PairedCounts(1, 1, 0, 0)


def test_the_order_of_the_classes_does_not_matter():
    first = write_run("a-1", [True, False, True])
    second = write_run("b-1", [True, False, True], classes=("dog", "cat"), labels=[1, 0, 1])
    compared = compare.compare(first, second)
    assert compared.pairs == PairedCounts(2, 0, 0, 1)
    assert compared.runs[0].log_loss == pytest.approx(compared.runs[1].log_loss)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("cat", "cow")}, "have different classes: cow, dog; compare runs of the same"),
        ({"first": 50}, "their test splits have no photo in common; compare runs on the same "),
        (
            {"labels": [1, 1, 0, 1]},
            "label 1 shared photo differently; compare runs with the same labels",
        ),
    ],
)
def test_runs_that_cannot_be_compared(other, message: str):
    first = write_run("a-1", [True] * 4)
    second = write_run("b-1", [True] * 4, **other)
    with pytest.raises(RunError) as caught:
        compare.compare(first, second)
    assert message in str(caught.value)


def test_runs_of_the_same_name_are_shown_by_their_paths(tmp_path: Path):
    first = write_run("a-1", [True] * 4)
    second = Run(first.path.rename(tmp_path / "a-1"))
    first = write_run("a-1", [True] * 4)
    assert [run.run for run in compare.compare(first, second).runs] == [
        str(first.path), str(second.path)
    ]  # fmt: skip
