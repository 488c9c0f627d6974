"""Checkpoints on the disk: whole, verified, and as few as will do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tlcli.checkpoints import Checkpoint, Checkpoints
from tlcli.errors import RunError


def made(epoch: int, best: int) -> Checkpoint:
    arrays = {"weights/0": np.arange(1000, dtype="f4") + epoch, "optimizer/0": np.int64(epoch)}
    return Checkpoint(
        epoch, {"best": best, "note": "é"}, {k: np.asarray(v) for k, v in arrays.items()}
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.write(made(1, 1))
    found, problems = kept.newest()
    assert problems == []
    assert found is not None
    assert (found.epoch, found.state) == (1, {"best": 1, "note": "é"})
    assert found.arrays.keys() == {"weights/0", "optimizer/0"}
    np.testing.assert_array_equal(found.arrays["weights/0"], made(1, 1).arrays["weights/0"])
    assert found.arrays["optimizer/0"].dtype == np.int64


def test_the_last_two_stay_and_those_of_their_best_epochs(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    for epoch, best in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]:
        kept.write(made(epoch, best))
    assert names(folder) == ["epoch-00002.npz", "epoch-00004.npz", "epoch-00005.npz"]
    kept.write(made(6, 6))
    assert names(folder) == ["epoch-00002.npz", "epoch-00005.npz", "epoch-00006.npz"]
    kept.write(made(7, 6))
    assert names(folder) == ["epoch-00006.npz", "epoch-00007.npz"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "remove the best"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, harm: str):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    kept.write(made(1, 1))
    kept.write(made(2, 2))
    kept.write(made(3, 2) if harm == "remove the best" else made(3, 3))
    newest = folder / "epoch-00003.npz"
    data = newest.read_bytes()
    if harm == "flip":
        newest.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    elif harm == "remove the best":
        (folder / "epoch-00002.npz").unlink()
    else:
        newest.write_bytes(data[: len(data) // 2] if harm == "cut" else b"")
    found, problems = kept.newest()
    if harm == "remove the best":
        assert found is None
    else:
        assert found is not None
        assert found.epoch == 2
    damaged = folder / "epoch-00002.npz" if harm == "remove the best" else newest
    assert str(problems[0]).startswith(f"{damaged}: this checkpoint cannot be read: ")
    assert str(problems[0]).endswith(
        "; training resumes from the previous one, or else from the start"
    )


def test_what_comes_after_a_damaged_one_is_not_in_the_way_of_a_new_start(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = Checkpoints(folder)
    for epoch, best in [(5, 5), (6, 5), (7, 5)]:
        kept.write(made(epoch, best))
    (folder / "epoch-00005.npz").write_bytes(b"")
    assert kept.newest()[0] is None
    kept.forget_after(0)
    for epoch, best in [(1, 1), (2, 2), (3, 2)]:
        kept.write(made(epoch, best))
        assert kept.arrays(best)
    found, problems = kept.newest()
    assert found is not None
    assert (found.epoch, problems) == (3, [])


def test_nothing_is_unpickled(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez(file, state=np.array([{"best": 1}], dtype=object))
    found, (problem,) = Checkpoints(folder).newest()
    assert found is None
    assert "allow_pickle" in problem.message or "Object arrays" in problem.message
    with pytest.raises(RunError, match=r"epoch-00001\.npz"):
        Checkpoints(folder).arrays(1)


def test_nothing_is_unpacked(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez_compressed(file, state=np.zeros(10_000_000, np.uint8))
    found, (problem,) = Checkpoints(folder).newest()
    assert found is None
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
