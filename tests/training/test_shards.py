"""`tlcli extract --shard`: several processes compute what one would, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.photos import paint_splits
from builders.stores import all_rows

from tlcli.networks import precision
from tlcli.networks.precision import Speedup

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 20}
stages:
  - {name: head}
  - {name: top, freeze_until: block4_pool}
"""


@pytest.fixture
def config(tmp_path: Path, write_recipe):
    photos = paint_splits(tmp_path / "photos", train=16, val=3, test=2)
    return write_recipe(RECIPE.replace("PHOTOS", str(photos)), "small.yaml")


def test_shards_compute_the_rows_of_one_process(config, cli, tmp_path: Path):
    def extract(cache: Path, *words: str) -> dict:
        done = cli("extract", "-c", config, "--cache-dir", cache, "--json", *words)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    whole = extract(tmp_path / "one")
    halves = [extract(tmp_path / "halves", "--shard", f"{number}/2") for number in (1, 2)]
    quarters = [
        extract(tmp_path / f"quarter-{number}", "--shard", f"{number}/4") for number in range(1, 5)
    ]
    for parts in (halves, quarters):
        assert [part["share"]["of_views"] for part in parts] == [159] * len(parts)
        assert sum(part["share"]["views"] for part in parts) == 159
        for boundary in ("block4_pool", "block5_pool"):
            assert sum(part["computed"][boundary] for part in parts) == 159
            assert all(part["stored"][boundary] == 0 for part in parts)
    assert whole["computed"] == {"block4_pool": 159, "block5_pool": 159}
    folders = [str(tmp_path / f"quarter-{number}") for number in range(1, 5)]
    done = cli("cache", "--cache-dir", tmp_path / "joined", "merge", *folders)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "318 rows added, 0 there already"
    expected = all_rows(tmp_path / "one")
    assert len(expected) == 318
    assert all_rows(tmp_path / "halves") == expected
    assert all_rows(tmp_path / "joined") == expected


def test_a_measured_precision_is_each_processs_own(config, cli, monkeypatch):
    monkeypatch.delenv("TLCLI_PRECISION", raising=False)
    monkeypatch.setattr(precision, "gpu_names", lambda: ())
    monkeypatch.setattr(precision, "measure_speedup", lambda: Speedup(0.5, 0.5))
    note = (
        "precision: a share with another --cache-dir measures for itself; write "
        "precision: float32 into the recipe, so that all rows fit together\n"
    )
    for units, words, noted in (
        (("avx512_bf16",), ("--shard", "1/1000"), True),
        (("avx512_bf16",), ("--shard", "1/1000", "-s", "precision=float32"), False),
        ((), ("--shard", "1/1000"), False),
    ):
        monkeypatch.setattr(precision, "bfloat16_units", lambda units=units: units)
        done = cli("extract", "-c", config, *words)
        assert done.exit_code == 0, done.stderr
        assert (note in done.stderr) == noted


def test_what_a_shard_says(config, cli):
    done = cli("extract", "-c", config, "--shard", "1/1000")
    share, *boundaries = done.stdout.splitlines()
    assert share == "share 1 of 1000: 0 views of 159"
    assert boundaries == [
        "block4_pool: 0 rows computed, 0 in the store already",
        "block5_pool: 0 rows computed, 0 in the store already",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "0/4"), "Invalid value for '--shard': shares of 4 are numbered from 1 to 4"),
        (("--shard", "a/b"), "Invalid value for '--shard': 'a/b' is no share; write the third of "
         "sixteen as 3/16"),
        (("--shard", "1/4", "--out", "x"), "--shard fills the store; give --out once all shares "
         "are in it"),
    ],
)  # fmt: skip
def test_a_share_that_cannot_be(config, cli, words: tuple[str, ...], message: str):
    done = cli("extract", "-c", config, *words)
    assert done.exit_code == 2
    assert f"Error: {message}\n" in done.stderr
