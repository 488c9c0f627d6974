"""How weights may be had: what options and environment variables say of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders.weight_files import SMALL, write_small

from tlcli.errors import WeightsError
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import weights_file_name
from tlcli.pretrained.weight_sources import mirrors_in_order


@pytest.mark.parametrize(
    ("value", "expected"), [("", False), ("0", False), ("no", False), ("1", True), ("yes", True)]
)
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool):
    assert not WeightsAccess.from_options().offline
    monkeypatch.setenv("TLCLI_OFFLINE", value)
    assert WeightsAccess.from_options().offline is expected
    assert WeightsAccess.from_options(offline=True).offline


def test_a_folder(monkeypatch: pytest.MonkeyPatch):
    assert WeightsAccess.from_options().folder is None
    monkeypatch.setenv("TLCLI_WEIGHTS", "")
    assert WeightsAccess.from_options().folder is None
    monkeypatch.setenv("TLCLI_WEIGHTS", "usb")
    assert WeightsAccess.from_options().folder == Path("usb")
    assert WeightsAccess.from_options(folder=Path("mine")).folder == Path("mine")


def test_an_address_is_no_folder(monkeypatch: pytest.MonkeyPatch):
    words = (
        "https://example.org/w is a web address; tlcli reads files: download it and name the file"
    )
    with pytest.raises(WeightsError) as caught:
        WeightsAccess.from_options(folder=Path("https://example.org/w"))
    assert str(caught.value) == f"--weights-dir: {words}"
    monkeypatch.setenv("TLCLI_WEIGHTS", "https://example.org/w")
    with pytest.raises(WeightsError) as caught:
        WeightsAccess.from_options()
    assert str(caught.value) == f"TLCLI_WEIGHTS: {words}"
    monkeypatch.setenv("TLCLI_MIRRORS", "https://example.org/w")
    with pytest.raises(WeightsError) as caught:
        mirrors_in_order("VGG16")
    assert str(caught.value) == f"TLCLI_MIRRORS: {words}"


def test_options_of_one_command_do_not_reach_the_next(cli, photos, write_recipe, tmp_path: Path):
    text = f"data: {{dir: {photos}}}\nbase: {{name: {SMALL.name}, image_size: 48}}\n"
    config = write_recipe(text, "r.yaml")
    write_small(tmp_path / weights_file_name(SMALL.name))
    before = dict(os.environ)
    offline = cli("check", "--config", config, "--offline", "--weights-dir", tmp_path)
    assert f"{tmp_path}/mobilenetv3small_imagenet_notop.weights.h5" in offline.stdout
    assert cli("check", "--config", config, "--offline").exit_code == 1
    later = cli("check", "--config", config)
    assert later.exit_code == 0
    assert str(tmp_path / weights_file_name(SMALL.name)) not in later.stdout
    assert dict(os.environ) == before
