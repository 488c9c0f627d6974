"""Which run a `finetune` is: a new one, or one that was stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory, fingerprints
from tlcli.runs.create import check_output
from tlcli.runs.resume import RunRequest, claim
from tlcli.system import files, locks


def stop(run: directory.Run) -> None:
    """Leave a run as a stop after its first epoch does."""
    run.file(directory.CHECKPOINTS).mkdir(exist_ok=True)
    (run.file(directory.CHECKPOINTS) / "epoch-00001.npz").write_bytes(b"")


def finish(run: directory.Run) -> None:
    for name in (directory.MODEL, directory.METRICS, directory.SUMMARY):
        run.file(name).write_text("{}", encoding="utf-8")
    shutil.rmtree(run.file(directory.CHECKPOINTS), ignore_errors=True)


def name_of(wanted: RunRequest, chosen, index, then=stop) -> tuple[str, bool]:
    with claim(wanted, chosen, index) as claimed:
        then(claimed.run)
    return claimed.run.name, claimed.resumed


def refused(wanted: RunRequest, chosen, index) -> list[str]:
    with pytest.raises(RunError) as error, claim(wanted, chosen, index):
        pass
    return str(error.value).split("\n")


def test_a_stopped_run_of_the_same_goes_on_and_a_finished_one_does_not(parts):
    same = parts()
    assert name_of(RunRequest(), *same) == ("small-1", False)
    assert name_of(RunRequest(), *same, then=finish) == ("small-1", True)
    assert name_of(RunRequest(), *same) == ("small-2", False)
    assert name_of(RunRequest(fresh=True), *same) == ("small-3", False)
    assert name_of(RunRequest(resume="small-2"), *same) == ("small-2", True)


def test_a_changed_recipe_is_another_run_and_the_change_is_told(parts, capsys):
    name_of(RunRequest(), *parts())
    changed = parts("stages.1.epochs=7", "head.hidden=[8,4]")
    assert name_of(RunRequest(), *changed) == ("small-2", False)
    assert (
        "small-1 was stopped and is not resumed: head.hidden was [256], is now [8, 4]; "
        "stages.1.epochs was 30, is now 7\n"
    ) in capsys.readouterr().err
    assert refused(RunRequest(resume="small-1"), *changed)[1:] == [
        "--resume small-1: stages.1.epochs was 30, is now 7",
        "--resume small-1: the recipe or the photos are not those of the run; "
        "undo the change, or leave out --resume to train a new run",
    ]


def test_a_run_that_came_to_nothing_leaves_nothing(parts):
    with pytest.raises(RuntimeError), claim(RunRequest(), *parts()) as claimed:
        assert claimed.run.file(directory.SPLIT).is_file()
        raise RuntimeError
    assert not claimed.run.path.exists()
    out = directory.runs_root() / "mine"
    with pytest.raises(RuntimeError), claim(RunRequest(out=out), *parts()) as claimed:
        (out / "notes.txt").write_text("keep")
        raise RuntimeError
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_only_a_finished_or_foreign_output_folder_is_in_the_way(parts, tmp_path: Path):
    out = tmp_path / "out"
    assert name_of(RunRequest(out=out), *parts()) == ("out", False)
    assert name_of(RunRequest(out=out), *parts()) == ("out", True)
    changed = parts("seed=5")
    assert refused(RunRequest(out=out), *changed) == [
        f"--out {out}: seed was 0, is now 5",
        f"--out {out}: the stopped run there cannot be resumed; "
        "name another folder, or replace it with --force",
    ]
    assert refused(RunRequest(out=out, fresh=True), *parts()) == [
        f"--out {out}: a stopped run is already there; "
        "name another folder, or replace it with --force"
    ]
    assert name_of(RunRequest(out=out), *parts(), then=finish) == ("out", True)
    assert refused(RunRequest(out=out), *parts()) == [
        f"--out {out}: there is already a run; name another folder, or replace the run with --force"
    ]


def test_a_stopped_replacement_goes_on(parts, tmp_path: Path):
    out = tmp_path / "out"
    name_of(RunRequest(out=out), *parts(), then=finish)
    changed = parts("seed=5")
    with claim(RunRequest(out=out, force=True), *changed) as begun:
        stop(begun.run)
    assert begun.run.replaces == out
    assert begun.run.path.parent == tmp_path
    with claim(RunRequest(out=out, force=True), *changed) as again:
        assert (again.run, again.resumed) == (begun.run, True)
    with claim(RunRequest(out=out, force=True), *parts("seed=6")) as other:
        assert other.run.path != begun.run.path
        assert not begun.run.path.exists(), "nobody can ask for it any more"


def test_the_run_is_this_process_alone(parts):
    same = parts()
    with claim(RunRequest(), *same) as claimed:
        (line,) = refused(RunRequest(), *same)
        assert line.startswith(f"{claimed.run.path}: is being trained by process ")
        assert line.endswith("; wait for it, stop it, or train another run with --fresh")
        with claim(RunRequest(fresh=True), *same) as another:
            assert another.run.name == "small-2"
        with claim(RunRequest(), *parts("seed=3")) as different:
            assert different.run.name != "small-1"
        stop(claimed.run)
        finish(claimed.run)
    assert not claimed.run.file(locks.LOCK_FILE).exists()


def test_what_a_kill_leaves_is_cleared_away(parts):
    folder = directory.runs_root() / "small-1"
    folder.mkdir(parents=True)
    for name in (directory.RECIPE, ".x1.tmp.json", locks.LOCK_FILE):
        (folder / name).write_text("half")
    (directory.runs_root() / "small-2").mkdir()
    (directory.runs_root() / "small-2" / "notes.txt").write_text("a user's")
    assert name_of(RunRequest(), *parts()) == ("small-3", False)
    assert not folder.exists()
    run = directory.Run(directory.runs_root() / "small-3")
    (run.path / ".x2.tmp.keras").write_text("half")
    (run.file(directory.CHECKPOINTS) / ".x3.tmp.npz").write_text("half")
    assert name_of(RunRequest(), *parts()) == ("small-3", True)
    assert not list(run.path.rglob(".x*"))


def test_what_a_kill_leaves_in_a_finished_run_is_cleared_away(parts):
    same = parts()
    name_of(RunRequest(), *same, then=finish)
    run = directory.Run(directory.runs_root() / "small-1")
    whole = sorted(run.path.iterdir())
    (run.path / ".checkpoints-done").mkdir()
    (run.path / ".checkpoints-done" / "epoch-00001.npz").write_text("half")
    (run.path / locks.LOCK_FILE).touch()
    with locks.lock_folder(run.path), claim(RunRequest(), *same):
        assert (run.path / ".checkpoints-done").exists(), "its process is at it"
    with claim(RunRequest(), *same):
        assert sorted(run.path.iterdir()) == whole


@pytest.mark.parametrize(
    "kept", [directory.MODEL, directory.SUMMARY, ".notes", "checkpoints/epoch-1.npz"]
)
def test_what_a_user_has_kept_of_a_run_stays(parts, kept: str):
    file = directory.runs_root() / "small-1" / kept
    file.parent.mkdir(parents=True)
    file.write_text("kept")
    (directory.runs_root() / "small-1" / directory.RECIPE).write_text("kept")
    assert name_of(RunRequest(), *parts()) == ("small-2", False)
    assert file.read_text() == "kept"
    assert (directory.runs_root() / "small-1" / directory.RECIPE).read_text() == "kept"


def test_a_refused_command_discards_nothing(parts, tmp_path: Path):
    out = tmp_path / "out"
    name_of(RunRequest(out=out), *parts())
    with claim(RunRequest(out=out, force=True), *parts("seed=5")) as begun:
        stop(begun.run)
    refused(RunRequest(out=out), *parts("seed=6"))
    refused(RunRequest(out=out, fresh=True), *parts("seed=6"))
    assert begun.run.path.exists()


def test_a_record_that_is_none(parts, capsys):
    name_of(RunRequest(), *parts())
    (directory.runs_root() / "small-1" / directory.RECORD).write_text("[]", encoding="utf-8")
    assert name_of(RunRequest(), *parts()) == ("small-2", False)
    assert "run.json: is not the record of a run" not in capsys.readouterr().out


def test_what_cannot_be_resumed(parts):
    same = parts()
    assert refused(RunRequest(resume="nowhere"), *same) == [
        "--resume nowhere: no such run; train one with `tlcli finetune`"
    ]
    name_of(RunRequest(), *same, then=finish)
    assert refused(RunRequest(resume="small-1"), *same) == [
        "--resume small-1: this run is finished; leave out --resume to train a new one"
    ]


def test_a_damaged_record_is_no_reason_to_fail(parts, capsys):
    with claim(RunRequest(), *parts()) as claimed:
        stop(claimed.run)
    claimed.run.file(directory.RECORD).write_text("{", encoding="utf-8")
    assert name_of(RunRequest(), *parts()) == ("small-2", False)
    assert "cannot be read" in capsys.readouterr().err
    record = json.loads(
        (directory.runs_root() / "small-2" / directory.RECORD).read_text(encoding="utf-8")
    )
    assert record.keys() >= fingerprints.compute_fingerprints(*parts()).keys()


FIRST = (
    locks.LOCK_FILE,
    locks.HOLDER_FILE,
    directory.RECIPE,
    ".x1.tmp.csv",
    directory.SPLIT,
    ".x2.tmp.json",
)


@pytest.mark.parametrize("files", range(len(FIRST) + 1))
def test_what_a_kill_leaves_in_a_named_folder_is_not_in_the_way(parts, tmp_path: Path, files: int):
    out = tmp_path / "out"
    out.mkdir()
    for name in FIRST[:files]:
        (out / name).write_text("half")
    assert check_output(out, force=False) == []
    with claim(RunRequest(out=out, force=files % 2 == 0), *parts()) as claimed:
        assert (claimed.run, claimed.resumed) == (directory.Run(out), False)
        assert not list(out.glob(".x*"))
        stop(claimed.run)


def test_a_recipe_in_the_folder_of_a_user_is_in_the_way(tmp_path: Path):
    (tmp_path / directory.RECIPE).write_text("a user's")
    (problem,) = check_output(tmp_path, force=True)
    assert problem.message == "exists, is not empty and is not a run"


def test_a_stopped_replacement_leaves_no_part_of_a_file(parts, tmp_path: Path):
    out = tmp_path / "out"
    name_of(RunRequest(out=out), *parts(), then=finish)
    with claim(RunRequest(out=out, force=True), *parts("seed=5")) as begun:
        stop(begun.run)
    part = begun.run.file(".x.tmp.npz")
    part.write_text("half")
    with claim(RunRequest(out=out, force=True), *parts("seed=5")):
        assert not part.exists()
    part.write_text("half")
    begun.run.file(directory.RECORD).unlink()
    with claim(RunRequest(out=out, force=True), *parts("seed=5")) as another:
        assert not begun.run.path.exists()
    assert not another.run.path.exists()


@pytest.mark.parametrize("out", [None, "out", "forced"])
def test_a_run_that_cannot_be_begun_leaves_nothing(
    parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
):
    wanted = RunRequest(out=tmp_path / "made" / out if out else None, force=out == "forced")
    if wanted.force:
        name_of(wanted, *parts("seed=9"), then=finish)
    same = parts()
    before = sorted(tmp_path.rglob("*"))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run.json")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_json", fail)
        with pytest.raises(OSError, match="No space left"), claim(wanted, *same):
            pass
    left = {path for path in tmp_path.rglob("*") if path.name != locks.LOCK_FILE}
    assert left - {*before} <= {tmp_path / "made"}
    assert not list(directory.runs_root().glob("small-*"))


@pytest.mark.parametrize(
    "name", [directory.CHECKPOINTS, directory.METRICS, directory.MODEL, locks.LOCK_FILE]
)
@pytest.mark.parametrize("way", ["by itself", "resume", "out"])
def test_a_run_with_a_link_in_it_is_not_gone_on_with(parts, tmp_path: Path, name: str, way: str):
    foreign = tmp_path / "theirs"
    foreign.mkdir()
    for kept in (".a.tmp.npz", "epoch-00001.npz"):
        (foreign / kept).write_text("mine")
    with claim(RunRequest(out=tmp_path / "out" if way == "out" else None), *parts()) as claimed:
        run = claimed.run
        run.file(directory.CHECKPOINTS).mkdir()
        (run.file(directory.CHECKPOINTS) / "epoch-00001.npz").touch()
    if name == directory.CHECKPOINTS:
        shutil.rmtree(run.file(name))
    run.file(name).unlink(missing_ok=True)
    run.file(name).symlink_to(foreign if name == directory.CHECKPOINTS else foreign / ".a.tmp.npz")
    resume, out = {"resume": (run.name, None), "out": (None, run.path)}.get(way, (None, None))
    assert refused(RunRequest(out=out, resume=resume), *parts()) == [
        f"{run.file(name)}: is a link; remove the link, or train another run with --fresh"
    ]
    assert {path.name: path.read_text() for path in foreign.iterdir()} == {
        ".a.tmp.npz": "mine", "epoch-00001.npz": "mine"
    }  # fmt: skip
    if way == "by itself":
        assert name_of(RunRequest(fresh=True), *parts()) == ("small-2", False)
