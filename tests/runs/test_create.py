"""Where runs are written: new folders, and what is never overwritten by accident."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.create import check_output, create_run, list_replacements, move_into_place
from tlcli.runs.directory import Run
from tlcli.system import files


def finish(run: Run) -> Run:
    files.write_json(run.file(directory.RECORD), {"created": "now"})
    files.write_json(run.file(directory.SUMMARY), {})
    run.file(directory.MODEL).touch()
    return run


def in_the_way(out: Path, *, force: bool = False) -> list[str]:
    with pytest.raises(RunError) as caught:
        create_run("x", out, force=force)
    assert str(caught.value) == "\n".join(map(str, check_output(out, force=force)))
    return str(caught.value).replace(str(out), "OUT").split("\n")


def test_runs_are_numbered():
    names = [create_run("cats", None).name for _ in range(2)]
    (directory.runs_root() / "cats-7").mkdir()
    (directory.runs_root() / "cats-x").mkdir()
    (directory.runs_root() / "cats-and-9").mkdir()
    names += [create_run(name, None).name for name in ("cats", "dogs", "cats-and")]
    assert names == ["cats-1", "cats-2", "cats-8", "dogs-1", "cats-and-10"]


def test_a_named_directory(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    assert create_run("x", out).path == out
    assert out.is_dir()
    assert check_output(out, force=False) == []


def test_what_is_in_the_way(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    assert in_the_way(file) == ["--out OUT: exists and is not a folder; name another"]
    assert check_output(file / "run", force=False)[0].message == ("is a file; runs need a folder")
    other = tmp_path / "other"
    (other / "photos").mkdir(parents=True)
    for force in (False, True):
        assert in_the_way(other, force=force) == [
            "--out OUT: exists, is not empty and is not a run; "
            "name another folder; --force replaces only what tlcli has written"
        ]


def test_a_run_is_replaced_by_force_only(tmp_path: Path):
    out = tmp_path / "run"
    finish(create_run("x", out))
    assert in_the_way(out) == [
        "--out OUT: there is already a run; name another folder, or replace the run with --force"
    ]
    (out / "mine.txt").write_text("keep")
    (out / "evaluation-mine.json").write_text("keep")
    (out / directory.evaluation("test")).write_text("of the old model")
    (out / directory.CHECKPOINTS).mkdir()
    (out / directory.CHECKPOINTS / "epoch-00003.npz").write_text("of a run that was stopped")
    (out / "evaluation-mine.txt").write_text("keep")
    names = (
        directory.evaluation("test"), directory.predictions("val"),
        *directory.CURVES,
        directory.reliability("test"), directory.confusion("val", "svg"), directory.REPORT,
    )  # fmt: skip
    for name in names:
        (out / name).write_text("of the old model")
    (out / directory.EXPLANATIONS).mkdir()
    (out / directory.EXPLANATIONS / "0001.png").touch()
    again = create_run("x", out, force=True)
    assert (out / directory.SUMMARY).exists(), "the old run stays until the new one is finished"
    for name in directory.FILES:
        again.file(name).write_text(f"new {name}")
    assert move_into_place(again).path == out
    kept = {"mine.txt", "evaluation-mine.txt", "evaluation-mine.json"}
    assert {path.name for path in out.iterdir()} == {*directory.FILES, *kept}
    assert (out / directory.MODEL).read_text() == f"new {directory.MODEL}"
    assert list_replacements(out) == [again.path], "whole until somebody removes it"


def test_a_run_that_an_earlier_version_finished_is_moved_without_neighbours(tmp_path: Path):
    finish(create_run("x", tmp_path / "run"))
    (tmp_path / "run" / directory.NEIGHBOURS).write_text("of the old model")
    again = create_run("x", tmp_path / "run", force=True)
    for name in directory.FILES:
        if name != directory.NEIGHBOURS:
            again.file(name).write_text(f"new {name}")
    moved = move_into_place(again)
    assert not moved.file(directory.NEIGHBOURS).exists()
    assert moved.file(directory.MODEL).read_text() == f"new {directory.MODEL}"


def test_a_run_behind_a_link_is_replaced_where_it_is(tmp_path: Path):
    finish(create_run("x", tmp_path / "run"))
    (tmp_path / "link").symlink_to("run")
    again = create_run("x", tmp_path / "link", force=True)
    assert again.replaces == tmp_path / "run"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path):
    tmp_path.chmod(0o500)
    (problem,) = check_output(tmp_path / "run", force=False)
    assert str(problem) == f"{tmp_path}: cannot be written to; name another folder with --out"
