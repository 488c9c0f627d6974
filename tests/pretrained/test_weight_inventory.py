"""`tlcli weights` and `tlcli doctor`, as they are typed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from builders.weight_files import SMALL, promise, serving, write_small

from tlcli import __version__
from tlcli.pretrained import weight_sources
from tlcli.pretrained.tensors import tensor_fingerprint
from tlcli.pretrained.weight_cache import weights_file_name, weights_folder
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_inventory import SUMS_FILE
from tlcli.system import download, files


@pytest.fixture
def folder() -> Path:
    return weights_folder(files.cache_folder())


@pytest.fixture
def cached(folder: Path) -> Path:
    return folder / weights_file_name(SMALL.name)


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    write_small(tmp_path / "mine.weights.h5")
    return tmp_path / "mine.weights.h5"


def test_importing_listing_verifying(cli, weights_file: Path, cached: Path, folder: Path):
    assert json.loads(cli("weights", "list", "--json").stdout) == []
    assert cli("weights", "verify").stdout == "no valid weights on this machine\n"
    done = cli("weights", "import", weights_file, "--base", "mobilenetv3small")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{cached}\n", "")
    (entry,) = json.loads(cli("weights", "list", "--json").stdout)
    assert entry == {"base": SMALL.name, "place": "tlcli's cache", "path": str(cached),
                     "bytes": cached.stat().st_size, "verified": ""}  # fmt: skip
    shown = cli("weights", "list").stdout.splitlines()
    assert shown[0].split("  ")[0] == "base"
    assert shown[2].startswith("MobileNetV3Small")
    assert "  not verified  " in shown[2]
    assert len(shown) == 2 + 19 + 2
    done = cli("weights", "verify", "MobileNetV3Small")
    fingerprint = tensor_fingerprint(read_weights(weights_file, SMALL, ""))
    assert (done.exit_code, done.stdout) == (
        0, f"MobileNetV3Small: {cached}: not verified, fingerprint {fingerprint}\n"
    )  # fmt: skip
    cached.write_bytes(cached.read_bytes()[:-50])
    done = cli("weights", "verify")
    assert (done.exit_code, done.stdout) == (1, "no valid weights on this machine\n")
    assert done.stderr.startswith(f"error: {cached}: {cached} is not a complete HDF5 file; ")


def test_importing_what_is_wrong(cli, weights_file: Path, cached: Path, tmp_path: Path):
    done = cli("weights", "import", weights_file, "--base", "VGG16")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: {weights_file}: {weights_file} is MobileNetV3Small; --base says VGG16; "
        "name a file with "
    )
    assert cli("weights", "import", tmp_path / "no.h5", "--base", "VGG16").exit_code == 1
    assert cli("weights", "import", weights_file, "--base", "VGG").stderr.startswith(
        "error: weights: 'VGG' is not a base tlcli knows; did you mean 'VGG"
    )
    vgg = promise(tmp_path / "vgg.h5", "VGG16")
    done = cli("weights", "import", vgg, "--base", "VGG16")
    assert "these are not the ImageNet weights of VGG16: their fingerprint is " in done.stderr
    assert not cached.parent.exists() or list(cached.parent.iterdir()) == []
    assert cli("weights", "import", weights_file, "--base", SMALL.name).exit_code == 0
    # The same ones once more.
    assert cli("weights", "import", weights_file, "--base", SMALL.name).exit_code == 0
    write_small(weights_file, seed=5)
    done = cli("weights", "import", weights_file, "--base", SMALL.name)
    assert done.stderr == (
        f"error: {cached}: has other weights of MobileNetV3Small; replace them with --force\n"
    )
    assert cli("weights", "import", weights_file, "--base", SMALL.name, "--force").exit_code == 0


def test_fetching(cli, weights_file: Path, cached: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(weights_file.read_bytes()) as server:
        entry = {"url": server.url, "hashes": [hashlib.md5(server.data).hexdigest()]}
        table = {**weight_sources._table(), SMALL.name: entry}
        monkeypatch.setattr(weight_sources, "_table", lambda: table)
        done = cli("weights", "fetch", SMALL.name, "--offline")
        assert (done.exit_code, server.paths) == (1, [])
        assert "not on this machine, and tlcli is offline; leave out --offline" in done.stderr
        done = cli("weights", "fetch", SMALL.name)
        assert (done.exit_code, done.stdout) == (0, f"{cached}\n")
        assert cli("--quiet", "weights", "fetch", SMALL.name).stderr == ""
    assert "by published hash" in cli("weights", "list").stdout
    assert cli("weights", "fetch").exit_code == 2
    assert cli("weights", "fetch", "VGG17").exit_code == 1


def test_a_folder_for_another_machine(
    cli, weights_file: Path, cached: Path, tmp_path: Path, monkeypatch
):
    done = cli("weights", "export", tmp_path / "usb")
    assert (done.exit_code, done.stderr) == (
        1,
        "error: weights: the weights of any base are not on this machine; "
        "run `tlcli weights fetch NAME` first\n",
    )
    cli("weights", "import", weights_file, "--base", SMALL.name)
    done = cli("weights", "export", tmp_path / "usb", "VGG16")
    assert "the weights of VGG16 are not on this machine; run `tlcli weights fetch VGG16`" in (
        done.stderr
    )
    done = cli("weights", "export", tmp_path / "usb")
    path = tmp_path / "usb" / cached.name
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "usb" / SUMS_FILE).read_text() == f"{digest}  {cached.name}\n"
    # Once more: the same weights are left alone, and what else the folder holds stays.
    before = path.stat().st_mtime_ns
    sums = tmp_path / "usb" / SUMS_FILE
    sums.write_text(f"{'0' * 64}  other.h5\n{'1' * 64}  {cached.name}\n")
    assert cli("weights", "export", tmp_path / "usb").exit_code == 0
    assert path.stat().st_mtime_ns == before
    assert sums.read_text() == f"{'0' * 64}  other.h5\n{digest}  {cached.name}\n"
    path.write_text("mine")
    done = cli("weights", "export", tmp_path / "usb")
    assert (done.exit_code, done.stderr) == (
        1,
        f"error: {path}: exists already and holds something else; "
        "name another folder, or replace it with --force\n",
    )
    assert path.read_text() == "mine"
    assert cli("weights", "export", tmp_path / "usb", "--force").exit_code == 0
    for actual, expected in zip(
        read_weights(path, SMALL, ""), read_weights(weights_file, SMALL, ""), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)
    cached.unlink()
    weights_file.replace(path)
    path.write_bytes(path.read_bytes()[:-50])
    shown = cli("weights", "list", "--weights-dir", path.parent).stdout
    assert "cannot be used: see `verify`" in shown
    shown = cli("weights", "list", "--weights-dir", tmp_path / "usb", "--json")
    assert [entry["place"] for entry in json.loads(shown.stdout)] == ["TLCLI_WEIGHTS"]


@pytest.fixture
def official(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The published MD5 of the file, which the table takes for the official one."""
    digest = hashlib.md5(weights_file.read_bytes()).hexdigest()
    entry = {"url": "https://example.org/official.h5", "hashes": [digest]}
    table = {**weight_sources._table(), SMALL.name: entry}
    monkeypatch.setattr(weight_sources, "_table", lambda: table)
    return digest


