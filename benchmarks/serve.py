"""`tlcli serve` with 1, 4 and 16 clients, against the bare runtime in a loop on the same photos.

    python benchmarks/serve.py --photos FOLDER [--weights FILE] [--size 150] [--many 100]
    python benchmarks/serve.py --photos FOLDER --load 600     # seconds under load, with a swap

A small run is trained first. The bare runtime is a process that reads, decodes and computes one
photo after the other with LiteRT, and nothing else. The clients are threads of one process, which
shares the processors with the server. With --load the latest run changes in the middle; every
answer must be right.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx
from harness import (
    ROOT,
    Bench,
    Measured,
    child,
    line,
    parser,
    say,
    scratch,
    small_run,
    spread,
)

#: Clients at the same time.
CLIENTS = (1, 4, 16)

BARE = """
import json, sys, time
from pathlib import Path
from tlcli.evaluation.engines import choose_engine
from tlcli.images.loader import PixelSettings, load_pixels
from tlcli.runs.model_file import read_card
model = Path(sys.argv[1]) / "model.keras"
settings = PixelSettings.from_card(read_card(model))
engine = choose_engine(model, "instant").engine
paths = sorted(Path(sys.argv[2]).iterdir())
times = []
for number, path in enumerate(paths[:5] + paths):
    started = time.perf_counter()
    engine.compute(load_pixels(path.read_bytes(), path.name, settings)[None])
    if number >= 5:
        times.append(time.perf_counter() - started)
print(json.dumps(times))
"""

ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from serve import ask
print(json.dumps(ask(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
"""


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--many", type=int, default=100)
    options.add_argument("--load", type=float, metavar="SECONDS")
    arguments = options.parse_args()
    with scratch() as folder:
        run, many = small_run(arguments, folder, "VGG16")
        if arguments.load:
            under_load(run, many, folder, arguments.load)
        else:
            compare(arguments, run, many, folder)


def compare(arguments: argparse.Namespace, run: Path, many: Path, folder: Path) -> None:
    """Let the bare runtime and each number of clients have their turns."""
    settings = {"base": "VGG16", "pixels": arguments.size, "photos": arguments.many}
    bench = Bench.open("serve", settings, arguments)

    def bare() -> Measured:
        return measured(json.loads(child([sys.executable, "-c", BARE, run, many]).stdout))

    def clients(number: int) -> Measured:
        with served(folder, run) as url:
            words = [
                sys.executable,
                "-c",
                ASK,
                Path(__file__).parent,
                f"{url}v1/models/run:predict",
                many,
            ]
            result = json.loads(child([*words, str(number)]).stdout)
        return measured(result["times"], result["seconds"])

    sides: dict[str, Any] = {"bare runtime": bare}
    for number in CLIENTS:
        name = f"{number} client{'s' if number > 1 else ''}"
        sides[name] = lambda number=number: clients(number)
    bench.run(sides, arguments.rounds)
    rows = []
    for side in sides:
        rate = "" if side == "bare runtime" else str(bench.ratio("rate", side, "bare runtime"))
        figures = [spread(bench.values(side, name), 1) for name in ("p50", "p99", "rate")]
        rows.append([side, *figures, rate])
    bench.report("Serving", ["", "p50, ms", "p99, ms", "photos/s", "rate over bare"], rows)


def measured(times: list[float], seconds: float | None = None) -> Measured:
    """Milliseconds of a photo, and photos in a second."""
    ordered = sorted(times)
    return {
        "p50": 1000 * statistics.median(ordered),
        "p99": 1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "rate": len(times) / (seconds or sum(times)),
    }


def ask(url: str, folder: str, clients: int) -> dict[str, Any]:
    """Send each photo of a folder once; the seconds of each, and of all."""
    contents = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    for content in contents[:5]:
        httpx.post(url, content=content, timeout=60).raise_for_status()
    queue: SimpleQueue[bytes] = SimpleQueue()
    for content in contents:
        queue.put(content)
    times: list[float] = []

    def client() -> None:
        with httpx.Client(timeout=60) as connection:
            while True:
                try:
                    content = queue.get_nowait()
                except Empty:
                    return
                started = time.perf_counter()
                connection.post(url, content=content).raise_for_status()
                times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"times": times, "seconds": time.perf_counter() - started}


def under_load(run: Path, many: Path, folder: Path, seconds: float) -> None:
    """Four clients for some seconds, and another run in the middle; prints what they got."""
    runs = folder / "runs"
    shutil.copytree(run, runs / "one")
    shutil.copytree(run, runs / "two")
    lead_to(runs, "one")
    contents = [path.read_bytes() for path in sorted(many.iterdir())]
    wrong: list[str] = []
    times: list[float] = []
    expected: dict[bytes, str] = {}
    with served(folder, None, TLCLI_RUNS=str(runs)) as url:
        predict = f"{url}v1/models/latest:predict"
        for content in contents:
            expected[content] = httpx.post(predict, content=content, timeout=60).text
        end = time.monotonic() + seconds

        def client(first: int) -> None:
            with httpx.Client(timeout=60) as connection:
                number = first
                while time.monotonic() < end:
                    content = contents[number % len(contents)]
                    number += 1
                    started = time.perf_counter()
                    try:
                        answer = connection.post(predict, content=content)
                    except httpx.HTTPError as error:
                        wrong.append(repr(error))
                        continue
                    times.append(time.perf_counter() - started)
                    if answer.text != expected[content]:
                        wrong.append(answer.text)

        threads = [threading.Thread(target=client, args=(7 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        lead_to(runs, "two")
        for thread in threads:
            thread.join()
        swapped = 'swaps_total{model="latest"} 1' in httpx.get(f"{url}metrics").text
        model = httpx.get(f"{url}v1/models").json()["models"][0]
    result = measured(times, seconds)
    say(f"{len(times)} answers in {seconds:g} s, {len(wrong)} of them wrong or failed")
    print(line([f"{name} {value:.1f}" for name, value in result.items()]))
    print(f"swapped: {swapped}, now {model['run']}, version {model['version']}")
    raise SystemExit(1 if wrong or not swapped else 0)


def lead_to(runs: Path, name: str) -> None:
    """Have `latest` mean another run."""
    temporary = runs / ".latest"
    temporary.symlink_to(name, target_is_directory=True)
    temporary.replace(runs / "latest")


@contextmanager
def served(folder: Path, run: Path | None, **environ: str) -> Iterator[str]:
    """The address of a server, as a process of its own."""
    words = ["--run", str(run)] if run else []
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tlcli", "serve", "--port", "0", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert process.stdout
    try:
        if not (url := process.stdout.readline().strip()):
            raise SystemExit((folder / "server.txt").read_text())
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main()
