"""Runs of every kind that keeps a state of its own, killed and started again."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.photos import paint_splits
from rig import COMPILER, Ended, Rig, outcome

from tlcli.runs.directory import Run

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs a C compiler, on Linux"
)

#: What each recipe has beside its photos and a batch size of 8.
RECIPES = {
    # The loss rises soon: the best epoch is not the last, the rate falls, and patience ends stages.
    "watchful": """
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [4], dropout: 0.5}
stages:
  - name: head
    epochs: 6
    learning_rate: 0.5
    optimizer: {name: sgd, momentum: 0.9}
    schedule: {name: plateau, patience: 1}
    early_stopping: 2
  - name: top
    freeze_until: block5_conv2
    epochs: 6
    learning_rate: 0.01
    optimizer: {name: sgd, momentum: 0.9}
    schedule: {name: plateau, patience: 1}
    early_stopping: 2
""",
    "mixed": """
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [4], dropout: 0.5}
augment: {views: 1, horizontal_flip: true, mixup: 0.4}
stages:
  - {name: head, epochs: 3, learning_rate: 0.01}
""",
    "live": """
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [4], dropout: 0.5}
augment: {views: live, rotation_range: 20}
stages:
  - {name: head, epochs: 3, learning_rate: 0.01}
""",
    "norms": """
base: {name: MobileNetV3Small, weights: random, image_size: 32, batch_norm: train}
head: {hidden: [4]}
stages:
  - {name: head, epochs: 1, learning_rate: 0.01}
  - {name: top, epochs: 3, learning_rate: 0.001, freeze_until: BOUNDARY}
""",
    # Averages of steps and of epochs, rates of blocks, and the order of the photos.
    "techniques": """
base: {name: VGG16, weights: random, image_size: 32, batch_norm: frozen}
head: {hidden: [], dropout: 0, normalize: true}
augment: {views: 1, horizontal_flip: true}
stages:
  - {name: head, solver: lbfgs}
  - name: top
    freeze_until: block5_conv1
    epochs: 4
    learning_rate: 0.01
    optimizer: {name: sgd, momentum: 0.9}
    layer_decay: 0.5
    clip_norm: 1
    ema: 0.9
    average: best 2
    loss: focal
    sampler: balanced
""",
    # A head on features of three boundaries, of which it chooses.
    "layers": """
base: {name: VGG16, weights: random, image_size: 32, freeze_until: block5_conv1}
head: {hidden: [], dropout: 0, multi_layer: true}
augment: {views: 1, horizontal_flip: true}
stages:
  - {name: head, solver: lbfgs}
""",
    "whole": """
base: {name: MobileNetV3Small, weights: random, image_size: 32, batch_norm: train}
head: {hidden: [4], dropout: 0.5}
augment: {views: 1, horizontal_flip: true}
stages:
  - {name: whole, epochs: 3, learning_rate: 0.001, freeze_until: pixels}
""",
}
#: Gradients of kernels by products of matrices: 16 photos are work enough for a measurement.
PRODUCTS = """
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [4], dropout: 0.5}
precision: PRECISION
stages:
  - {name: head, epochs: 1, learning_rate: 0.01}
  - {name: top, freeze_until: block5_conv1, epochs: 3, learning_rate: 0.001, batch_size: 16}