def _verified(cli, *options: object) -> tuple[str, str]:
    """What `list` says of the only file, and the word for it in JSON."""
    (line,) = [
        line for line in cli("weights", "list", *options).stdout.splitlines() if ".h5" in line
    ]
    (entry,) = json.loads(cli("weights", "list", *options, "--json").stdout)
    return line.partition(" MB")[2].strip().rpartition("  ")[0], entry["verified"]


def test_what_was_verified_is_known_here_and_a_claim_elsewhere(
    cli, weights_file: Path, cached: Path, official: str, tmp_path: Path, monkeypatch
):
    cli("weights", "import", weights_file, "--base", SMALL.name)
    by_hash = ("verified by published hash", "published hash")
    assert _verified(cli) == by_hash
    cli("weights", "export", tmp_path / "usb")
    cached.unlink()
    assert _verified(cli, "--weights-dir", tmp_path / "usb") == by_hash
    # Another machine: the same files without the records of this one.
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "other"))
    claim = "not verified (the file itself says: by published hash)"
    assert _verified(cli, "--weights-dir", tmp_path / "usb") == (claim, "")
    (path,) = (tmp_path / "usb").glob("*.h5")
    done = cli("weights", "verify", "--weights-dir", tmp_path / "usb")
    assert done.stdout.startswith(f"MobileNetV3Small: {path}: {claim}, fingerprint ")
    # An import does not make it better, and fetching says how it would become so.
    cli("weights", "import", path, "--base", SMALL.name)
    assert _verified(cli) == (claim, "")
    copy = tmp_path / "other/weights" / path.name
    assert cli("weights", "fetch", SMALL.name).stderr == (
        f"weights of MobileNetV3Small: {claim}; "
        f"to fetch and verify them, delete {copy} and give this command again\n"
    )
    # The official file does.
    cli("weights", "import", weights_file, "--base", SMALL.name)
    assert _verified(cli) == by_hash


