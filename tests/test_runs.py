"""Run directories: found, read, and pointed at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tlcli import outputs, runs
from tlcli.errors import RunError
from tlcli.runs import Run
from tlcli.system import files


def finish(run: Run) -> Run:
    files.write_json(run.file(runs.RECORD), {"created": "now"})
    files.write_json(run.file(runs.SUMMARY), {})
    run.file(runs.MODEL).touch()
    return run


def refusal(which: str | None) -> str:
    with pytest.raises(RunError) as caught:
        runs.find(which)
    return str(caught.value)


def test_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch):
    assert runs.root() == Path(os.environ["TLCLI_RUNS"])
    monkeypatch.delenv("TLCLI_RUNS")
    assert runs.root() == Path("runs")


def test_reading_files_of_a_run(tmp_path: Path):
    run = Run(tmp_path)
    files.write_json(run.file(runs.SUMMARY), {"a": 1})
    assert run.read(runs.SUMMARY) == {"a": 1}
    with pytest.raises(RunError) as missing:
        run.read(runs.RECORD)
    assert str(missing.value) == (
        f"{tmp_path}: has no run.json; the run did not finish; start `tlcli finetune` again"
    )
    run.file(runs.SUMMARY).write_text("{")
    with pytest.raises(RunError) as damaged:
        run.read(runs.SUMMARY)
    assert str(damaged.value).startswith(f"{tmp_path}/summary.json: cannot be read: Expecting ")


def test_metrics_are_lines(tmp_path: Path):
    run = Run(tmp_path)
    run.append_metrics({"epoch": 1})
    run.append_metrics({"epoch": 2})
    lines = run.file(runs.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 1}, {"epoch": 2}]
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append_metrics({"loss": float("nan")})


def test_finding_runs(monkeypatch: pytest.MonkeyPatch):
    first, second = (finish(outputs.create("cats", None)) for _ in range(2))
    runs.mark_latest(first)
    assert runs.find(None).path == first.path.resolve()
    runs.mark_latest(second)
    assert runs.find(None).path == second.path.resolve()
    assert runs.find("cats-1") == first
    assert runs.find(str(first.path)) == first
    assert runs.find("latest").path.resolve() == second.path.resolve()
    monkeypatch.chdir(first.path)
    assert runs.find(".").path == Path()
    assert runs.find_model("cats-2") == second.file(runs.MODEL)
    assert runs.find_model(str(second.file(runs.MODEL))) == second.file(runs.MODEL)
    assert [run.name for run in runs.listed(runs.root())] == ["cats-1", "cats-2"]


def test_what_is_not_found():
    folder = runs.root()
    assert refusal(None) == (
        f"{folder}: no run here yet; train one with `tlcli finetune`, or name one with --run"
    )
    assert refusal("cats-1") == ("--run cats-1: no such run; train one with `tlcli finetune`")
    finish(outputs.create("cats", None))
    assert refusal("cat-1") == (
        "--run cat-1: no such run; did you mean 'cats-1'? (allowed: cats-1)"
    )
    unfinished = outputs.create("cats", None)
    files.write_json(unfinished.file(runs.RECORD), {})
    hint = "start `tlcli finetune` again, or name another run"
    told = f"the run {unfinished.path} did not finish; {hint}"
    assert refusal("cats-2") == f"--run cats-2: {told}"
    runs.mark_latest(unfinished)
    assert refusal(None) == f"--run: {told}"
    assert runs.listed(folder / "missing") == []


def test_latest_where_links_fail(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no links here")

    run = finish(outputs.create("cats", None))
    runs.mark_latest(run)
    monkeypatch.setattr(Path, "symlink_to", fail)
    other = finish(outputs.create("cats", None))
    runs.mark_latest(other)
    assert (runs.root() / runs.LATEST).read_text() == "cats-2\n"
    assert runs.find(None).path == other.path.resolve()
    (runs.root() / runs.LATEST).write_bytes(b"\xff\xfe")
    assert "no run here yet" in refusal(None)


def test_latest_leaves_folders_alone():
    run = finish(outputs.create("cats", None))
    (runs.root() / runs.LATEST).mkdir()
    runs.mark_latest(run)
    assert list((runs.root() / runs.LATEST).iterdir()) == []


def test_latest_points_at_a_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = finish(Run(Path()))
    runs.mark_latest(run)
    monkeypatch.chdir(tmp_path)
    assert runs.find(None).path == tmp_path / "here"


def test_latest_leaves_files_alone():
    run = finish(outputs.create("cats", None))
    (runs.root() / runs.LATEST).write_text("my notes")
    runs.mark_latest(run)
    assert (runs.root() / runs.LATEST).read_text() == "my notes"


def test_a_run_whose_latest_is_gone():
    run = finish(outputs.create("cats", None))
    runs.mark_latest(run)
    run.file(runs.RECORD).unlink()
    assert "no run here yet" in refusal(None)
