"""Write an archive of everything that this version of tlcli leaves on disk.

    python scripts/state_archive.py tests/state/0.1.0.tar.xz

The archive holds photos, pretrained weights, a finished run with its evaluation, a run that was
stopped in its second stage, the feature store, and the cache of the audit. Tests of later versions
read it: what a user has on disk must outlive an upgrade. Make one when the format of a file
changes; do not replace those of earlier versions.

The weights repeat one pattern of random numbers, so that the archive is small.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

RECIPE = """\
name: {name}
data: {{dir: photos}}
base: {{name: MobileNetV3Small, weights: base.weights.h5, image_size: 32, freeze_until: conv_1}}
head: {{hidden: []}}
augment: {{views: 1, horizontal_flip: true, rotation_range: 20}}
batch_size: 8
stages:
  - {{name: head, epochs: 20, learning_rate: 0.1}}
  - {{name: top, freeze_until: conv_1, epochs: {epochs}, learning_rate: 0.001, optimizer: sgd}}
"""
COLOURS = {"blue": (40, 60, 210), "green": (50, 190, 60), "red": (210, 50, 40)}
PHOTOS = {"train": 6, "val": 3, "test": 2}


def main() -> None:
    """Make the archive that the command line names."""
    archive = Path(sys.argv[1]).resolve()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="state-") as name:
        folder = Path(name)
        write_photos(folder / "photos")
        write_weights(folder / "base.weights.h5")
        (folder / "finished.yaml").write_text(RECIPE.format(name="finished", epochs=2))
        (folder / "stopped.yaml").write_text(RECIPE.format(name="stopped", epochs=40))
        run(folder, "check", "--config", "finished.yaml")
        run(folder, "finetune", "--config", "finished.yaml")
        run(folder, "evaluate", "--run", "finished-1")
        stop_in_second_stage(folder)
        with tarfile.open(archive, "w:xz", preset=9) as file:
            for path in sorted(folder.iterdir()):
                file.add(path, path.name)


def command(*words: str) -> list[str]:
    """A command of tlcli, with a cache of its own."""
    takes_cache = words[0] in ("check", "finetune")
    cache = ("--cache-dir", "cache") if takes_cache else ()
    return [sys.executable, "-m", "tlcli", *words, *cache]


def run(folder: Path, *words: str) -> None:
    """Run a command to its end in the folder."""
    subprocess.run(command(*words), cwd=folder, check=True)


def stop_in_second_stage(folder: Path) -> None:
    """Train, and interrupt once an epoch of the second stage is printed."""
    words = command("finetune", "--config", "stopped.yaml")
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            if line.lstrip().startswith("2/40 "):
                process.send_signal(signal.SIGINT)
    if process.returncode != 130:
        sys.exit(f"the run was not stopped: it ended with {process.returncode}")


def write_photos(folder: Path) -> None:
    """Small PNGs of one colour under noise."""
    noise = np.random.default_rng(0)
    for split, number in PHOTOS.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for photo in range(number):
                pixels = np.clip(colour + noise.normal(0, 30, (24, 24, 3)), 0, 255)
                path = folder / split / name / f"{photo}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_weights(path: Path) -> None:
    """Weights of the base in a repeated pattern, scaled so that the signal reaches the top."""
    base = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    pattern = np.random.default_rng(1).normal(0, 1, 997).astype(np.float32)
    for variable in base.weights:
        if len(variable.shape) > 1:
            window = variable.shape[:2] if "depthwise" in variable.path else variable.shape[:-1]
            scale = np.sqrt(3 / np.prod(window)).astype(np.float32)
            variable.assign(np.resize(pattern, variable.shape) * scale)
    base.save_weights(path)


if __name__ == "__main__":
    main()
