"""Plans that a machine has no room for are refused with the figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcli.errors import TlcliError
from tlcli.features import disk_space
from tlcli.recipe.recipe import Recipe
from tlcli.training import memory
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight

VGG16 = 14_714_688
TOP = 2 * 2 * 512 * 4  # bytes of a row at 64 px


@pytest.fixture
def refused(load: Callable[..., Recipe]) -> Callable[..., list[str]]:
    def refused(more: str, *overrides: str) -> list[str]:
        with pytest.raises(TlcliError) as caught:
            make_plan(preflight(load(more, *overrides)))
        return str(caught.value).split("\n")

    return refused


def test_space_that_may_not_suffice(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    disk = SimpleNamespace(total=10**9, free=10**6)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: disk)
    stages = "stages: [{name: head}, {name: tuning, freeze_until: block4_pool}]\n"
    made = make_plan(preflight(load(stages), cache=tmp_path / "new", run=False))
    assert [f"{problem.severity}: {problem}" for problem in made.problems] == [
        f"warning: {tmp_path}: the store may need 1.6 MB, but only 1.0 MB is free; use fewer "
        "augment.views, features.dtype=float16, augment.views=live or --cache-dir"
    ]


def test_a_head_that_no_memory_holds_is_refused_with_the_estimate(refused, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 24_000_000_000)
    units = 1_000_000_000
    trainable = 512 * units + units + units * 3 + 3
    # Weights, gradients, two moments and a copy of what trains; a batch of rows and its gradients.
    assert round(4 * (VGG16 + 5 * trainable + 2 * 32 * TOP // 4) / 1e12, 1) == 10.3
    line, _ = refused("stages:\n  - {name: head}\n", f"head.hidden=[{units}]")
    assert line == (
        f"--set head.hidden=[{units}]: stage 'head' trains {trainable:,} parameters in batches of "
        "32 and needs at least 10.3 TB of memory, but this machine has 24.0 GB; "
        "use fewer head.hidden units, head.pooling=avg, or a lower batch_size"
    )


def test_images_that_no_memory_holds_are_refused(refused, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 24_000_000_000)
    needs = 4 * 32 * (3 + 64) * 4096**2  # a batch of photos, and block1_conv1 of it
    (line,) = refused("stages:\n  - {name: head}\n", "base.image_size=4096")
    assert round(needs / 1e9, 1) == 143.9
    assert line == (
        "--set base.image_size=4096: a forward pass of 32 photos of 4,096 x 4,096 px needs at "
        "least 143.9 GB of memory, but this machine has 24.0 GB; use a smaller size"
    )


def test_a_store_that_no_disk_holds_is_refused(refused, monkeypatch: pytest.MonkeyPatch):
    disk = SimpleNamespace(total=10**6, free=10**5)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: disk)
    lines = refused("augment: {views: 1000, hue: 0.1}\nstages:\n  - {name: head}\n")
    assert lines[-2].endswith(
        "the whole disk has 1.0 MB; use fewer augment.views, features.dtype=float16, "
        "augment.views=live or --cache-dir"
    )


def test_a_run_that_finds_no_room_is_refused(refused, load, tmp_path: Path, monkeypatch):
    """At the start, not at its first checkpoint."""
    stages = "stages: [{name: head}, {name: tuning, freeze_until: block4_pool}]\n"
    head = 512 * 256 + 256 + 256 * 3 + 3
    model, tuned = 4 * (VGG16 + head), 4 * (3 * (512 * 512 * 9 + 512) + head)
    disk = SimpleNamespace(total=10**10, free=10**8)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: disk)
    assert round((model + 3 * tuned) / 1e6, 1) == 145.9
    (line,) = refused(stages)
    assert line.endswith(
        ": the run needs 145.9 MB, but only 100.0 MB is free; "
        "free some, or name a folder on another disk with --out"
    )
    disk.free = 5 * 10**8
    made = make_plan(preflight(load(stages), out=tmp_path / "run"))
    assert round((model + 5 * 3 * tuned) / 1e6, 1) == 492.1
    assert made.problems == ()
    disk.free = 4 * 10**8
    made = make_plan(preflight(load(stages), out=tmp_path / "run"))
    assert [f"{problem.severity}: {problem}" for problem in made.problems] == [
        f"warning: {tmp_path}: the run may need 492.1 MB, but only 400.0 MB is free; "
        "free some, or name a folder on another disk with --out"
    ]
    assert make_plan(preflight(load(stages), run=False)).problems == ()


def test_the_machines_memory_is_known():
    available = memory.available_memory()
    assert available is None or 10**8 < available < 10**14