def test_options_reach_a_recipe(
    cli, photos: Path, write_recipe, weights_file: Path, tmp_path: Path
):
    text = f"data: {{dir: {photos}}}\nbase: {{name: {SMALL.name}, image_size: 48}}\n"
    config = write_recipe(text, "r.yaml")
    done = cli("check", "--config", config, "--offline")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: r.yaml:2: base.weights: the weights of MobileNetV3Small are not on this machine, "
    )
    (tmp_path / "usb").mkdir()
    weights_file.rename(tmp_path / "usb" / weights_file_name(SMALL.name))
    done = cli("check", "--config", config, "--offline", "--weights-dir", tmp_path / "usb")
    assert done.exit_code == 0
    assert f"{tmp_path}/usb/mobilenetv3small_imagenet_notop.weights.h5" in done.stdout
    assert "note: weights of MobileNetV3Small: " in done.stderr
    assert "TLCLI_OFFLINE" not in os.environ


def test_doctor(cli, weights_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    cli("weights", "import", weights_file, "--base", SMALL.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a/file.h5"
    nowhere = {"url": url, "mirrors": []}
    table = {base: {**entry, **nowhere} for base, entry in weight_sources._table().items()}
    mirror = {"requirement": "carrier==1.0", "sha256": "0" * 64}
    table[SMALL.name] = {**table[SMALL.name], "mirrors": [mirror]}
    monkeypatch.setattr(weight_sources, "_table", lambda: table)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    value = json.loads(cli("doctor", "--json").stdout)
    assert value["versions"]["tlcli"] == __version__
    assert value["devices"][0].startswith(f"CPU with {os.cpu_count()} core")
    folders = {folder["name"]: folder for folder in value["folders"]}
    assert folders["weights of tlcli"]["path"] == str(folder)
    assert folders["weights of tlcli"]["bytes"] > 3_000_000
    assert folders["weights of Keras"]["bytes"] is None
    assert folders["features"]["free"] > 0
    assert value["sources"][0] == {
        "source": "127.0.0.1 (the official files)", "answer": "connection refused"
    }  # fmt: skip
    assert value["sources"][1]["source"] == "the package carrier 1.0 (MobileNetV3Small)"
    assert value["sources"][1]["answer"] != "yes"
    monkeypatch.setattr(download, "probe", lambda url: "")
    shown = cli("doctor", "--offline").stdout
    assert "all                not asked: tlcli is offline" in shown
    assert shown.startswith(f"tlcli {__version__}\npython 3.")
