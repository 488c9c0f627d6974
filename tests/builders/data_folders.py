"""Data folders for tests, and what an index says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcli.data import dataset
from tlcli.data.dataset import Index
from tlcli.errors import DataError


def data_block(root: Path, *, val: float = 0.0, test: float = 0.0, bad: str = "error"):
    """As much of a recipe's `data` block as an index needs."""
    split = SimpleNamespace(val=val, test=test)
    return SimpleNamespace(dir=root, csv=None, exclude=None, split=split, on_bad_image=bad)


def write_files(root: Path, *names: str, content: bytes | None = None) -> None:
    """Write files whose bytes are their names, unless `content` is given."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() if content is None else content)


def write_classes(root: Path, *folders: str, photos: int = 2) -> None:
    for folder in folders:
        write_files(root, *(f"{folder}/{number}.jpg" for number in range(photos)))


def index_errors(root: Path, **settings: object) -> list[str]:
    """The errors that `read_index` raises, as lines with ROOT for `root`."""
    with pytest.raises(DataError) as caught:
        dataset.read_index(data_block(root, **settings))
    assert {problem.severity for problem in caught.value.problems} == {"error"}
    return [str(problem).replace(str(root), "ROOT") for problem in caught.value.problems]


def notes(index: Index, severity: str) -> list[str]:
    return [
        str(problem).replace(str(index.root), "ROOT")
        for problem in index.notes
        if problem.severity == severity
    ]


def splits_by_name(index: Index) -> dict[str, str]:
    return {name_in_index(index, item): item.split for item in index.items}


def name_in_index(index: Index, item: dataset.Item) -> str:
    """The path of a photo, seen from the root."""
    return item.path.relative_to(index.root).as_posix()


def photo_for(split: str, number: int, *, val: float = 0.3, test: float = 0.2) -> bytes:
    """The bytes of the `number`th made-up photo that the hash sends to `split`."""
    matching = 0
    for trial in range(10_000):
        content = b"%d" % trial
        share = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
        assigned = "test" if share < test else "val" if share < test + val else "train"
        if assigned == split:
            if matching == number:
                return content
            matching += 1
    raise AssertionError("no such photo")