"""
for precision in ("float32", "mixed_bfloat16"):
    RECIPES[f"products-{precision}"] = PRODUCTS.replace("PRECISION", precision)
OUT, FIRST = Path("out"), Path("runs", "watchful-1")


@dataclass(frozen=True)
class Kind:
    """A command whose run is killed.

    Attributes:
        needs: commands that come before it, undisturbed.
        run: the run that it makes.
    """

    command: tuple[str, ...]
    run: Path
    needs: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, name: str, *more: str) -> Kind:
        """A `finetune` of one of the recipes."""
        return cls(("finetune", "--config", f"{name}.yaml", *more), Path("runs", f"{name}-1"))


_OTHER = ("finetune", "--config", "mixed.yaml", "--out", str(OUT))
KINDS = {
    **{name: Kind.of(name) for name in RECIPES},
    "named": Kind(Kind.of("mixed", "--out", str(OUT)).command, OUT),
    "forced": Kind(
        Kind.of("mixed", "--set", "seed=3", "--out", str(OUT), "--force").command, OUT, (_OTHER,)
    ),
    "again": Kind(
        ("reproduce", "mixed-1"), Path("runs", "mixed-1-again"), (Kind.of("mixed").command,)
    ),
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory):
    from tlcli.networks.bases import BASES

    made = Rig(tmp_path_factory.mktemp("rig"))
    paint_splits(made.work / "photos", train=4, val=2, test=1)
    boundary = str(BASES["MobileNetV3Small"].default_boundary)
    for name, text in RECIPES.items():
        text = "data: {dir: photos}\nbatch_size: 8\n" + text.replace("BOUNDARY", boundary)
        (made.work / f"{name}.yaml").write_text(text, encoding="utf-8")
    yield made
    made.close()


def prepare(rig: Rig, kind: Kind) -> None:
    """What comes before a command; remembered, since it is the same every time."""
    rig.reset()
    known = (
        rig.folder / "known" / "-".join(" ".join(words) for words in kind.needs).replace("/", "")
    )
    if kind.needs and not known.exists():
        for words in kind.needs:
            ended = rig.run(*words)
            assert ended.code == 0, ended.said
        known.mkdir(parents=True)
        for name in ("runs", "out"):
            if (rig.work / name).exists():
                shutil.copytree(rig.work / name, known / name, symlinks=True)
    elif kind.needs:
        shutil.copytree(known, rig.work, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(rig.work / "cache", ignore_errors=True)


def is_done(rig: Rig, kind: Kind, before: float | None) -> bool:
    """Whether there is a finished run, and not the one that was there before."""
    run = Run(rig.work / kind.run)
    return run.closed and run.file("model.keras").stat().st_mtime != before


def model_time(rig: Rig, kind: Kind) -> float | None:
    model = rig.work / kind.run / "model.keras"
    return model.stat().st_mtime if model.exists() else None


def disturb(rig: Rig, kind: Kind, action: str, *moments: int) -> list[Ended]:
    """Break a command at some changes of files, one after the other, and then let it end."""
    prepare(rig, kind)
    before = model_time(rig, kind)
    happened: list[Ended] = []
    for moment in moments:
        happened.append(rig.run(*kind.command, action=action, at=moment))
        assert "Traceback" not in happened[-1].said, happened[-1].said
        if happened[-1].code == 0:
            return happened
    # A process that is killed while it tidies up has finished its run.
    if not is_done(rig, kind, before) or kind.command[0] == "reproduce":
        happened.append(rig.run(*kind.command))
        assert happened[-1].code == 0, "".join(ended.said for ended in happened)
    return happened


def check(rig: Rig, kind: Kind, happened: list[Ended], expected: object) -> None:
    """The same bits, nothing trained twice, nothing left behind."""
    log = "".join(ended.said for ended in happened)
    assert outcome(rig.work / kind.run) == expected, log
    epochs = Counter(re.findall(r"^ +(\d)/\d  loss (\S+)", log, re.MULTILINE))
    assert max(epochs.values(), default=1) == 1, log
    # What one cannot remove in its last act, or is killed over, the next command removes.
    if len(happened) > 1 and happened[-1].code == 0:
        assert not list((rig.work / kind.run).glob(".*")), log
        assert not list(rig.work.glob(".out.new-*")), log


#: The one that no other of the quick tests is near; each takes ten seconds.
QUICK = "watchful"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in KINDS],
)
def test_a_run_of_any_kind_that_is_killed_ends_with_the_same_bits(rig: Rig, name: str):
    """At the first files, in the middle, and near the end."""
    kind = KINDS[name]
    prepare(rig, kind)
    ended = rig.run(*kind.command)
    assert ended.code == 0, ended.said
    expected = outcome(rig.work / kind.run)
    if name == "watchful":
        summary = json.loads((rig.work / kind.run / "summary.json").read_text("utf-8"))
        stages = [(stage["best_epoch"], stage["epochs"]) for stage in summary["stages"]]
        assert any(best < epochs < 6 for best, epochs in stages), "patience ends none of them"
    third = ended.changes // 3
    happened = disturb(rig, kind, "kill", 8, third, third)
    assert [killed.code for killed in happened[:3]] == [-signal.SIGKILL] * 3
    check(rig, kind, happened, expected)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["kill", "fail"])
@pytest.mark.parametrize("name", KINDS)
def test_a_fault_at_any_change_of_any_kind(rig: Rig, name: str, action: str):
    """Every 23rd change, from another first one for each action; RIG_EVERY=1 takes all."""
    kind = KINDS[name]
    prepare(rig, kind)
    ended = rig.run(*kind.command)
    assert ended.code == 0, ended.said
    expected = outcome(rig.work / kind.run)
    start = 1 + (rig.every // 2 if action == "kill" else 0)
    for at in range(start, ended.changes + 1, rig.every):
        check(rig, kind, disturb(rig, kind, action, at), expected)
