"""The file that keeps the split: what it fixes, how it grows, what people may change in it."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from builders.data_folders import data_block, notes, splits_by_name, write_classes, write_files

from tlcli.data import dataset, leakage
from tlcli.data.dataset import Index
from tlcli.data.split_file import keep_split
from tlcli.errors import DataError
from tlcli.recipe.settings import Data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "split.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    write_classes(folder, "cats", "dogs", photos=40)
    return folder


def read(root: Path, file: Path, *, val: float = 0.15, test: float | None = 0.15) -> Index:
    return dataset.read_index(data_block(root, val=val, test=test, file=file))


def keep(root: Path, file: Path, **shares: float) -> Index:
    """Read an index and write its split, as a command that trains does."""
    index = read(root, file, **shares)
    keep_split(file, index.divided_lines())
    return index


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def errors(root: Path, file: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(root, file)
    return [str(problem).replace(str(file), "FILE") for problem in caught.value.problems]


def test_the_file_lists_every_photo(root: Path, file: Path):
    index = keep(root, file)
    assert [(r["path"], r["label"], r["split"], r["sha256"]) for r in rows(file)] == [
        (
            item.path.relative_to(root).as_posix(),
            index.classes[item.label],
            item.split,
            hashlib.sha256(item.path.read_bytes()).hexdigest(),
        )
        for item in index.items
    ]
    assert splits_by_name(read(root, file)) == splits_by_name(index)


def test_reading_photos_writes_no_file(root: Path, file: Path):
    read(root, file)
    assert not file.exists()


def test_a_file_that_has_every_photo_is_not_written_again(root: Path, file: Path):
    keep(root, file)
    file.chmod(0o444)
    before = file.stat()
    keep(root, file)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_photo_moves_and_new_ones_fill_the_shares(root: Path, file: Path):
    before = splits_by_name(keep(root, file))
    text = file.read_text()
    for more in (1, 10, 100):
        write_files(root, *(f"cats/{more}-{number}.jpg" for number in range(more)))
        index = keep(root, file)
        after = splits_by_name(index)
        assert {path: after[path] for path in before} == before
        before = after
        cats = {split: by_class["cats"] for split, by_class in index.counts().items()}
        assert abs(cats["val"] - 0.15 * sum(cats.values())) <= 1
        assert abs(cats["test"] - 0.15 * sum(cats.values())) <= 1
        assert file.read_text().startswith(text)
        text = file.read_text()
        assert notes(index, "warning") == []
    assert len(rows(file)) == 80 + 111


def test_a_photo_is_known_wherever_it_lies_and_whatever_its_class(root: Path, file: Path):
    before = keep(root, file)
    by_digest = {item.digest: item.split for item in before.items}
    (root / "cats").rename(root / "kittens")
    (root / "dogs/0.jpg").rename(root / "kittens/was a dog.jpg")
    after = keep(root, file)
    assert {item.digest: item.split for item in after.items} == by_digest


def test_photos_that_are_gone_stay_in_the_file(root: Path, file: Path):
    keep(root, file)
    before = file.read_text()
    bytes_ = (root / "cats/0.jpg").read_bytes()
    split = splits_by_name(read(root, file))["cats/0.jpg"]
    (root / "cats/0.jpg").unlink()
    keep(root, file)
    assert file.read_text() == before
    (root / "cats/back.jpg").write_bytes(bytes_)
    assert splits_by_name(keep(root, file))["cats/back.jpg"] == split


def test_what_people_change_counts_and_stays(root: Path, file: Path):
    """Saved by a spreadsheet: with a byte order mark, semicolons and a column of their own."""
    index = keep(root, file)
    chosen = next(item.path.relative_to(root).as_posix() for item in index.of("train"))
    edited = [
        f"{r['path']};{'Test' if r['path'] == chosen else r['split']};{r['sha256'].upper()};;mine"
        for r in rows(file)
    ]
    text = "\r\n".join(["Path;Split;SHA256;Label;Remark", *edited, ""])
    file.write_text("\ufeff" + text, encoding="utf-8", newline="")
    write_files(root, "cats/new.jpg")
    after = keep(root, file)
    assert splits_by_name(after)[chosen] == "test"
    lines = file.read_text().splitlines()
    assert lines[:-1] == ["Path;Split;SHA256;Label;Remark", *edited]
    assert lines[-1].startswith("cats/new.jpg;")
    assert lines[-1].endswith(";cats;")


def test_a_split_file_of_a_run_may_be_used(root: Path, file: Path):
    """`split.csv` of a run has whole paths: the photos are known by their hashes."""
    index = read(root, file)
    flipped = {"train": "val", "val": "test", "test": "train"}
    lines = [f"{item.path},x,{flipped[item.split]},{item.digest}" for item in index.items]
    file.write_text("\n".join(["path,label,split,sha256", *lines]), encoding="utf-8")
    after = dataset.build_index(data_block(root, val=0.15, test=0.15, file=file))
    assert [item.split for item in after.items] == [flipped[item.split] for item in index.items]


def test_wrong_lines_are_named(root: Path, file: Path):
    keep(root, file)
    lines = file.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    other = {"train": "val", "val": "test", "test": "train"}[cells[5][2]]
    lines[1] = ",".join([*cells[1][:2], "tran", cells[1][3]])
    lines[2] = ",".join([*cells[2][:2], "", cells[2][3]])
    lines[3] = ",".join([*cells[3][:3], "abc"])
    lines[4] = ",".join(cells[4][:3])
    lines.append(",".join([*cells[5][:2], other, cells[5][3]]))
    lines += ["x,y,z,0"] * 8
    file.write_text("\n".join(lines), encoding="utf-8")
    before = file.read_bytes()
    assert errors(root, file) == [
        "FILE:2: has the unknown split 'tran'; did you mean 'train'?",
        "FILE:3: has no split; write train, val or test",
        "FILE:4: 'abc' is no SHA-256; delete the line, to have it written anew",
        *(
            f"FILE:{number}: '0' is no SHA-256; delete the line, to have it written anew"
            for number in range(83, 87)
        ),
        "FILE: 4 more lines like that, up to line 90; delete the line, to have it written anew",
        "FILE:5: has 3 columns, not 4; complete it",
        f"FILE:82: contradicts line 6 about {cells[5][0]}; keep one of the lines",
    ]
    with pytest.raises(DataError):
        keep_split(file, [])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,label\na.jpg,cat\n", "is not a split file: it has no column split, sha256"),
        (b"\xff\xfe\x00\x01", "is not a split file: it has no column path, split, sha256"),
        (b'path,split,sha256\n"a,b\n', "cannot be read: unexpected end of data"),
    ],
)
def test_a_file_of_something_else_is_left_alone(
    root: Path, file: Path, content: bytes, message: str
):
    file.write_bytes(content)
    assert errors(root, file) == [f"FILE: {message}; name another file with data.split.file"]
    with pytest.raises(DataError):
        keep_split(file, [])
    assert file.read_bytes() == content


def test_an_empty_file_is_filled(root: Path, file: Path):
    file.touch()
    keep(root, file)
    assert len(rows(file)) == 80


def test_a_folder_that_is_missing(root: Path, tmp_path: Path):
    assert errors(root, tmp_path / "no/split.csv") == [
        f"{tmp_path}/no: no such folder; make it, or name another file with data.split.file"
    ]


def test_other_shares_than_those_of_the_file_are_said(root: Path, file: Path):
    keep(root, file)
    index = read(root, file, val=0.3)
    assert [line.replace(str(file), "FILE") for line in notes(index, "warning")] == [
        "FILE: has 15.0% of the photos in val; data.split.val asks for 30.0%, and no photo in the "
        "file is moved; set data.split.val=0.15 if that is meant, or rename the file to divide all "
        "photos anew"
    ]
    assert index.counts()["val"] == {"cats": 6, "dogs": 6}
    index = read(root, file, test=0)
    (line,) = notes(index, "warning")
    assert "has 15.0% of the photos in test; data.split.test asks for 0.0%" in line


def test_a_file_that_changes_meanwhile_is_not_written_over(root: Path, file: Path):
    index = read(root, file)
    keep(root, file)
    text = file.read_text().replace(",train,", ",test,", 1)
    file.write_text(text)
    with pytest.raises(DataError, match=r"was changed: .* is in test now, not in train"):
        keep_split(file, index.divided_lines())
    assert file.read_text() == text


def test_a_file_that_cannot_be_written(root: Path, file: Path, monkeypatch: pytest.MonkeyPatch):
    index = read(root, file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr("tlcli.system.files.write_text", full)
    with pytest.raises(DataError, match="cannot be written: no space left on device"):
        keep_split(file, index.divided_lines())


def test_folders_decide_over_the_file(tmp_path: Path, file: Path):
    root = tmp_path / "pets"
    write_classes(root, "train/a", "train/b", photos=20)
    write_classes(root, "val/a", "val/b", photos=4)
    index = keep(root, file)
    assert len(rows(file)) == 40  # the photos of val are where their folder says
    moved = next(item for item in index.of("test") if item.label == 0)
    moved.path.rename(root / "val/a/moved.jpg")
    index = keep(root, file)
    assert splits_by_name(index)["val/a/moved.jpg"] == "val"
    assert [line.replace(str(file), "FILE") for line in notes(index, "warning")] == [
        "FILE: 1 photo in another split than their folder or table says, such as val/a/moved.jpg; "
        "the folder or the table decides"
    ]


def test_a_file_that_decides_nothing(tmp_path: Path, file: Path):
    root = tmp_path / "pets"
    write_classes(root, *(f"{split}/{name}" for split in ("train", "val", "test") for name in "ab"))
    index = keep(root, file)
    assert notes(index, "note") == [f"{file}: not used: the data say the split of every photo"]
    assert not file.exists()


def test_new_photos_of_a_group_go_where_it_is(tmp_path: Path, file: Path):
    names = [f"{dog}-{n}.jpg" for dog in range(30) for n in range(3)]
    write_files(tmp_path, *names)
    table = tmp_path / "table.csv"

    def index_of(names: list[str]) -> Index:
        lines = [
            f"{name},{'ab'[int(name.split('-')[0]) % 2]},dog {name.split('-')[0]}" for name in names
        ]
        table.write_text("\n".join(["path,label,group", *lines]), encoding="utf-8")
        index = dataset.read_index(Data(csv=table, split={"file": file}))
        keep_split(file, index.divided_lines())
        return index

    index_of([name for name in names if not name.endswith("-2.jpg")])
    index = index_of(names)
    splits = {(item.group, item.split) for item in index.items}
    assert len(splits) == len({group for group, _ in splits}) == 30

    torn = rows(file)[0]  # by hand
    other = "val" if torn["split"] == "train" else "train"
    line = ",".join([torn["path"], torn["label"], torn["split"]])
    file.write_text(file.read_text().replace(line, ",".join([torn["path"], torn["label"], other])))
    (flaw,) = leakage.resolve_copies(index_of(names), "error").findings
    assert (flaw.kind, flaw.severity) == ("group across splits", "error")
    assert flaw.hint == (
        "write one split for each group, or leave its split out of the table or split file"
    )
