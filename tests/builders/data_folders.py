"""Data folders for tests, and what an index says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.data import dataset
from tlcli.data.dataset import Index
from tlcli.errors import DataError
from tlcli.recipe.settings import Data


def data_block(
    root: Path,
    *,
    val: float = 0.0,
    test: float | None = 0.0,
    bad: str = "error",
    file: Path | None = None,
) -> Data:
    """The `data` block of a recipe for the photos in `root`."""
    return Data(dir=root, split={"val": val, "test": test, "file": file}, on_bad_image=bad)


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
