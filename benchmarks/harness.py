"""How every benchmark measures: sides by turns, several rounds, resumable, one JSON and one table.

Shared machines drift, so absolute seconds of one day say little beside those of another. Here the
sides take turns, every round gives one pair, and what is quoted is the ratio of the medians with
the spread of the pairs. A turn is written to disk as it ends: a benchmark that is stopped goes on
where it was when it is started again with the same settings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"

#: What one turn of a side came to: seconds, bytes or rates by name.
Measured = dict[str, float]


def parser(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, help=f"turns of a side [{rounds}]")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON and tables")
    made.add_argument("--again", action="store_true", help="forget the rounds that are there")
    return made


def set_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark that goes over sets of photos, some of them of cats_dogs."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--photos", type=Path, required=True, help="cats_dogs: train, val, test")
    made.add_argument("--weights", default="random")
    made.add_argument("--results", type=Path, default=RESULTS)
    return made


@dataclass
class Bench:
    """The rounds of one benchmark and the file they are kept in.

    Attributes:
        name: of the benchmark; the results are `<name>.json` and `<name>.md`.
        settings: what makes rounds comparable; other settings begin a new file.
        rounds: for each round, what every side measured.
    """

    name: str
    settings: dict[str, Any]
    folder: Path = RESULTS
    rounds: list[dict[str, Measured]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], arguments: argparse.Namespace) -> Bench:
        """The benchmark with the rounds of an earlier start, if its settings were the same."""
        settings = dict(settings)
        if weights := getattr(arguments, "weights", None):
            settings["weights"] = Path(weights).name  # where they lie is nobody's business
        bench = cls(name, json.loads(json.dumps(settings, default=str)), arguments.results)
        path = bench.folder / f"{name}.json"
        if path.exists() and not arguments.again:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["settings"] == bench.settings and kept["machine"] == machine():
                bench.rounds = kept["rounds"]
        return bench

    def run(self, sides: Mapping[str, Callable[[], Measured]], rounds: int) -> None:
        """Let every side have its turn, round by round; each turn is on the disk as it ends.

        Every other round goes backwards, so that no side always follows the same one.
        """
        for number in range(rounds):
            if number == len(self.rounds):
                self.rounds.append({})
            done = self.rounds[number]
            names = list(sides) if number % 2 == 0 else list(sides)[::-1]
            for name in names:
                if name not in done:
                    started = time.monotonic()
                    done[name] = sides[name]()
                    self.write()
                    took = time.monotonic() - started
                    say(f"{self.name}: round {number + 1} of {rounds}, {name}: {took:.1f} s")

    def values(self, side: str, measure: str) -> list[float]:
        """What a side measured in each round that it took part in."""
        return [done[side][measure] for done in self.rounds if measure in done.get(side, {})]

    def median(self, side: str, measure: str) -> float:
        """Over the rounds."""
        return statistics.median(self.values(side, measure))

    def ratio(self, measure: str, side: str, other: str) -> Ratio:
        """How many times as much of `measure` the side `side` has as `other`."""
        pairs = [
            done[side][measure] / done[other][measure]
            for done in self.rounds
            if measure in done.get(side, {}) and measure in done.get(other, {})
        ]
        return Ratio(self.median(side, measure) / self.median(other, measure), pairs)

    def write(self) -> None:
        """Put settings, machine and rounds on the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        value = {
            "benchmark": self.name, "settings": self.settings, "machine": machine(),
            "rounds": self.rounds,
        }  # fmt: skip
        temporary = self.folder / f".{self.name}.json"
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.folder / f"{self.name}.json")

    def report(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write and print the Markdown table, with the machine under it."""
        lines = [f"## {title}", "", line(headers), line(["---"] * len(headers))]
        lines += [*map(line, rows), ""]
        lines += [f"- {note}" for note in self.notes]
        lines += [f"- {len(self.rounds)} rounds; settings: {_listed(self.settings)}"]
        lines += [f"- {_listed(machine())}", ""]
        text = "\n".join(lines)
        (self.folder / f"{self.name}.md").write_text(text, encoding="utf-8")
        print(text)


@dataclass(frozen=True)
class Ratio:
    """The ratio of two medians, and of every pair of rounds."""

    value: float
    pairs: list[float]

    def __str__(self) -> str:
        if len(self.pairs) < 2:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({min(self.pairs):.2f} to {max(self.pairs):.2f})"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most, as the tables show them."""
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def say(text: str) -> None:
    """A word on the way, on stderr."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the figures belong to: processor, cores, memory, versions."""
    description: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
    }
    if commit := _commit():
        description["commit"] = commit
    for name in ("tlcli", "tensorflow", "keras", "numpy", "pillow"):
        try:
            description[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return description


def _commit() -> str:
    """The version of the code, where git tells it; rounds of another one are begun anew."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [row.partition(":")[2].strip() for row in text.split("\n") if "model name" in row]
    return names[0] if names else platform.machine()


@dataclass(frozen=True)
class Ran:
    """A finished child process: its output, wall-clock seconds, bytes written, and peak memory.

    `peak` is what the system counts, files that are mapped included, though it may drop those at
    any time; `own` leaves them out (Linux only, looked at ten times in a second; else 0).
    """

    stdout: str
    seconds: float
    peak: int
    own: int
    written: int


def child(command: Sequence[str | Path], **environ: str) -> Ran:
    """Run a process to its end and measure it; one that fails ends the benchmark."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=out, stderr=errors, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environ},
        )  # fmt: skip
        looked: list[int] = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, looked), daemon=True)
        watcher.start()
        # wait4 tells the peak memory of this child alone.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            message = errors.read().decode(errors="replace")
            raise SystemExit(
                f"{' '.join(map(str, command))}\nended with {status}:\n{message[-3000:]}"
            )
        text = out.read().decode()
    return Ran(text, seconds, _peak(usage), max(looked), 512 * usage.ru_oublock)


