"""`tlcli init`: a starter recipe that passes the check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.photos import paint


def test_init_then_check(cli, photos: Path):
    done = cli("init", photos, "--base", "mobilenetv2")
    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "photos.yaml\n",
        "3 classes: 24 photos to train on, 9 to validate, 6 to test\n"
        "next: tlcli check --config photos.yaml\n",
    )
    assert cli("check", "--set", "base.weights=random").exit_code == 0
    again = cli("init", photos)
    assert (again.exit_code, again.stderr) == (
        1, "error: photos.yaml: exists; name another with --out, or use --force\n"
    )  # fmt: skip


def write_flat(folder: Path) -> None:
    """Photos as Kaggle packs them: labels in the names of train/, and test1/ without labels."""
    for label, colour in (("cat", (200, 60, 60)), ("dog", (60, 60, 200))):
        for number in range(12):
            paint(folder / "train" / f"{label}.{number}.png", colour, number)
    paint(folder / "test1/1.png", (60, 200, 60), 99)


def test_every_command_refuses_a_flat_download_in_the_same_words(cli, tmp_path: Path, write_recipe):
    write_flat(tmp_path / "pets")
    config = write_recipe("data: {dir: pets}\nbase: {name: VGG16, weights: random}\n")
    line = (
        f"error: {tmp_path}/pets: train, test1 are named like splits, but there is no folder "
        "'train' with class folders in it; if the names of photos tell their labels (cat, dog), "
        f"`tlcli init {tmp_path}/pets --labels-from-names` writes a table, or rename the folders\n"
    )
    for words in (
        ("init", tmp_path / "pets"),
        ("check", "-c", config),
        ("finetune", "--dry-run", "-c", config),
    ):
        done = cli(*words)
        verdict = "not ready: 1 error\n" if words[0] == "check" else ""
        assert (done.exit_code, done.stdout, done.stderr) == (1, verdict, line)


def test_labels_from_names(cli, tmp_path: Path):
    write_flat(tmp_path / "pets")
    words = ("init", tmp_path / "pets", "--labels-from-names", "--base", "mobilenetv2")
    done = cli(*words)
    assert (done.exit_code, done.stdout) == (0, "pets.yaml\n")
    assert done.stderr.splitlines()[:2] == [
        "pets.csv: 24 photos with 2 labels from their names",
        f"warning: {tmp_path}/pets: left out 1 photo whose names show no label, such as "
        "test1/1.png",
    ]
    table = Path("pets.csv").read_text().splitlines()
    assert table[0] == "path,label"
    assert len(table) == 25
    assert table[1].endswith("pets/train/cat.0.png,cat")
    assert "  csv: pets.csv\n" in Path("pets.yaml").read_text()
    done = cli("check", "--set", "base.weights=random")
    assert done.exit_code == 0
    assert done.stdout.startswith("pets: 2 classes (cat, dog)\n")
    for path, other in (("pets.yaml", "x.yaml"), ("pets.csv", "pets.yaml")):
        assert cli(*words).stderr == (
            f"error: {path}: exists; name another with --out, or use --force\n"
        )
        Path(path).rename(other)
    assert not Path("pets.csv").exists()
    done = cli("init", tmp_path / "pet", "--labels-from-names")
    assert done.stderr == (
        f"error: {tmp_path}/pet: no such folder; did you mean '{tmp_path}/pets'?\n"
    )


def test_a_table_has_a_starter_recipe_too(cli, tmp_path: Path):
    write_flat(tmp_path / "pets")
    rows = [f"pets/train/{label}.{n}.png,{label}\n" for label in ("cat", "dog") for n in range(12)]
    (tmp_path / "my labels.csv").write_text("".join(["path,label\n", *rows]))
    assert cli("init", tmp_path / "my labels.csv", "--labels-from-names", "--force").stderr == (
        "error: --labels-from-names: my labels.csv is a table; leave it out, or name the folder of "
        "the photos\n"
    )
    done = cli("init", tmp_path / "my labels.csv")
    assert (done.exit_code, done.stdout) == (0, "my_labels.yaml\n")
    assert "my labels.csv" in Path("my_labels.yaml").read_text()
    assert cli("check", "--set", "base.weights=random").exit_code == 0


def test_init_says_what_it_made_of_the_layout(cli, tmp_path: Path):
    for part in ("training_set/training_set", "test_set/test_set"):
        for number in range(20):
            paint(tmp_path / "pets" / part / "cats" / f"{number}.png", (200, 60, 60), number)
            paint(tmp_path / "pets" / part / "cat" / f"{number}.png", (60, 60, 200), number)
    done = cli("init", tmp_path / "pets")
    assert (done.exit_code, done.stdout) == (0, "pets.yaml\n")
    lines = done.stderr.splitlines()
    root = tmp_path / "pets"
    assert (
        f"note: {root}: uses training_set/training_set as train, test_set/test_set as test"
    ) in lines
    assert any("looks like the name of another" in line for line in lines)


def test_the_recipe_as_json(cli, photos: Path):
    done = cli("init", photos, "--json", "-o", "pets.yaml")
    photos_found = {"train": 24, "val": 9, "test": 6}
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "recipe": "pets.yaml", "classes": 3, "photos": photos_found
    }  # fmt: skip
    assert cli("init", photos, "-o", "pets.yaml", "-f").exit_code == 0


@pytest.mark.parametrize("text", ["label", "label=", "lable=dx", "=dx"])
def test_a_column_is_a_use_and_a_name(cli, photos: Path, text: str):
    done = cli("init", photos, "--column", text)
    assert done.exit_code == 2
    assert done.stderr.endswith(
        f"Error: --column {text}: write USE=NAME, with a USE out of path, label, split, group\n"
    )
