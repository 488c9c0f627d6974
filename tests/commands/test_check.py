"""`tlcli check`: what it prints, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path


def test_check(cli, config: Path, photos: Path):
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("r: 3 classes (blue, green, red)\nphotos: 24 train, 9 val, ")
    (photos / "train/red/00.png").write_bytes(b"")
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {photos}/train/red/00.png: ")
    assert len(done.stderr.splitlines()) == 1


def test_check_as_json(cli, config: Path, photos: Path):
    done = cli("check", "--config", config, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    counts = {split: {"blue": n, "green": n, "red": n}
              for split, n in (("train", 8), ("val", 3), ("test", 2))}  # fmt: skip
    assert json.loads(done.stdout) == {
        "problems": [],
        "findings": [],
        "images": {"counts": counts},
    }
    done = cli("check", "--config", config, "--json", "--set", "base.weights=x.h5")
    assert (done.exit_code, done.stderr) == (1, "")
    assert json.loads(done.stdout)["problems"] == [
        {
            "severity": "error",
            "where": "--set base.weights=x.h5",
            "message": f"no such weights file: {Path.cwd() / 'x.h5'}",
            "hint": "check the path; relative paths start at the recipe's folder",
        }
    ]


def test_the_only_recipe_of_a_folder_is_found(cli, config: Path, monkeypatch):
    monkeypatch.chdir(config.parent)
    assert cli("check").exit_code == 0


def test_warnings_and_notes(cli, config: Path, photos: Path):
    (photos / "train/red/notes.txt").touch()
    (photos / "train/.hidden").touch()
    words = ("check", "--config", config)
    done = cli(*words)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"warning: {photos}/train/red/notes.txt: ignored, without an image extension; "
        "photos need a file extension such as .jpg",
        f"note: {photos}/train/.hidden: ignored, hidden or made by the system",
    ]
    quiet = cli("--quiet", *words)
    assert quiet.stderr.splitlines() == done.stderr.splitlines()[:1]
    assert quiet.stdout == done.stdout
