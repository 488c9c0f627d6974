"""A run that is stopped anywhere and started again ends with the bits of one that was not."""

from __future__ import annotations

import random
import re
import shutil
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.photos import paint_classes
from rig import COMPILER, Ended, Rig, outcome

from tlcli.runs.directory import Run

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs a C compiler, on Linux"
)

RECIPE = """
data: {dir: photos}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8], dropout: 0.5}
augment: {views: 2, rotation_range: 20}
batch_size: 8
stages:
  - {name: head, epochs: 3, learning_rate: 0.01}
  - {name: top, freeze_until: block5_conv2, epochs: 3, learning_rate: 0.001, schedule: cosine}
"""
#: The same act after act, with as few changes of files as it takes to have every kind of them.
LEAST = """
data: {dir: few}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [4], dropout: 0.5}
augment: {views: 1, rotation_range: 20}
batch_size: 8
stages:
  - {name: head, epochs: 2, learning_rate: 0.01}
  - {name: top, freeze_until: block5_conv2, epochs: 2, learning_rate: 0.001}
"""


@dataclass(frozen=True)
class Job:
    """A recipe whose run is disturbed.

    Attributes:
        rows: views of training photos, and the other photos, for two boundaries.
    """

    name: str
    rows: int

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it, and starts it again."""
        return ("finetune", "--config", f"{self.name}.yaml")

    @property
    def run(self) -> Path:
        """Its run directory, in the work folder."""
        return Path("runs", f"{self.name}-1")


SMALL = Job("small", 2 * (18 * 3 + 9 + 6))
SMALLEST = Job("least", 2 * (6 * 2 + 3 + 3))
COMMAND, RUN = SMALL.command, SMALL.run


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory):
    made = Rig(tmp_path_factory.mktemp("rig"))
    for split, photos, seed in (("train", 6, 0), ("val", 3, 100), ("test", 2, 200)):
        paint_classes(made.work / "photos" / split, photos, seed)
        paint_classes(made.work / "few" / split, 2 if split == "train" else 1, seed)
    (made.work / "small.yaml").write_text(RECIPE, encoding="utf-8")
    (made.work / "least.yaml").write_text(LEAST, encoding="utf-8")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def start_afresh(rig: Rig):
    rig.reset()


@pytest.fixture(scope="module")
def undisturbed(rig: Rig):
    """The outcome of a run that nobody stopped, and the number of its changes of files."""
    rig.reset()
    ended = rig.run(*COMMAND)
    assert ended.code == 0, ended.said
    return outcome(rig.work / RUN), ended.changes


def finish(rig: Rig, first: Ended, job: Job = SMALL, *, tries: int = 3) -> list[Ended]:
    """Give the same command again until the run is finished; all that happened.

    A process that is killed while it tidies up has finished its run.
    """
    happened = [first]
    while happened[-1].code != 0 and not Run(rig.work / job.run).closed:
        assert len(happened) <= tries, happened[-1].said
        happened.append(rig.run(*job.command))
    return happened


def check_repeated(happened: list[Ended], job: Job = SMALL) -> None:
    """No epoch and no committed row is computed twice."""
    log = "".join(ended.said for ended in happened)
    epochs = Counter(re.findall(r"^ +(\d)/[23]  loss (\S+)", log, re.MULTILINE))
    assert max(epochs.values(), default=1) == 1, log
    committed = 0
    for ended in happened:
        extracted = re.findall(r"(\d+) rows? computed in .*; (\d+) rows? of", ended.said)
        for computed, stored in extracted:
            assert int(stored) >= committed, ended.said
            assert int(computed) + int(stored) == job.rows
        committed = ended.rows
    assert committed == job.rows


def test_a_killed_run_ends_with_the_same_bits(rig: Rig, undisturbed):
    expected, changes = undisturbed
    killed = rig.run(*COMMAND, action="kill", at=changes * 3 // 5)
    assert killed.code == -signal.SIGKILL
    happened = finish(rig, killed)
    assert "small-1, which was stopped" in happened[-1].said
    assert "resuming after epoch " in happened[-1].said
    check_repeated(happened)
    assert outcome(rig.work / RUN) == expected
    assert not (rig.work / RUN / "checkpoints").exists()
    assert not list((rig.work / RUN).glob(".*"))


def test_a_run_that_is_killed_after_its_last_epoch_saves_the_same_model(rig: Rig, undisturbed):
    expected, changes = undisturbed
    # Other files come after the model: the latest of some moments at which it is still written.
    for left in range(60, 200, 25):
        rig.reset()
        killed = rig.run(*COMMAND, action="kill", at=changes - left)
        assert killed.code == -signal.SIGKILL
        if not (rig.work / RUN / "model.keras").exists():
            break
    assert "\n  best epoch" in killed.said.rpartition("stage 2 of 2")[2], "it had trained them all"
    assert not (rig.work / RUN / "model.keras").exists()
    happened = finish(rig, killed)
    assert "resuming after epoch 3 of stage 'top'" in happened[-1].said
    check_repeated(happened)
    assert outcome(rig.work / RUN) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_between_steps_and_says_how_to_go_on(rig: Rig, undisturbed, number, code):
    expected, _ = undisturbed
    ended = stop_when(rig, "1/3  loss", number)
    assert ended.code == code, ended.said
    assert "stopping after this step; the same signal again stops immediately" in ended.said
    assert ended.said.endswith(
        "error: stopped; finished work is saved. To continue: tlcli finetune --config small.yaml\n"
    )
    happened = finish(rig, ended)
    check_repeated(happened)
    assert outcome(rig.work / RUN) == expected


def stop_when(rig: Rig, words: str, number: int) -> Ended:
    """Send a signal once the command has said something."""
    log = rig.folder / "log.txt"

    def watch() -> None:
        while not done.wait(0.02):
            if log.exists() and words in log.read_text(encoding="utf-8"):
                rig.send(number)
                return

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return rig.run(*COMMAND)
    finally:
        done.set()
        watcher.join()


@pytest.mark.slow
def test_a_full_disk_is_a_line_and_the_run_goes_on_when_there_is_room(rig: Rig, undisturbed):
    expected, changes = undisturbed
    full = rig.run(*COMMAND, action="fail from here", at=changes // 2)
    assert full.code == 1
    assert "Traceback" not in full.said
    (line,) = [line for line in full.said.splitlines() if line.startswith("error: ")]
    assert "no space left on device; free some and give the command again" in line
    assert str(rig.work) in line or RUN.name in line, "it names the file"
    happened = finish(rig, full)
    check_repeated(happened)
    assert outcome(rig.work / RUN) == expected


def test_damaged_checkpoints_and_rows_are_told_and_made_again(rig: Rig, undisturbed):
    expected, _ = undisturbed
    ended = stop_when(rig, "stage 2 of 2", signal.SIGINT)
    assert ended.code == 130, ended.said
    before, newest = sorted((rig.work / RUN / "checkpoints").glob("*.npz"))
    damage(newest)
    for shard in rig.work.glob("cache/features/*block5_conv2*/rows-*.npy"):
        damage(shard)
    (again,) = finish(rig, ended)[1:]
    assert f"{RUN}/checkpoints/{newest.name}: this checkpoint cannot be read: " in again.said
    assert f"resuming after epoch {int(before.stem[-5:])} of stage 'head'" in again.said
    assert "1 damaged row; computing again" in again.said
    assert outcome(rig.work / RUN) == expected


def damage(path: Path) -> None:
    """Flip some bits in the middle."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(255 - byte for byte in data[middle : middle + 8])
    path.write_bytes(data)


