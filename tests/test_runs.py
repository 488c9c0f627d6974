"""Run directories: made, found, read, and never overwritten by accident."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tlcli import files, runs
from tlcli.errors import RunError
from tlcli.runs import Run


def finish(run: Run) -> Run:
    files.write_json(run.file(runs.RECORD), {"created": "now"})
    files.write_json(run.file(runs.SUMMARY), {})
    run.file(runs.MODEL).touch()
    return run


def refusal(which: str | None) -> str:
    with pytest.raises(RunError) as caught:
        runs.find(which)
    return str(caught.value)


def in_the_way(out: Path, *, force: bool = False) -> list[str]:
    with pytest.raises(RunError) as caught:
        runs.create("x", out, force=force)
    assert str(caught.value) == "\n".join(map(str, runs.check_output(out, force=force)))
    return str(caught.value).replace(str(out), "OUT").split("\n")


def test_runs_are_numbered():
    names = [runs.create("cats", None).name for _ in range(2)]
    (runs.root() / "cats-7").mkdir()
    (runs.root() / "cats-x").mkdir()
    (runs.root() / "cats-and-9").mkdir()
    names += [runs.create(name, None).name for name in ("cats", "dogs", "cats-and")]
    assert names == ["cats-1", "cats-2", "cats-8", "dogs-1", "cats-and-10"]


def test_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch):
    assert runs.root() == Path(os.environ["TLCLI_RUNS"])
    monkeypatch.delenv("TLCLI_RUNS")
    assert runs.root() == Path("runs")


def test_a_named_directory(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    assert runs.create("x", out).path == out
    assert out.is_dir()
    assert runs.check_output(out, force=False) == []


def test_what_is_in_the_way(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    assert in_the_way(file) == ["--out OUT: exists and is not a folder; name another"]
    assert runs.check_output(file / "run", force=False)[0].message == (
        "is a file; runs need a folder"
    )
    other = tmp_path / "other"
    (other / "photos").mkdir(parents=True)
    for force in (False, True):
        assert in_the_way(other, force=force) == [
            "--out OUT: exists, is not empty and is not a run; "
            "name another folder; --force replaces only what tlcli has written"
        ]


def test_a_run_is_replaced_by_force_only(tmp_path: Path):
    out = tmp_path / "run"
    finish(runs.create("x", out))
    assert in_the_way(out) == [
        "--out OUT: there is already a run; name another folder, or replace the run with --force"
    ]
    (out / "mine.txt").write_text("keep")
    (out / "evaluation-mine.json").write_text("keep")
    (out / runs.evaluation("test")).write_text("of the old model")
    (out / runs.CHECKPOINTS).mkdir()
    (out / runs.CHECKPOINTS / "epoch-00003.npz").write_text("of a run that was stopped")
    (out / "evaluation-mine.txt").write_text("keep")
    names = (
        runs.CALIBRATION, runs.evaluation("test"), runs.predictions("val"), *runs.CURVES,
        runs.reliability("test"), runs.confusion("val", "svg"), runs.REPORT,
    )  # fmt: skip
    for name in names:
        (out / name).write_text("of the old model")
    (out / runs.EXPLANATIONS).mkdir()
    (out / runs.EXPLANATIONS / "0001.png").touch()
    again = runs.create("x", out, force=True)
    assert (out / runs.SUMMARY).exists(), "the old run stays until the new one is finished"
    for name in runs.FILES:
        again.file(name).write_text(f"new {name}")
    assert runs.settle(again).path == out
    kept = {"mine.txt", "evaluation-mine.txt", "evaluation-mine.json"}
    assert {path.name for path in out.iterdir()} == {*runs.FILES, *kept}
    assert (out / runs.MODEL).read_text() == f"new {runs.MODEL}"
    assert runs.replacements(out) == [again.path], "whole until somebody removes it"


def test_a_run_behind_a_link_is_replaced_where_it_is(tmp_path: Path):
    finish(runs.create("x", tmp_path / "run"))
    (tmp_path / "link").symlink_to("run")
    again = runs.create("x", tmp_path / "link", force=True)
    assert again.replaces == tmp_path / "run"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path):
    tmp_path.chmod(0o500)
    (problem,) = runs.check_output(tmp_path / "run", force=False)
    assert str(problem) == f"{tmp_path}: cannot be written to; name another folder with --out"


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
    first, second = (finish(runs.create("cats", None)) for _ in range(2))
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
    finish(runs.create("cats", None))
    assert refusal("cat-1") == (
        "--run cat-1: no such run; did you mean 'cats-1'? (allowed: cats-1)"
    )
    unfinished = runs.create("cats", None)
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

    run = finish(runs.create("cats", None))
    runs.mark_latest(run)
    monkeypatch.setattr(Path, "symlink_to", fail)
    other = finish(runs.create("cats", None))
    runs.mark_latest(other)
    assert (runs.root() / runs.LATEST).read_text() == "cats-2\n"
    assert runs.find(None).path == other.path.resolve()
    (runs.root() / runs.LATEST).write_bytes(b"\xff\xfe")
    assert "no run here yet" in refusal(None)


def test_latest_leaves_folders_alone():
    run = finish(runs.create("cats", None))
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
    run = finish(runs.create("cats", None))
    (runs.root() / runs.LATEST).write_text("my notes")
    runs.mark_latest(run)
    assert (runs.root() / runs.LATEST).read_text() == "my notes"


def test_a_run_whose_latest_is_gone():
    run = finish(runs.create("cats", None))
    runs.mark_latest(run)
    run.file(runs.RECORD).unlink()
    assert "no run here yet" in refusal(None)
