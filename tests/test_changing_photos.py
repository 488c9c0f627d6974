"""Photos that are replaced, cut, deleted and restored while commands work on them.

Whatever a command answers, it answers for the bytes whose hash it names.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.photos import COLOURS, paint

from tlcli.images import decode
from tlcli.networks.framework import keras
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split

SIDE = 32
ROUNDS = int(os.environ.get("TLCLI_TEST_ROUNDS", "20"))
RECIPE = """
data: {dir: photos}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 20}
stages:
  - {name: head, epochs: 2}
  - {name: top, freeze_until: block5_conv2, epochs: 1}
"""
#: Photos of each class, by split: 201 in all.
COUNTS = {"train": 47, "val": 10, "test": 10}


@pytest.mark.slow
def test_rows_predictions_and_scores_are_of_the_bytes_that_their_hash_names(tmp_path, cli):
    here = Path.cwd()
    (here / "recipe.yaml").write_text(RECIPE)
    contents = write_photos(here / "photos", tmp_path / "other")
    known = {digest(content): content for held in contents.values() for content in held}
    reference = reference_rows(cli, tmp_path, known)
    outcomes: Counter[str] = Counter()
    for number in range(ROUNDS):
        store, runs = tmp_path / f"store{number}", tmp_path / f"runs{number}"
        environment = {"TLCLI_CACHE": str(store), "TLCLI_RUNS": str(runs)}
        with changes(contents, seed=number, outcomes=outcomes):
            for command in ("extract", "finetune", "evaluate", "evaluate"):
                for _ in range(8):
                    done = cli(command, *CONFIG[command], env=environment)
                    outcomes[f"{command} {done.exit_code}"] += 1
                    assert done.exit_code == 0 or "error: " in done.stderr
                    if done.exit_code == 0:
                        break
            for _ in range(4 if list(runs.glob("recipe-*/model.keras")) else 0):
                done = cli(
                    "predict", "--raw", "--format", "jsonl", *contents, "--top", 3, env=environment
                )
                answers = [json.loads(line) for line in done.stdout.splitlines()]
                check_answers(answers, contents, Run(next(runs.glob("recipe-*"))), outcomes)
        for run in runs.glob("recipe-*"):
            check_scores(Run(run), known, outcomes)
        check_rows(store, reference, outcomes)
    print(dict(sorted(outcomes.items())))
    # Otherwise the test has shown nothing.
    for event in ("replaced", "cut", "deleted", "extract 1", "finetune 0", "evaluate 0", "rows",
                  "scores", "answers for the photo", "answers for another picture"):  # fmt: skip
        assert outcomes[event], event


CONFIG = {
    "extract": ("--config", "recipe.yaml"),
    "finetune": ("--config", "recipe.yaml"),
    "evaluate": ("--again",),
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_photos(folder: Path, other: Path) -> dict[Path, tuple[bytes, bytes, bytes]]:
    """For each photo its bytes, those of another picture, and its bytes cut short."""
    contents = {}
    seed = 0
    for split, count in COUNTS.items():
        for name, colour in COLOURS.items():
            for number in range(count):
                path, seed = folder / split / name / f"{number:02d}.png", seed + 1
                paint(path, colour, seed, side=40)
                paint(other / f"{seed}.png", (seed % 256, 200 - seed % 200, 90), seed, side=36)
                whole = path.read_bytes()
                contents[path] = (whole, (other / f"{seed}.png").read_bytes(), whole[:-400])
    return contents


@contextmanager
def changes(
    contents: Mapping[Path, tuple[bytes, ...]], *, seed: int, outcomes: Counter[str]
) -> Iterator[None]:
    """Change photos at random moments, one or a few at a time, and put them back soon after."""
    generator, stop = random.Random(seed), threading.Event()

    def change() -> None:
        while not stop.wait(generator.expovariate(1 / 0.1)):
            chosen = generator.sample(sorted(contents), generator.choice((1, 1, 1, 3, 10)))
            for path in chosen:
                _, other, cut = contents[path]
                act = generator.choice(("replaced", "cut", "deleted"))
                outcomes[act] += 1
                if act == "deleted":
                    path.unlink()
                else:
                    path.write_bytes(other if act == "replaced" else cut)
            stop.wait(generator.choice((0.001, 0.01, 0.1)))
            for path in chosen:
                path.write_bytes(contents[path][0])

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def reference_rows(cli, folder: Path, known: Mapping[str, bytes]) -> dict[tuple[str, ...], bytes]:
    """The rows of every picture and its views, from photos that nobody changes."""
    for name, content in known.items():
        place = folder / "still/train" / "ab"[int(name[0], 16) % 2] / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    settings = (f"data.dir={folder / 'still'}", "data.on_bad_image=skip", "data.split.val=0")
    words = [word for setting in settings for word in ("--set", setting)]
    environment = {"TLCLI_CACHE": str(folder / "reference")}
    done = cli("extract", "--config", "recipe.yaml", *words, env=environment)
    assert done.exit_code == 0, done.stderr
    return read_rows(folder / "reference")


def read_rows(cache: Path) -> dict[tuple[str, ...], bytes]:
    """The bytes of every row of a store, by trunk, hash of the photo, and view."""
    rows = {}
    for index in (cache / "features").glob("*/index.sqlite"):
        with closing(sqlite3.connect(index)) as base:
            files = dict(base.execute("SELECT id, file FROM shards"))
            places = base.execute("SELECT image, view, shard, row FROM rows").fetchall()
        shards = {number: np.load(index.parent / file) for number, file in files.items()}
        for image, view, shard, row in places:
            rows[index.parent.name, image.hex(), view] = shards[shard][row].tobytes()
    return rows


def check_answers(
    answers: Sequence[dict[str, Any]],
    contents: Mapping[Path, tuple[bytes, ...]],
    run: Run,
    outcomes: Counter[str],
) -> None:
    """Each answer is that for one of the pictures that its file has held, and says truly whether
    the run was trained on that picture."""
    trained = {row.sha256 for row in read_split(run) if row.split == "train"}
    classes = json.loads(run.file(directory.RECORD).read_text())["classes"]
    assert [answer["path"] for answer in answers] == [str(path) for path in contents]
    pictures = [content for whole, other, _ in contents.values() for content in (whole, other)]
    probabilities = iter(probabilities_of(run, pictures))
    for answer, (whole, other, _) in zip(answers, contents.values(), strict=True):
        expected = {whole: next(probabilities), other: next(probabilities)}
        if "error" in answer:
            outcomes["answers that the photo cannot be read"] += 1
            continue
        given = {entry["label"]: entry["probability"] for entry in answer["top"]}
        values = np.array([given[name] for name in classes])
        fitting = [
            content for content, row in expected.items() if np.allclose(values, row, atol=2e-6)
        ]
        in_training = answer.get("seen_in_training", False)
        assert in_training in {digest(content) in trained for content in fitting}, answer
        kind = "the photo" if whole in fitting else "another picture"
        outcomes[f"answers for {kind}"] += 1


def check_scores(run: Run, known: Mapping[str, bytes], outcomes: Counter[str]) -> None:
    """The stored logits are those of the pictures whose hashes the run has recorded."""
    path = run.file(directory.predictions("test"))
    if not path.exists():
        return
    recorded = {row.path.as_posix(): row.sha256 for row in read_split(run)}
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    pictures = [known[digest_of(row["path"], recorded)] for row in table]
    columns = [name for name in table[0] if name.startswith("logit:")]
    powers = np.exp([[float(row[name]) for name in columns] for row in table])
    values = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values, probabilities_of(run, pictures), atol=2e-6)
    outcomes["scores"] += len(table)


def digest_of(name: str, recorded: Mapping[str, str]) -> str:
    (digest,) = {digest for path, digest in recorded.items() if path.endswith(name)}
    return digest


def probabilities_of(run: Run, pictures: Sequence[bytes]) -> np.ndarray:
    """What plain Keras gives for the pictures with the model of a run."""
    model = keras.models.load_model(run.file(directory.MODEL))
    pixels = [
        decode.load_image(picture, height=SIDE, width=SIDE, resize="squash") for picture in pictures
    ]
    return model.predict(np.float32(pixels), batch_size=32, verbose=0)


def check_rows(cache: Path, reference: Mapping[tuple[str, ...], bytes], outcomes: Counter[str]):
    """Every row is that of the picture with its hash, bit by bit."""
    rows = read_rows(cache)
    assert rows.keys() <= reference.keys()
    assert [key for key, row in rows.items() if row != reference[key]] == []
    outcomes["rows"] += len(rows)