@pytest.mark.slow
def test_a_run_without_a_sound_checkpoint_begins_again_and_says_so(rig: Rig, undisturbed):
    expected, _ = undisturbed
    ended = stop_when(rig, "stage 2 of 2", signal.SIGINT)
    for path in (rig.work / RUN / "checkpoints").glob("*.npz"):
        damage(path)
    (again,) = finish(rig, ended)[1:]
    assert "none of its checkpoints can be read; starting again from the first epoch" in again.said
    assert outcome(rig.work / RUN) == expected


@pytest.mark.slow
def test_another_process_at_the_same_run_is_named(rig: Rig):
    other = Rig(rig.folder)
    other.run("runs", log="other.txt")  # by now it has imported TensorFlow
    refused: list[Ended] = []

    def try_too() -> None:
        log = rig.folder / "log.txt"
        while not (log.exists() and "run: " in log.read_text(encoding="utf-8")):
            if done.wait(0.02):
                return
        refused.append(other.run(*COMMAND, log="other.txt"))
        rig.send(signal.SIGTERM)

    done = threading.Event()
    thread = threading.Thread(target=try_too)
    thread.start()
    rig.run(*COMMAND)
    done.set()
    thread.join()
    other.close()
    assert refused[0].code == 1
    assert re.search(
        r"error: \S*runs/small-1: is being trained by process \d+ on \S+, since \S+; "
        "wait for it, stop it, or train another run with --fresh\n$",
        refused[0].said,
    )


