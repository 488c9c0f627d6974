"""Two runs on the same photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tlcli.errors import RunError
from tlcli.evaluation import compare
from tlcli.evaluation.calibration import RAW
from tlcli.evaluation.intervals import PairedCounts
from tlcli.evaluation.predictions import LabelledLogits
from tlcli.runs import directory
from tlcli.runs.calibration_record import CalibrationRecord, write_calibration_record
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
    logits = np.log(np.where(np.eye(2)[predicted] == 1, 0.8, 0.2))
    LabelledLogits(tuple(names), labels, logits, tuple(classes)).write(
        run.file(directory.predictions("test")), RAW
    )
    write_calibration_record(run, CalibrationRecord(temperature=None, fitted_on="logits"))
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


def test_a_run_is_not_compared_with_itself(cli):
    run = write_run("a-1", [True, False])
    done = cli("compare", "a-1", run.path)
    assert done.exit_code == 1
    assert done.stderr == (f"error: RUN {run.path}: is the first run itself; name another one\n")


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
        ({"classes": ("cat", "cow")}, "does not know all classes of "),
        ({"classes": ("cat", "cow")}, ": dog; compare runs of the same task"),
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


def repeat_photos(run: Run, numbers: list[int]) -> None:
    """Give the test split of a run copies of its first photos, under other names."""
    table, predicted = run.file(directory.SPLIT), run.file(directory.predictions("test"))
    for path in (table, predicted):
        lines = path.read_text().splitlines()
        copies = [f"copy{lines[1 + number]}" for number in numbers]
        path.write_text("\n".join([*lines, *copies]) + "\n")


def test_copies_count_as_they_do_in_an_evaluation(cli):
    first = write_run("a-1", [True, False, True, True])
    second = write_run("b-1", [True, True, True, False])
    repeat_photos(first, [1, 1, 2])
    repeat_photos(second, [1, 2])
    compared = compare.compare(first, second)
    evaluated = [json.loads(cli("evaluate", run.name, "--json").stdout) for run in (first, second)]
    assert [(value["n"], value["copies"]) for value in evaluated] == [(7, 3), (6, 2)]
    assert (compared.n, compared.copies, compared.left_out) == (6, 2, (1, 0))
    assert compared.pairs == PairedCounts(3, 1, 2, 0)
    assert cli("compare", "a-1", "b-1").stdout.startswith(
        "test: 6 photos that both runs have, 2 of them copies of others; "
        "left out: 1 that only a-1 has\n"
    )
    assert "test: 7 photos of 2 classes, 3 of them copies of others, computed in float32\n" in (
        cli("evaluate", "a-1").stdout
    )


def test_the_log_loss_is_that_of_what_each_run_answers(cli):
    first = write_run("a-1", [True, True, False, True])
    second = write_run("b-1", [True, True, False, True])
    write_calibration_record(second, CalibrationRecord(temperature=2.0, fitted_on="logits"))
    done = cli("compare", "a-1", "b-1", "--json")
    runs = json.loads(done.stdout)["runs"]
    assert done.stderr == f"{first.path}: not calibrated: it had no validation photos\n"
    assert [run["temperature"] for run in runs] == [None, 2.0]
    assert runs[0]["log_loss"] == pytest.approx(-np.log([0.8, 0.8, 0.2, 0.8]).mean())
    right = 2 / (2 + 1)  # of the odds 0.8 to 0.2 the root is 2
    assert runs[1]["log_loss"] == pytest.approx(-np.log([right, right, 1 - right, right]).mean())
    raw = cli("compare", "a-1", "b-1", "--raw", "--json")
    losses = {run["log_loss"] for run in json.loads(raw.stdout)["runs"]}
    assert (losses, raw.stderr) == ({runs[0]["log_loss"]}, "")


@pytest.mark.parametrize(
    ("turned", "required", "code"),
    [(False, "better", 0), (True, "better", 1), (False, "not-worse", 0), (True, "not-worse", 1)],
)
def test_a_script_asks_for_a_better_run(cli, turned: bool, required: str, code: int):
    write_run("a-1", [True] * 20 + [True] * 2 + [False] * 12 + [False] * 16)
    write_run("b-1", [True] * 20 + [False] * 2 + [True] * 12 + [False] * 16)
    names = ["b-1", "a-1"] if turned else ["a-1", "b-1"]
    done = cli("compare", *names, "--require", required, "--json")
    assert done.exit_code == code
    value = json.loads(done.stdout)
    assert value["requirement"] == {"required": required, "met": not code}
    is_not = "is not better" if required == "better" else "is worse"
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        lines
        == [
            f"error: --require {required}: missed: a-1 {is_not} than b-1 by more than chance "
            f"(difference -0.2000, 95% interval {value['difference_interval'][0]:+.4f} to "
            f"{value['difference_interval'][1]:+.4f}, p = 0.01294)"
        ][:code]
    )


def test_chance_is_neither_better_nor_worse(cli):
    write_run("a-1", [True, True, False, True])
    write_run("b-1", [True, True, True, True])
    assert cli("compare", "a-1", "b-1", "--require", "better").exit_code == 1
    assert cli("compare", "b-1", "a-1", "--require", "not-worse").exit_code == 0
    assert set(compare.REQUIREMENTS) == {"better", "not-worse"}
