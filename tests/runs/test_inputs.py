"""What a run recorded of its photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto, read_split
from tlcli.system import files

HEADS = ("path", "label", "split", "sha256")


def refusal(run: Run) -> str:
    with pytest.raises(RunError) as caught:
        read_split(run)
    return str(caught.value).replace(str(run.path), "RUN")


def test_names_of_every_kind_come_back(tmp_path: Path):
    run = Run(tmp_path)
    rows = [
        RecordedPhoto(Path("a,b\n'\".png"), "<b>", "train", "0" * 64),
        RecordedPhoto(Path("/far/고양이.png"), "개", "test", "1" * 64),
    ]
    table = [(row.path, row.label, row.split, row.sha256) for row in rows]
    files.write_table(run.file(directory.SPLIT), HEADS, table)
    assert read_split(run) == tuple(rows)


def test_damage_is_located(tmp_path: Path):
    run = Run(tmp_path)
    assert refusal(run) == ("RUN: has no split.csv; name a run that `tlcli finetune` has written")
    path = run.file(directory.SPLIT)
    path.write_text("path,label\n")
    assert refusal(run) == "RUN/split.csv: has no column split, sha256"
    path.write_text("path,label,split,sha256\na.png,cat,test,00\nb.png,cat,test\n")
    assert refusal(run) == "RUN/split.csv:3: the line is not complete"
    path.write_bytes(b"path,label,split,sha256\na.png,\xff,test,00\n")
    assert refusal(run).startswith("RUN/split.csv: cannot be read: 'utf-8' codec")