@pytest.mark.slow
def test_kills_at_random_moments(rig: Rig, undisturbed):
    """At least fifty kills, by the clock and at changes of files, some of them in one run."""
    expected, changes = undisturbed
    draw = random.Random(6)
    kills = 0
    while kills < 50:
        rig.reset()
        happened: list[Ended] = []
        for _ in range(draw.choice((1, 2, 3))):
            if draw.random() < 0.5:
                happened.append(rig.run(*COMMAND, action="kill", at=draw.randint(1, changes)))
            else:
                happened.append(rig.run(*COMMAND, after=draw.uniform(0.3, 8)))
            kills += happened[-1].code != 0
            if happened[-1].code == 0 or Run(rig.work / RUN).closed:
                break  # the same command would train another
        if happened[-1].code != 0:
            happened += finish(rig, happened[-1])[1:]
        check_repeated(happened)
        assert outcome(rig.work / RUN) == expected, [ended.code for ended in happened]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["fail", "kill"])
def test_a_fault_at_any_change(rig: Rig, action):
    """Every 23rd change, from another first one for each action; RIG_EVERY=1 takes all."""
    ended = rig.run(*SMALLEST.command)
    assert ended.code == 0, ended.said
    expected = outcome(rig.work / SMALLEST.run)
    start = 1 + (rig.every // 2 if action == "kill" else 0)
    for at in range(start, ended.changes + 1, rig.every):
        rig.reset()
        first = rig.run(*SMALLEST.command, action=action, at=at)
        assert "Traceback" not in first.said, first.said
        happened = finish(rig, first, SMALLEST)
        check_repeated(happened, SMALLEST)
        assert outcome(rig.work / SMALLEST.run) == expected, f"change {at}"


@pytest.mark.slow
def test_two_recipes_on_one_store_compute_nothing_twice(rig: Rig, undisturbed):
    expected, _ = undisturbed
    other = Rig(rig.folder)
    text = RECIPE.replace("hidden: [8]", "hidden: [4]")
    (rig.work / "second.yaml").write_text(text, encoding="utf-8")
    ended: list[Ended] = []
    command = ("finetune", "--config", "second.yaml")
    thread = threading.Thread(target=lambda: ended.append(other.run(*command, log="other.txt")))
    thread.start()
    first = rig.run(*COMMAND)
    thread.join()
    other.close()
    assert (first.code, ended[0].code) == (0, 0), first.said + ended[0].said
    assert outcome(rig.work / RUN) == expected
    computed = re.findall(r"(\d+) rows? computed", first.said + ended[0].said)
    assert sorted(map(int, computed)) == [0, SMALL.rows]
    shutil.rmtree(rig.work / "runs")
    again = rig.run(*command)
    assert "0 rows computed" in again.said
