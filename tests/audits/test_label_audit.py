"""`tlcli audit labels`: planted wrong labels, what they cost, and what a person decides."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint, paint_classes, paint_splits
from PIL import Image

from tlcli.data.dataset import build_index
from tlcli.recipe.load import load_recipe
from tlcli.runs.label_audit_record import LABEL_AUDIT, SUSPECTS_SHEET, read_label_audit

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = "name: shapes\ndata: {{dir: {}}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"

#: Wrong labels: a photo of the first colour lies in the folder of the second.
PLANTED = {"train/green/00-red.png": "red", "val/blue/01-green.png": "green"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Photos of three colours, 20 of each for training, two of all with a wrong label."""
    folder = paint_splits(tmp_path_factory.mktemp("shapes") / "photos", train=20, val=6, test=2)
    (folder / "train/red/00.png").rename(folder / "train/green/00-red.png")
    (folder / "val/green/01.png").rename(folder / "val/blue/01-green.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A store that the tests of this module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def audit(cli, shapes, write_recipe, cache):
    """Run the command on the photos: `audit("--json")`."""
    recipe = write_recipe(RECIPE.format(shapes))

    def run(*words: object, **settings):
        source = () if "--run" in words else ("--config", recipe)
        return cli("audit", "labels", *source, "--cache-dir", cache, *words, **settings)

    return run


def test_planted_labels_lead_the_list_with_their_neighbours(audit, shapes):
    done = audit("--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["photos"] == 78
    first = result["suspects"][:2]
    assert {suspect["path"]: suspect["suggested"] for suspect in first} == PLANTED
    assert all(set(suspect) == {"path", "split", "label", "suggested", "score", "neighbours"}
               for suspect in result["suspects"])  # fmt: skip
    scores = [suspect["score"] for suspect in result["suspects"]]
    assert scores == sorted(scores, reverse=True)
    for suspect in first:
        label, suggested = suspect["label"], suspect["suggested"]
        assert [near["label"] for near in suspect["neighbours"]] == [label] * 3 + [suggested] * 3
        assert all((shapes / near["path"]).is_file() for near in suspect["neighbours"])
        assert not {near["path"] for near in suspect["neighbours"]} & set(PLANTED)
    assert not [suspect for suspect in result["suspects"] if suspect["path"].startswith("test")]


def test_neighbours_are_the_nearest_by_the_angle_of_stored_features(audit, cli, shapes, cache):
    result = json.loads(audit("--json").stdout)
    recipe = Path(shapes.parent / "again.yaml")
    recipe.write_text(RECIPE.format(shapes))
    cli("extract", "--config", recipe, "--boundary", "block5_pool", "--out", "rows",
        "--cache-dir", cache)  # fmt: skip
    names = [line.split(",")[0] for line in Path("rows/index.csv").read_text().splitlines()[1:]]
    rows = dict(zip(map(Path, names), np.load("rows/features.npy"), strict=True))
    by_name = {
        (path if path.is_absolute() else shapes / path): row / np.linalg.norm(row)
        for path, row in rows.items()
    }
    suspect = result["suspects"][0]
    flagged = {shapes / other["path"] for other in result["suspects"]}
    own = by_name[shapes / suspect["path"]]
    members = [path for path in by_name
               if path.parts[-2] == suspect["label"] and path.parts[-3] != "test"
               and path not in flagged]  # fmt: skip
    nearest = sorted(members, key=lambda path: -float(by_name[path] @ own))[:3]
    assert [shapes / near["path"] for near in suspect["neighbours"][:3]] == nearest
    distance = 1 - float(by_name[nearest[0]] @ own)
    assert suspect["neighbours"][0]["distance"] == pytest.approx(distance, abs=1e-5)


def test_it_says_what_it_costs_and_the_next_one_costs_nothing(cli, shapes, write_recipe, tmp_path):
    recipe = write_recipe(RECIPE.format(shapes))
    words = ["audit", "labels", "--config", recipe, "--cache-dir", tmp_path / "new"]
    first = cli(*words, "--json")
    err = " ".join(first.stderr.split())
    assert "78 of 78 photos have no stored features and go through VGG16 once, about" in err
    assert "the next audit finds them in the store" in err
    again = cli(*words, "--json")
    assert "no stored features" not in again.stderr
    results = [json.loads(done.stdout) for done in (first, again)]
    assert [result.pop("images") for result in results] == [78, 0]
    assert [result.pop("seconds") is None for result in results] == [False, False]
    assert results[0] == results[1]


def test_rows_that_training_has_stored_are_used(cli, shapes, write_recipe, tmp_path):
    recipe = write_recipe(RECIPE.format(shapes))
    words = ["--config", recipe, "--cache-dir", tmp_path / "new"]
    cli("extract", *words, "--boundary", "block5_pool", "--out", "rows")
    top = json.loads(cli("audit", "labels", *words, "--json").stdout)
    assert (top["images"], top["boundaries"]) == (0, ["block5_pool"])
    cli("extract", *words, "--boundary", "block4_pool", "--out", "lower")
    more = json.loads(cli("audit", "labels", *words, "--json").stdout)
    assert more["images"] == 0
    assert more["boundaries"] == [
        "block4_pool", "block5_conv1", "block5_conv2", "block5_conv3", "block5_pool"
    ]  # fmt: skip


def test_table_record_and_sheet(audit):
    done = audit("--out", "audit")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("78 training and validation photos of 3 classes; 5 folds, features")
    assert "photo" in lines[6] and "likelier" in lines[6]
    assert lines[-1] == f"kept in audit: {LABEL_AUDIT}, {SUSPECTS_SHEET}"
    record = read_label_audit(Path("audit"))
    assert {suspect.path for suspect in record.suspects[:2]} == set(PLANTED)
    with Image.open(Path("audit") / SUSPECTS_SHEET) as sheet:
        assert sheet.info["Software"] == "tlcli"
        assert sheet.height > 120 * len(record.suspects)
    again = audit("--out", "audit")
    assert again.exit_code == 1
    assert f"--out audit: has {LABEL_AUDIT} already; name another folder" in again.stderr


def test_the_fix_list_is_filled_in_by_a_person_and_applied_by_a_recipe(
    audit, cli, shapes, write_recipe, cache
):
    assert audit("--fix-list", "fixes.csv").exit_code == 0
    with Path("fixes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "suggested", "keep"]
    assert {row["path"]: row["suggested"] for row in rows[:2]} == PLANTED
    assert {row["keep"] for row in rows} == {""}
    text = Path("fixes.csv").read_text().splitlines()
    decided = [text[0], f"{text[1]}no", f"{text[2]}yes", *text[3:]]
    Path("fixes.csv").write_text("\n".join(decided) + "\n")
    recipe = write_recipe(RECIPE.format(shapes), "fixed.yaml")
    given = load_recipe(recipe, ["data.labels=fixes.csv"])
    index = build_index(given.data)
    labels = {item.path: index.classes[item.label] for item in index.items}
    assert labels[shapes / rows[0]["path"]] == rows[0]["suggested"]
    assert labels[shapes / rows[1]["path"]] == rows[1]["label"]
    done = audit("--set", "data.labels=fixes.csv", "--json", "--fix-list", "fixes.csv")
    assert done.exit_code == 0, done.stderr
    paths = {suspect["path"] for suspect in json.loads(done.stdout)["suspects"]}
    assert not paths & {row["path"] for row in rows[:2]}, "a person has decided about them"
    assert Path("fixes.csv").read_text().splitlines()[:3] == decided[:3], "and their lines stay"


def test_a_file_that_is_no_fix_list_is_left_alone_and_refused_before_any_work(audit):
    Path("notes.csv").write_text("path,label\nmine,yes\n")
    done = audit("--fix-list", "notes.csv")
    assert done.exit_code == 1
    assert "--fix-list notes.csv: exists and is not a table of labels that tlcli has written" in (
        done.stderr
    )
    assert done.stdout == ""
    assert Path("notes.csv").read_text() == "path,label\nmine,yes\n"
    done = audit("--fix-list", "nowhere/fixes.csv")
    assert "--fix-list nowhere/fixes.csv: its folder does not exist" in done.stderr


def test_copies_of_a_suspect_are_in_the_fix_list(cli, tmp_path, write_recipe, shapes, cache):
    photos = tmp_path / "copied"
    shutil.copytree(shapes, photos)
    shutil.copyfile(photos / "train/green/00-red.png", photos / "train/green/copy.png")
    recipe = write_recipe(RECIPE.format(photos))
    done = cli("audit", "labels", "--config", recipe, "--fix-list", "f.csv", "--cache-dir", cache)
    assert done.exit_code == 0, done.stderr
    lines = Path("f.csv").read_text().splitlines()
    assert "train/green/00-red.png,green,red," in lines
    assert "train/green/copy.png,green,red," in lines


def test_labels_that_are_right(cli, tmp_path, write_recipe, cache):
    photos = paint_splits(tmp_path / "photos", train=20, val=6, test=2)
    recipe = write_recipe(RECIPE.format(photos))
    done = cli("audit", "labels", "--config", recipe, "--cache-dir", cache)
    assert done.exit_code == 0, done.stderr
    assert "the labels look right: " in done.stdout
    assert "0 of the 39 labels that the classifier is surest about contradict it" in done.stdout


def test_too_few_photos(cli, tmp_path, write_recipe, cache):
    photos = tmp_path / "photos"
    paint_classes(photos / "train", 4, 0)
    paint(photos / "train" / "violet" / "0.png", (150, 30, 200), 900)
    words = ["audit", "labels", "--config", write_recipe(RECIPE.format(photos)),
             "--cache-dir", cache, "--set", "data.split={val: 0, test: 0}"]  # fmt: skip
    done = cli(*words)
    assert done.exit_code == 0, done.stderr
    assert "left out, since they need two photos at least: violet" in done.stderr
    for name in ("green", "red"):
        for path in sorted((photos / "train" / name).iterdir())[1:]:
            path.unlink()
    done = cli(*words)
    assert done.exit_code == 1
    assert "data: cross-validation needs two classes with at least two photos each" in done.stderr


def test_a_recipe_and_a_run_are_two_sources(audit, cli):
    done = cli("audit", "labels", "--config", "a.yaml", "--run", "b")
    assert done.exit_code == 2
    assert "--config and --run: name one of them" in done.stderr
    done = cli("audit", "labels", "--run", "b")
    assert done.exit_code == 1
    assert "--run b: no such run" in done.stderr
