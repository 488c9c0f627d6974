"""Checkpoints on the disk: whole, verified, and as few as will do."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tlcli.errors import RunError
from tlcli.runs.checkpoints import BEST, Checkpoint, Checkpoints


def made(epoch: int, best: int, *, complete: bool = True) -> Checkpoint:
    """One of some epoch; those of earlier versions of tlcli were not complete in themselves."""
    arrays = {"weights/0": np.arange(1000, dtype="f4") + epoch, "optimizer/0": np.int64(epoch)}
    if complete and best != epoch:
        arrays[f"{BEST}weights/0"] = np.arange(1000, dtype="f4") + best
    return Checkpoint(
        epoch, {"best": best, "note": "é"}, {k: np.asarray(v) for k, v in arrays.items()}
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.write(made(1, 1))
    checkpoint, problems = kept.newest()
    assert problems == []
    assert checkpoint is not None
    assert (checkpoint.epoch, checkpoint.state) == (1, {"best": 1, "note": "é"})
    assert checkpoint.arrays.keys() == {"weights/0", "optimizer/0"}
    np.testing.assert_array_equal(checkpoint.arrays["weights/0"], made(1, 1).arrays["weights/0"])
    assert checkpoint.arrays["optimizer/0"].dtype == np.int64


def test_the_last_two_stay_and_each_is_enough(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    for epoch, best in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]:
        kept.write(made(epoch, best))
    assert names(folder) == ["epoch-00004.npz", "epoch-00005.npz"]
    for epoch in (5, 4):
        checkpoint, _ = Checkpoints(folder).newest()
        assert checkpoint is not None
        assert (checkpoint.epoch, checkpoint.state["best"]) == (epoch, 2)
        np.testing.assert_array_equal(
            checkpoint.arrays[f"{BEST}weights/0"], made(2, 2).arrays["weights/0"]
        )
        (folder / f"epoch-{epoch:05d}.npz").write_bytes(b"")


def test_one_of_an_earlier_version_needs_that_of_its_best_epoch(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    for epoch, best in [(1, 1), (2, 2), (3, 2), (4, 2)]:
        kept.write(made(epoch, best, complete=False))
    assert names(folder) == ["epoch-00002.npz", "epoch-00003.npz", "epoch-00004.npz"]
    kept = Checkpoints(folder)
    checkpoint, _ = kept.newest()
    assert checkpoint is not None
    np.testing.assert_array_equal(
        checkpoint.arrays[f"{BEST}weights/0"], made(2, 2).arrays["weights/0"]
    )
    kept.write(made(5, 2))
    assert names(folder) == ["epoch-00002.npz", "epoch-00004.npz", "epoch-00005.npz"]
    kept.write(made(6, 2))
    assert names(folder) == ["epoch-00005.npz", "epoch-00006.npz"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "best of an earlier version"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, harm: str):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    kept.write(made(1, 1))
    kept.write(made(2, 1))
    kept.write(made(3, 1, complete=harm != "best of an earlier version"))
    damaged = newest = folder / "epoch-00003.npz"
    data = newest.read_bytes()
    if harm == "flip":
        newest.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    elif harm == "best of an earlier version":
        damaged = folder / "epoch-00001.npz"
        damaged.unlink()
    else:
        newest.write_bytes(data[: len(data) // 2] if harm == "cut" else b"")
    checkpoint, (problem,) = kept.newest()
    assert checkpoint is not None
    assert checkpoint.epoch == 2
    assert str(problem).startswith(f"{damaged}: this checkpoint cannot be read: ")
    assert str(problem).endswith("; training resumes from the previous one, or else from the start")


def test_damaged_ones_go_once_there_is_a_sound_one(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    for epoch in (5, 6, 7):
        Checkpoints(folder).write(made(epoch, epoch))
        (folder / f"epoch-{epoch:05d}.npz").write_bytes(b"")
    kept = Checkpoints(folder)
    assert kept.newest()[0] is None
    assert len(names(folder)) == 1, "each that was written is sound as far as it was told"
    for epoch, best in [(1, 1), (2, 2), (3, 2)]:
        kept.write(made(epoch, best))
        assert f"epoch-{7:05d}.npz" not in names(folder)
    checkpoint, problems = kept.newest()
    assert checkpoint is not None
    assert (checkpoint.epoch, problems) == (3, [])


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_one_that_cannot_be_read_just_now_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    folder = tmp_path / "checkpoints"
    Checkpoints(folder).write(made(1, 1))
    before = names(folder)

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(zipfile, "ZipFile", fail)
        with pytest.raises(RunError) as raised:
            Checkpoints(folder).newest()
    assert str(raised.value) == (
        f"{folder}/epoch-00001.npz: this checkpoint cannot be read: {os.strerror(code).lower()}; "
        "nothing was removed; run the command again when it can be read"
    )
    assert names(folder) == before
    assert Checkpoints(folder).newest()[1] == []


def test_any_flipped_bits_are_damage_or_do_no_harm(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    small = Checkpoint(1, {"best": 1}, {"weights/0": np.arange(3, dtype="f4")})
    Checkpoints(folder).write(small)
    (path,) = folder.iterdir()
    data = path.read_bytes()
    for place in range(len(data)):
        flipped = bytes([data[place] ^ 1 << place % 8])
        path.write_bytes(data[:place] + flipped + data[place + 1 :])
        checkpoint, problems = Checkpoints(folder).newest()
        if checkpoint is None:
            assert len(problems) == 1
        else:
            np.testing.assert_array_equal(checkpoint.arrays["weights/0"], [0, 1, 2])


def test_nothing_is_unpickled(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez(file, state=np.array([{"best": 1}], dtype=object))
    checkpoint, (problem,) = Checkpoints(folder).newest()
    assert checkpoint is None
    assert "allow_pickle" in problem.message or "Object arrays" in problem.message


def test_nothing_is_unpacked(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez_compressed(file, state=np.zeros(10_000_000, np.uint8))
    checkpoint, (problem,) = Checkpoints(folder).newest()
    assert checkpoint is None
    assert "its arrays are compressed" in problem.message


def test_it_is_an_ordinary_archive(tmp_path: Path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.write(made(12, 12))
    with zipfile.ZipFile(tmp_path / "checkpoints" / "epoch-00012.npz") as archive:
        assert archive.testzip() is None
    kept.clear()
    assert list(tmp_path.iterdir()) == []
    kept.clear()
    assert Checkpoints(tmp_path / "nowhere").newest() == (None, [])


def test_no_flipped_bit_is_more_than_damage_or_goes_unnoticed(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    kept.write(made(1, 1))
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    places = [at for at in range(len(sound)) if at < 600 or at > len(sound) - 700]
    for at in places:
        damaged = bytearray(sound)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        checkpoint, problems = Checkpoints(folder).newest()
        if checkpoint is None:
            assert len(problems) == 1
        else:  # a date, or what else nobody reads
            assert checkpoint.state == made(1, 1).state
            assert checkpoint.arrays.keys() == made(1, 1).arrays.keys()


STATES = ["[" * 100_000, "[]", '{"best": null}', '{"best": Infinity}', '{"best": "x"}', "{}",
          '{"best": 1e400}', '{"best": [1]}', '{"best": 1' + "0" * 400 + "}"]  # fmt: skip


@pytest.mark.parametrize("text", STATES, ids=range(len(STATES)))
def test_whatever_the_state_says_it_is_damage(tmp_path: Path, text: str):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez(file, state=np.frombuffer(text.encode(), np.uint8))
    checkpoint, (problem,) = Checkpoints(folder).newest()
    assert checkpoint is None
    assert len(str(problem)) < 400


def test_a_header_that_is_no_python_is_damage(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for text in ("{'descr': '<f4', (", "'" * 3, "0777", "{" * 100):
        header = text.encode() + b"\n"
        with zipfile.ZipFile(folder / "epoch-00001.npz", "w") as archive:
            archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
        assert Checkpoints(folder).newest()[0] is None


def test_files_that_are_named_otherwise_are_not_checkpoints(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    kept.write(made(2, 2))
    for name in ("epoch-7.npz", "epoch-000008.npz", "epoch-0000٣.npz", "epoch-" + "9" * 200):
        (folder / name).touch()
    assert kept.newest()[1] == []
    kept.write(made(3, 3))
    assert kept.newest()[1] == []
    assert (folder / "epoch-7.npz").exists()