def _watch(process: int, looked: list[int]) -> None:
    """Note the memory of a process that is no file's, in bytes, until it has ended."""
    path = Path(f"/proc/{process}/status")
    while True:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        own = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
        if not own:
            return
        looked.append(1024 * int(own[0]))
        time.sleep(0.1)


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tlcli(*words: str | Path, **environ: str) -> Ran:
    """Run a command of tlcli as a user would."""
    return child([sys.executable, "-m", "tlcli", *words], **environ)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for stores and copies, removed at the end; TMPDIR says on which disk."""
    folder = Path(tempfile.mkdtemp(prefix="tlcli-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def some_photos(source: Path, folder: Path, train: int) -> dict[str, int]:
    """Copy about `train` training photos, as many of every class, and val and test in proportion.

    `source` has train, val and test folders of class folders; 0 copies all. Returns the number of
    photos of each split.
    """
    whole = {split: len(list((source / split).glob("*/*"))) for split in ("train", "val", "test")}
    classes = sorted(path.name for path in (source / "train").iterdir() if path.is_dir())
    counts = {}
    for split, total in whole.items():
        take = round(train * total / whole["train"] / len(classes)) if train else total
        chosen = [
            path
            for name in classes
            for path in sorted((source / split / name).iterdir())[: max(take, 1)]
        ]
        for path in chosen:
            target = folder / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        counts[split] = len(chosen)
    return counts


def absolute_weights(weights: str) -> str:
    """The absolute path of a file of weights; the word 'random' stays."""
    return weights if weights == "random" else str(Path(weights).absolute())


def small_run(arguments: argparse.Namespace, folder: Path, base: str) -> tuple[Path, Path]:
    """Train a head on some photos; its run, and a folder with `arguments.many` photos.

    The `latest` of the run is in the folder, too.
    """
    some_photos(arguments.photos, folder / "data", 32)
    weights = absolute_weights(arguments.weights)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"data: {{dir: {folder / 'data'}}}\n"
        f"base: {{name: {base}, weights: {weights}, image_size: {arguments.size}}}\n"
        "stages: [{name: head, epochs: 1}]\n",
        encoding="utf-8",
    )
    run = folder / "run"
    tlcli("finetune", "--config", recipe, "--out", run, "--cache-dir", folder / "cache",
          TLCLI_RUNS=str(folder / "trained"))  # fmt: skip
    many = folder / "many"
    many.mkdir()
    for number, path in enumerate(sorted(arguments.photos.glob("*/*/*"))[: arguments.many]):
        shutil.copyfile(path, many / f"{number:05d}{path.suffix}")
    return run, many
