"""Photos in object stores: the pixels, hashes and rows of the same photos on a disk."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from builders.photos import paint_splits
from builders.stores import all_rows

from tlcli.data import folders
from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, ImageError, TlcliError
from tlcli.images import decode
from tlcli.images.contents import read_contents
from tlcli.system import object_stores

RECIPE = """
data: {SOURCE}
base: {name: LeNet5, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 20}
stages: [{name: head}]
"""


@pytest.fixture
def store(tmp_path: Path):
    """Photos in the store in memory, and the same ones in a folder."""
    fsspec = pytest.importorskip("fsspec")
    folder = paint_splits(tmp_path / "photos", train=3, val=2, test=1)
    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.png"):
        memory.pipe(f"/bucket/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    memory.pipe("/bucket/photos/train/red/.hidden.png", b"no photo")
    yield memory
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("s3://bucket/a.jpg", "s3://bucket/a.jpg"),
        (Path("s3://bucket/a.jpg"), "s3://bucket/a.jpg"),
        (Path("/home/me/gs:/bucket/a.jpg"), "gs://bucket/a.jpg"),
        ("https://example.org/a.jpg", None),
        ("file:///a.jpg", None),
        ("C:/photos/a.jpg", None),
        ("photos/a.jpg", None),
    ],
)
def test_what_is_in_an_object_store(path: str | Path, address: str | None):
    assert object_stores.store_address(path) == address


def test_names_that_no_path_can_hold():
    assert str(object_stores.as_path("s3://bucket/a.jpg")) == "s3:/bucket/a.jpg"
    for address in ("s3://bucket//a.jpg", "s3://bucket/./a.jpg"):
        with pytest.raises(ValueError, match="which no path can hold"):
            object_stores.as_path(address)


def test_a_photo_is_the_same_from_a_store_and_from_a_disk(store, tmp_path: Path):
    local = tmp_path / "photos/train/red/00.png"
    remote = Path("memory://bucket/photos/train/red/00.png")
    assert hash_file(remote) == hash_file(local)
    assert read_contents(remote) == read_contents(local)
    assert decode.decode(remote).tobytes() == decode.decode(local).tobytes()
    with pytest.raises(DataError) as raised:
        hash_file(remote.with_name("gone.png"))
    assert str(raised.value).startswith("memory://bucket/photos/train/red/gone.png: cannot be read")
    with pytest.raises(ImageError, match="no such file"):
        decode.decode(remote.with_name("gone.png"))
    store.pipe("/bucket/photos/train/red/00.png", b"something else")
    with pytest.raises(ImageError, match="has changed since this command listed it"):
        read_contents(remote, hash_file(local))


def test_a_folder_of_a_store_is_listed_as_one_of_a_disk(store, tmp_path: Path):
    local, remote = folders.list_tree(tmp_path / "photos"), folders.list_tree(BUCKET)
    names = [path.relative_to(tmp_path).as_posix() for path in local.photos]
    assert [object_stores.store_address(path) for path in remote.photos] == [
        f"memory://bucket/{name}" for name in names
    ]
    assert [path.name for path in remote.junk] == [".hidden.png"]
    assert folders.is_folder(BUCKET) and folders.exists(BUCKET)
    assert not folders.is_folder(BUCKET / "train/red/00.png")
    assert not folders.exists(BUCKET / "nothing")
    with pytest.raises(DataError) as raised:
        folders.expect_folder(BUCKET / "nothing")
    assert str(raised.value) == (
        "memory://bucket/photos/nothing: no such folder in the store; check the address"
    )


BUCKET = Path("memory://bucket/photos")


def list_addresses(store) -> list[str]:
    """The lines of a table of all photos in the store, by their addresses."""
    return ["path,label,split"] + [
        f"memory://{name.strip('/')},{name.split('/')[-2]},{name.split('/')[-3]}"
        for name in store.find("/bucket")
        if name.endswith(".png") and not name.endswith(".hidden.png")
    ]


def test_rows_of_a_store_are_those_of_a_disk(store, cli, tmp_path: Path, write_recipe):
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(list_addresses(store)), encoding="utf-8")
    store.pipe("/bucket/labels.csv", table.read_bytes().replace(b"memory://bucket/", b""))
    store.pipe("/bucket/lists/addresses.csv", table.read_bytes())
    sources = {
        "disk": f"dir: '{tmp_path / 'photos'}'",
        "folder": "dir: 'memory://bucket/photos'",
        "table": f"csv: '{table}'",
        "table-there": "csv: 'memory://bucket/labels.csv'",
        "addresses-there": "csv: 'memory://bucket/lists/addresses.csv'",
    }
    for name, source in sources.items():
        config = write_recipe(RECIPE.replace("SOURCE", source), f"{name}.yaml")
        done = cli("extract", "-c", config, "--cache-dir", tmp_path / name, "--json")
        assert done.exit_code == 0, done.stderr
        assert sum(json.loads(done.stdout)["computed"].values()) == 36
        assert all_rows(tmp_path / name) == all_rows(tmp_path / "disk")
        assert cli("check", "-c", config, "--cache-dir", tmp_path / "check").exit_code == 0


@pytest.mark.slow
def test_a_run_on_photos_of_a_store(store, cli, tmp_path: Path, write_recipe, monkeypatch):
    monkeypatch.setenv("TLCLI_RUNS", str(tmp_path / "runs"))
    more = "\nhead: {hidden: [4]}\n"
    predictions = {}
    for name, source in (("disk", tmp_path / "photos"), ("store", "memory://bucket/photos")):
        recipe = RECIPE.replace("SOURCE", f"dir: '{source}'").replace(
            "name: head", "name: h, epochs: 1"
        )
        config, run = write_recipe(recipe + more, f"{name}.yaml"), tmp_path / name
        for words in (
            ("finetune", "-c", config, "--out", run, "--cache-dir", tmp_path / "cache"),
            ("evaluate", "--run", run),
            ("report", "--run", run, "--out", run / "report.html"),
        ):
            done = cli(*words)
            assert done.exit_code == 0, done.stderr
        predictions[name] = (run / "predictions-test.csv").read_bytes()
        page = (run / "report.html").read_text("utf-8")
        assert page.count("data:image/") > 3 and "is missing" not in page
    assert predictions["store"] == predictions["disk"]
    for name in ("recipe.yaml", "split.csv", "evaluation-test.json", "report.html"):
        text = (tmp_path / "store" / name).read_text("utf-8")
        assert "memory://bucket/photos" in text and not ONE_SLASH.search(text)


def test_an_address_in_a_table_that_leads_nowhere(store, cli, tmp_path: Path, write_recipe):
    table = tmp_path / "labels.csv"
    rows = [("memory://bucket/photos/train/red/00.png", "a"), ("memory://bucket/x.png", "b")]
    rows += [("memory://bucket//y.png", "b")]
    table.write_text("".join(f"{path},{label}\n" for path, label in rows), encoding="utf-8")
    config = write_recipe(RECIPE.replace("SOURCE", f"csv: '{table}'"), "r.yaml")
    err = cli("check", "-c", config, "--cache-dir", tmp_path / "cache").stderr
    assert f"{table}:3: names memory://bucket//y.png, which has //, . or .. in its name" in err
    assert "x.png" in err and "cannot be read" in err


def test_damaged_photos_of_a_store_are_found_before_anything_is_computed(store, cli, write_recipe):
    store.pipe("/bucket/photos/train/red/00.png", b"no photo")
    config = write_recipe(RECIPE.replace("SOURCE", "dir: 'memory://bucket/photos'"), "r.yaml")
    done = cli("finetune", "-c", config, "--dry-run")
    assert done.exit_code == 1
    assert "00.png: cannot be decoded: not an image" in done.stderr


#: An address as a `Path` shows it.
ONE_SLASH = re.compile("memory:/(?!/)")


def test_everything_that_is_said_has_both_slashes(store, cli, tmp_path: Path, write_recipe):
    store.pipe("/bucket/photos/train/red/00.png", b"no photo")
    store.pipe("/bucket/photos/notes.txt", b"")
    store.pipe("/elsewhere/labels.csv", "\n".join(list_addresses(store)).encode())
    outputs = {}
    for name, source in (
        ("folder", "dir: 'memory://bucket/photos'"),
        ("table", "csv: 'memory://elsewhere/labels.csv'"),
        ("gone", "csv: 'memory://elsewhere/nothing.csv'"),
    ):
        config = write_recipe(RECIPE.replace("SOURCE", source), f"{name}.yaml")
        for words in ((), ("--all",), ("--json",), ("--fix-list", tmp_path / f"{name}.txt")):
            done = cli("check", "-c", config, *words)
            outputs[name, *words[:1]] = done.stdout + done.stderr
    store.rm("/elsewhere", recursive=True)
    assert not any(ONE_SLASH.search(text) for text in outputs.values())
    red = "memory://bucket/photos/train/red/00.png"
    assert f"error: {red}: cannot be decoded: not an image" in outputs["folder",]
    assert f"error: {red}: cannot be decoded: not an image" in outputs["table", "--all"]
    assert f'"{red}"' in outputs["table", "--json"]
    assert (
        "error: memory://elsewhere/nothing.csv: no such table; check the path\n" in outputs["gone",]
    )
    assert (tmp_path / "folder.txt").read_text("utf-8").endswith("\ntrain/red/00.png\n")
    assert (tmp_path / "table.txt").read_text("utf-8").endswith(f"\n{red}\n")
    # What a program catches has the same words.
    with pytest.raises(TlcliError) as raised:
        folders.expect_folder(BUCKET / "nothing")
    assert str(raised.value).startswith("memory://bucket/photos/nothing: no such folder")


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_missing_is_a_line(cli, monkeypatch, write_recipe, tmp_path: Path, installed: bool):
    if installed:
        pytest.importorskip("fsspec")
        monkeypatch.setitem(sys.modules, "s3fs", None)
        what = "s3://bucket/photos: Install s3fs to access S3"
    else:
        monkeypatch.setattr(object_stores.importlib.util, "find_spec", lambda name: None)
        what = "s3://bucket/photos: is in an object store"
    config = write_recipe(RECIPE.replace("SOURCE", "dir: 's3://bucket/photos'"), "r.yaml")
    done = cli("check", "-c", config, "--cache-dir", tmp_path / "cache")
    assert done.exit_code == 1
    line = f"error: {what}; install what reads it with pip install 'tlcli[remote]'\n"
    assert line in done.stderr


def test_errors_of_a_store_are_errors_of_reading(store, monkeypatch):
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(type(store), "cat_file", refuse)
    with pytest.raises(OSError, match="RuntimeError: no credentials"):
        object_stores.read_object("memory://bucket/photos/train/red/00.png")
    with pytest.raises(TlcliError, match="cannot be read: RuntimeError: no credentials"):
        hash_file(BUCKET / "train/red/00.png")
