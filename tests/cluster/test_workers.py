"""Several processes that train one run over loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders.commands import ROOT
from builders.photos import paint_splits
from rig import outcome

from tlcli.cluster.addresses import Workers
from tlcli.cluster.meeting import meet
from tlcli.cluster.workers import make_same_plan
from tlcli.errors import RunError

RECIPE = """
data: {dir: photos}
base: {name: BASE, weights: random, image_size: 32, batch_norm: frozen}
head: {hidden: [8], dropout: DROPOUT, l2: 0.01}
augment: {views: 1, horizontal_flip: true, mixup: MIXUP}
precision: float32
batch_size: 8
stages:
  - {name: head, epochs: 3, learning_rate: 0.05, optimizer: sgd, class_weights: balanced}
  - {name: top, freeze_until: CUT, epochs: 3, learning_rate: 0.001, early_stopping: 2}
"""
VGG16 = {"BASE": "VGG16", "CUT": "block5_conv2"}
MOBILE = {"BASE": "MobileNetV2", "CUT": "block_16_project"}


def addresses(count: int = 2) -> tuple[str, ...]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)


def together(*plans: SimpleNamespace) -> list[str | None]:
    """What each worker hears of the plans; None where all are the same."""
    listed = addresses(len(plans))

    def take_part(number: int) -> str | None:
        with meet(Workers(listed, number)) as group:
            try:
                assert make_same_plan(group, lambda: plans[number]) is plans[number]
            except RunError as error:
                return str(error).replace(listed[number], "ADDRESS").replace(listed[1], "ADDRESS")
            return None

    with ThreadPoolExecutor(len(plans)) as pool:
        return [future.result() for future in [pool.submit(take_part, n) for n in (0, 1)]]


@pytest.fixture
def plan(parts):
    def make(*overrides: str) -> SimpleNamespace:
        recipe, index = parts(*overrides)
        return SimpleNamespace(recipe=recipe, index=index)

    return make


HINT = "all workers need the same recipe and photos"


def test_the_same_recipe_and_photos(plan):
    assert together(plan(), plan()) == [None, None]


def test_other_recipes_are_named_on_both(plan):
    lines = together(plan(), plan("seed=3", "stages.0.epochs=2"))
    for heard in lines:
        assert heard == (
            f"worker 1 (ADDRESS): has seed 3; worker 0 has 0; {HINT}\n"
            f"worker 1 (ADDRESS): has stages.0.epochs 2; worker 0 has 30; {HINT}"
        )


def test_a_precision_that_each_machine_would_choose_is_no_difference(plan):
    chosen = [plan("precision=auto") for _ in range(2)]
    for made, precision in zip(chosen, ("mixed_bfloat16", "float32"), strict=True):
        made.recipe = made.recipe.with_precision(precision)
    assert together(*chosen) == [None, None]
    named = plan("precision=float32")
    for heard in together(chosen[0], named):
        assert heard == f"worker 1 (ADDRESS): has precision float32; worker 0 has auto; {HINT}"


def test_other_photos_are_named_on_both(plan, photos):
    first = plan()
    moved = next((photos / "train").glob("*/*"))
    content = moved.read_bytes()
    moved.unlink()
    less = plan()
    assert set(together(first, less)) == {
        f"worker 1 (ADDRESS): has 38 photos; worker 0 has 39; {HINT}"
    }
    moved.with_name(f"a-new-one{moved.suffix}").write_bytes(content + b"x")
    assert set(together(first, plan())) == {
        "worker 1 (ADDRESS): has photos with other bytes, classes or splits than worker 0; " + HINT
    }


def start(folder: Path, *words: str, log: str) -> subprocess.Popen[bytes]:
    with (folder / log).open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tlcli", "finetune", "--config", "recipe.yaml", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TLCLI_CACHE": str(folder / "cache"),
                 "TLCLI_RUNS": str(folder / "runs"), "TLCLI_INSTANT": "0"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def start_pair(folder: Path, out: str) -> list[subprocess.Popen[bytes]]:
    listed = ",".join(addresses())
    words = ["--out", out, "--workers", listed, "--worker"]
    return [start(folder, *words, number, log=f"{out}-{number}.txt") for number in ("0", "1")]


def end_pair(folder: Path, pair: list[subprocess.Popen[bytes]], out: str) -> None:
    for number, process in enumerate(pair):
        log = folder / f"{out}-{number}.txt"
        assert process.wait(timeout=900) == 0, log.read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint_splits(tmp_path / "photos", train=7, val=3, test=2)
    return tmp_path


def write(folder: Path, names: dict[str, str], dropout: float = 0.0, mixup: float = 0.0) -> None:
    recipe = RECIPE.replace("DROPOUT", str(dropout)).replace("MIXUP", str(mixup))
    for word, name in names.items():
        recipe = recipe.replace(word, name)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")


def start_to_resume(folder: Path, listed: str, number: int, *words: str) -> subprocess.Popen[str]:
    """A worker of a machine that has its own folder of runs."""
    command = ["finetune", "--config", "recipe.yaml", "--workers", listed, "--worker", str(number)]
    return subprocess.Popen(
        [sys.executable, "-m", "tlcli", *command, *words], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TLCLI_CACHE": str(folder / "cache"),
             "TLCLI_RUNS": str(folder / f"runs-{number}")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def errors_of(pair: list[subprocess.Popen[str]]) -> list[list[str]]:
    """The lines of errors of workers, which must end within half a minute."""
    ended = [process.communicate(timeout=30) for process in pair]
    assert [process.returncode for process in pair] == [1, 1]
    return [[line for line in err.splitlines() if "error:" in line] for _, err in ended]


def test_a_worker_without_the_run_to_resume_is_named_on_all(folder: Path):
    write(folder, VGG16)
    run = folder / "runs-0" / "pets-1"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}", encoding="utf-8")
    first, second = addresses()
    listed = f"{first},{second}"
    pair = [start_to_resume(folder, listed, n, "--resume", "pets-1") for n in (0, 1)]
    assert errors_of(pair) == [[
        f"error: worker 1 ({second}): has no run pets-1 (looked for {folder}/pets-1 and "
        f"{folder}/runs-1/pets-1); copy the folder of the run to that machine, or give all workers "
        "a --runs-dir that all can read"
    ]] * 2  # fmt: skip


def test_workers_of_which_one_resumes(folder: Path):
    write(folder, VGG16)
    run = folder / "pets-1"
    run.mkdir()
    (run / "run.json").write_text("{}", encoding="utf-8")
    first, second = addresses()
    pair = [
        start_to_resume(folder, f"{first},{second}", 0, "--resume", "pets-1"),
        start_to_resume(folder, f"{first},{second}", 1),
    ]
    assert errors_of(pair) == [[
        f"error: worker 1 ({second}): has no --resume; worker 0 has --resume pets-1; give --resume "
        "to all workers, or to none"
    ]] * 2  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("names", "mixup"), [(VGG16, 0.0), (MOBILE, 0.3)], ids=["VGG16", "mixed"])
def test_two_workers_train_as_one_process_does(folder: Path, names, mixup):
    write(folder, names, mixup=mixup)
    assert start(folder, "--out", "one", log="one.txt").wait(timeout=900) == 0
    end_pair(folder, start_pair(folder, "two"), "two")
    first, second = (
        [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(first) == len(second) == 6
    for expected, actual in zip(first, second, strict=True):
        for key in ("loss", "val_loss"):
            np.testing.assert_allclose(actual[key], expected[key], rtol=1e-5)
        assert actual["val_accuracy"] == expected["val_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("after", ["1/3", "2/3"])
@pytest.mark.parametrize("stage", ["head", "top"])
def test_a_killed_worker_ends_the_other_and_both_resume(folder: Path, stage, after, killed):
    write(folder, VGG16, dropout=0.5)
    end_pair(folder, start_pair(folder, "whole"), "whole")
    pair = start_pair(folder, "stopped")
    heard = folder / "stopped-0.txt"
    while True:
        _, separator, text = heard.read_text(encoding="utf-8").partition(f": {stage} (")
        if separator and f"  {after}  loss" in text:
            break
        assert pair[0].poll() is None, heard.read_text(encoding="utf-8")
        time.sleep(0.05)
    pair[killed].kill()
    assert pair[1 - killed].wait(timeout=60) == 1
    errors = [
        line
        for line in (folder / f"stopped-{1 - killed}.txt").read_text("utf-8").splitlines()
        if line.startswith("error: ")
    ]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: worker {killed} (127.0.0.1:")
    assert errors[0].endswith(
        "has ended: the connection was closed; give the command on every worker again: training "
        "goes on after the last whole epoch"
    )
    pair[killed].wait()
    end_pair(folder, start_pair(folder, "stopped"), "stopped")
    assert outcome(folder / "stopped") == outcome(folder / "whole")
