"""Run directories: found, read, and pointed at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.create import create_run
from tlcli.runs.directory import Run
from tlcli.system import files


def finish(run: Run) -> Run:
    files.write_json(run.file(directory.RECORD), {"created": "now"})
    files.write_json(run.file(directory.SUMMARY), {})
    run.file(directory.MODEL).touch()
    return run


def refusal(which: str | None) -> str:
    with pytest.raises(RunError) as caught:
        directory.find_run(which)
    return str(caught.value)


def test_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch):
    assert directory.runs_root() == Path(os.environ["TLCLI_RUNS"])
    monkeypatch.delenv("TLCLI_RUNS")
    assert directory.runs_root() == Path("runs")


def test_reading_files_of_a_run(tmp_path: Path):
    run = Run(tmp_path)
    files.write_json(run.file(directory.SUMMARY), {"a": 1})
    assert run.read(directory.SUMMARY) == {"a": 1}
    with pytest.raises(RunError) as missing:
        run.read(directory.RECORD)
    assert str(missing.value) == (
        f"{tmp_path}: has no run.json; the run did not finish; start `tlcli finetune` again"
    )
    run.file(directory.SUMMARY).write_text("{")
    with pytest.raises(RunError) as damaged:
        run.read(directory.SUMMARY)
    assert str(damaged.value).startswith(f"{tmp_path}/summary.json: cannot be read: Expecting ")


def test_finding_runs(monkeypatch: pytest.MonkeyPatch):
    first, second = (finish(create_run("cats", None)) for _ in range(2))
    directory.mark_latest(first)
    assert directory.find_run(None).path == first.path.resolve()
    directory.mark_latest(second)
    assert directory.find_run(None).path == second.path.resolve()
    assert directory.find_run("cats-1") == first
    assert directory.find_run(str(first.path)) == first
    assert directory.find_run("latest").path.resolve() == second.path.resolve()
    monkeypatch.chdir(first.path)
    assert directory.find_run(".").path == Path()
    assert directory.find_model("cats-2") == second.file(directory.MODEL)
    assert directory.find_model(str(second.file(directory.MODEL))) == second.file(directory.MODEL)
    assert [run.name for run in directory.list_runs(directory.runs_root())] == ["cats-1", "cats-2"]


def test_what_is_not_found():
    folder = directory.runs_root()
    assert refusal(None) == (
        f"{folder}: no run here yet; train one with `tlcli finetune`, or name one with --run"
    )
    assert refusal("cats-1") == ("--run cats-1: no such run; train one with `tlcli finetune`")
    finish(create_run("cats", None))
    assert refusal("cat-1") == (
        "--run cat-1: no such run; did you mean 'cats-1'? (allowed: cats-1)"
    )
    unfinished = create_run("cats", None)
    files.write_json(unfinished.file(directory.RECORD), {})
    hint = "start `tlcli finetune` again, or name another run"
    problem = f"the run {unfinished.path} did not finish; {hint}"
    assert refusal("cats-2") == f"--run cats-2: {problem}"
    directory.mark_latest(unfinished)
    assert refusal(None) == f"--run: {problem}"
    assert directory.list_runs(folder / "missing") == []


def test_latest_where_links_fail(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no links here")

    run = finish(create_run("cats", None))
    directory.mark_latest(run)
    monkeypatch.setattr(Path, "symlink_to", fail)
    other = finish(create_run("cats", None))
    directory.mark_latest(other)
    assert (directory.runs_root() / directory.LATEST).read_text() == "cats-2\n"
    assert directory.find_run(None).path == other.path.resolve()
    (directory.runs_root() / directory.LATEST).write_bytes(b"\xff\xfe")
    assert "no run here yet" in refusal(None)


def test_latest_leaves_folders_alone():
    run = finish(create_run("cats", None))
    (directory.runs_root() / directory.LATEST).mkdir()
    directory.mark_latest(run)
    assert list((directory.runs_root() / directory.LATEST).iterdir()) == []


def test_latest_points_at_a_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = finish(Run(Path()))
    directory.mark_latest(run)
    monkeypatch.chdir(tmp_path)
    assert directory.find_run(None).path == tmp_path / "here"


def test_latest_leaves_files_alone():
    run = finish(create_run("cats", None))
    (directory.runs_root() / directory.LATEST).write_text("my notes")
    directory.mark_latest(run)
    assert (directory.runs_root() / directory.LATEST).read_text() == "my notes"


def test_a_run_whose_latest_is_gone():
    run = finish(create_run("cats", None))
    directory.mark_latest(run)
    run.file(directory.RECORD).unlink()
    assert "no run here yet" in refusal(None)
