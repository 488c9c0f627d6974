"""`tlcli check`: what it prints, as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image


def test_check(cli, config: Path, photos: Path):
    done = cli("check", "--config", config)
    following = f"next: tlcli finetune --config {config}\n"
    assert (done.exit_code, done.stderr) == (0, following)
    assert done.stdout.endswith("\n\nready\n")
    assert done.stdout.startswith("r: 3 classes (blue, green, red)\nphotos: 24 train, 9 val, ")
    (photos / "train/red/00.png").write_bytes(b"")
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "not ready: 1 error\n")
    assert done.stderr.startswith(f"error: {photos}/train/red/00.png: ")
    assert len(done.stderr.splitlines()) == 1


def test_check_as_json(cli, config: Path, photos: Path):
    done = cli("--quiet", "check", "--config", config, "--json")
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


def _write_many_classes(folder: Path) -> None:
    """300 classes of 2 photos."""
    for number in range(300):
        for photo in range(2):
            path = folder / f"c{number:03d}" / f"{photo}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = (number % 256, 90 * photo, 40 + number // 256)
            Image.new("RGB", (40, 40), colour).save(path)


def test_each_kind_of_trouble_is_one_line(cli, tmp_path: Path, write_recipe):
    _write_many_classes(tmp_path / "many")
    more = "stages: [{name: a, class_weights: {x1: 1, x2: 2, x3: 3, x4: 4}}]"
    config = write_recipe(f"data: {{dir: many}}\nbase: {{name: VGG16, weights: random}}\n{more}\n")
    lines = cli("check", "-c", config).stderr.splitlines()
    kinds = [re.sub(r"c\d\d\d.*", "", line) for line in lines]
    assert len(set(kinds)) == len(kinds) == len(lines) < 12
    without_test = next(line for line in lines if "left for test" in line)
    assert without_test == (
        f"warning: {tmp_path}/many: 300 folders: no photo is left for test: "
        "c000 (2 photos in all), c001 (2 photos in all), c002 (2 photos in all) and 297 more; "
        "add photos: a class needs three, or groups, to be in every split"
    )
    assert lines[-1] == (
        "note: data: of each kind, the first 3 are named here; `tlcli check --all` or `--json` "
        "names all"
    )
    every = cli("check", "-c", config, "--all").stderr.splitlines()
    assert sum("left for test" in line for line in every) == 300
    listed = json.loads(cli("check", "-c", config, "--json").stdout)
    (thin,) = (flaw for flaw in listed["findings"] if "left for test" in flaw["message"])
    assert (thin["count"], len(thin["paths"])) == (300, 300)


def test_classes_that_differ_between_splits_are_a_line_for_each_split(
    cli, tmp_path: Path, write_recipe
):
    for split, first in (("train", 0), ("val", 100), ("test", 200)):
        for number in range(first, first + 100):
            path = tmp_path / "many" / split / f"c{number:03d}" / "0.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"%d" % number)
    text = f"data: {{dir: {tmp_path / 'many'}}}\nbase: {{name: VGG16, weights: random}}\n"
    done = cli("finetune", "--dry-run", "-c", write_recipe(text))
    lines = [line for line in done.stderr.splitlines() if "in train" in line]
    assert len(lines) == 4
    assert lines[0].startswith(
        f"error: {tmp_path}/many: 100 folders: a class that is not in train: val/c100 (like 'c0"
    )
    assert lines[1] == (
        f"error: {tmp_path}/many/val: 100 classes: missing here, but in train: 'c000', 'c001', "
        "'c002' and 97 more; add photos of it, or delete the val folder"
    )
    assert "error: data: of each kind, the first 3 are named here" in done.stderr


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
        f"next: tlcli finetune --config {config}",
    ]
    assert done.stdout.endswith("\nready: 1 warning\n")
    quiet = cli("--quiet", *words)
    assert quiet.stderr.splitlines() == done.stderr.splitlines()[:1]
    assert quiet.stdout == done.stdout
