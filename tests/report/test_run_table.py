"""The table of runs that `tlcli runs` prints."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tlcli.errors import RunError
from tlcli.evaluation import learning_curves
from tlcli.report.run_table import make_table
from tlcli.runs import directory
from tlcli.runs.create import create_run
from tlcli.runs.overview import read_entries
from tlcli.system import files


def runs_table() -> tuple[str, Any]:
    table = make_table(read_entries())
    return table.text(), table.as_json()


def finish(accuracy: float, *, test: float | None = None) -> directory.Run:
    run = create_run("cats", None)
    record = {"created": "2030-01-02", "base": "VGG16", "precision": "float32"}
    files.write_json(run.file(directory.RECORD), record)
    stages = [{"val_accuracy": 0.1}, {"val_accuracy": accuracy}]
    outcome = {"stages": stages, "test": None if test is None else {"accuracy": test}}
    files.write_json(run.file(directory.SUMMARY), outcome)
    run.file(directory.MODEL).touch()
    return run


def test_runs_with_their_scores():
    finish(0.9, test=0.87654)
    finish(0.5)
    unfinished = create_run("dogs", None)
    files.write_json(
        unfinished.file(directory.RECORD), {"created": "2030-01-03", "base": "ResNet50"}
    )
    text, value = runs_table()
    sizes = [str(entry["bytes"]) for entry in value]
    assert [line.split() for line in text.split("\n")[2:]] == [
        ["cats-1", "2030-01-02", "VGG16", "0.9000", "0.8765", "-", sizes[0], "B"],
        ["cats-2", "2030-01-02", "VGG16", "0.5000", "-", "-", sizes[1], "B"],
        ["dogs-1", "2030-01-03", "ResNet50", "unfinished", "-", "-", sizes[2], "B"],
    ]
    files_of_first = (directory.runs_root() / "cats-1").iterdir()
    assert value[0]["bytes"] == sum(path.stat().st_size for path in files_of_first)
    assert value[0] == {
        "name": "cats-1",
        "path": str(directory.runs_root() / "cats-1"),
        "created": "2030-01-02",
        "base": "VGG16",
        "precision": "float32",
        "finished": True,
        "state": "finished",
        "stages": 2,
        "val_accuracy": 0.9,
        "test_accuracy": 0.87654,
        "test_interval": None,
        "seconds": None,
        "bytes": value[0]["bytes"],
        "latest": False,
        "best": False,
        "note": "",
        "settings": {},
    }


def test_runs_are_in_the_order_in_which_they_were_begun():
    """Not in that of the last change of their files, and number 10 after number 9."""
    begun = {
        "cats-9": "2030-01-02T10:00:00+00:00",
        "cats-10": "2030-01-02T10:00:00+00:00",
        "birds-1": "2030-01-03",
        "apes-1": "2030-01-02T23:30:00+02:00",
    }
    for name in ("birds-1", "cats-10", "apes-1", "cats-9"):
        run = create_run("any", directory.runs_root() / name)
        files.write_json(run.file(directory.RECORD), {"created": begun[name], "base": "VGG16"})
    broken = create_run("old", directory.runs_root() / "old-1")
    broken.file(directory.RECORD).write_text("{")
    os.utime(broken.file(directory.RECORD), (1e9, 1e9))
    oldest = directory.runs_root() / "cats-9" / directory.RECORD
    oldest.chmod(0o600)
    _, value = runs_table()
    names = [entry["name"] for entry in value]
    assert names == ["old-1", "cats-9", "cats-10", "apes-1", "birds-1"]


def test_a_damaged_run_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]):
    finish(0.9)
    broken = finish(0.8)
    broken.file(directory.RECORD).write_text("{")
    broken.file(directory.SUMMARY).write_text("[]")
    _, value = runs_table()
    assert {entry["name"]: entry["created"] for entry in value} == {
        "cats-1": "2030-01-02",
        "cats-2": "?",
    }
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"warning: {broken.path}/run.json: cannot be read: ")
    assert second.startswith(f"warning: {broken.path}/summary.json: Input should be a valid dict")


HOSTILE = {
    directory.RECORD: ["[" * 100_000, '{"created": []}', '{"base": 1e999}', "[]", "3"],
    directory.SUMMARY: [
        "[" * 100_000, '{"stages": [1]}', '{"stages": {}}', '{"test": [1]}', '{"test": 3}',
        '{"test": {"accuracy": "x"}}', '{"test": {"accuracy": NaN}}',
        '{"stages": [{"val_accuracy": 1e400}]}', '{"stages": [{"val_accuracy": 2}]}',
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in HOSTILE.items() for text in texts]
)
def test_whatever_a_run_holds_it_is_listed(
    name: str, text: str, cli: Any, capsys: pytest.CaptureFixture[str]
):
    finish(0.9)
    broken = finish(0.8, test=0.5)
    broken.file(name).write_text(text)
    os.utime(broken.file(name), (2e9, 2e9))  # after the other run, whose record says 2030
    table, value = runs_table()
    assert len(table.split("\n")) == 4
    assert (value[0]["val_accuracy"], value[1]["name"]) == (0.9, "cats-2")
    assert capsys.readouterr().err.startswith(f"warning: {broken.file(name)}")
    assert json.loads(cli("runs", "--json").stdout) == value


@pytest.mark.parametrize(
    "name", [directory.RECORD, directory.SUMMARY, directory.METRICS, directory.CALIBRATION]
)
def test_what_never_ends_is_not_read(name: str):
    run = finish(0.9)
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        run.file(name).unlink(missing_ok=True)
        make(run.file(name))
        assert len(runs_table()[1]) == 1
        with pytest.raises(RunError, match=name):
            learning_curves.read_curves(run) if name == directory.METRICS else run.read(name)


def test_no_runs(cli: Any):
    done = cli("runs")
    assert done.stdout == f"no runs in {directory.runs_root()}; train one with `tlcli finetune`\n"
    assert json.loads(cli("runs", "--json").stdout) == []
