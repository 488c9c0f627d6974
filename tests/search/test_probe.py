"""Probes: the numbers of scikit-learn, one pass, and only the training photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.photos import paint_classes, paint_splits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcli.data.folds import make_folds
from tlcli.networks.bases import BASES
from tlcli.runs.probe_record import ACCURACY_CHARTS, LEARNING_CHARTS, PROBE, read_probe
from tlcli.search.probe import probed_boundaries

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = "name: shapes\ndata: {{dir: {}}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Training photos of three classes, 12 each, and a few for validation and test."""
    return paint_splits(tmp_path_factory.mktemp("shapes"), train=12, val=2, test=2)


def test_the_boundaries_are_the_last_of_each_block_and_those_of_the_two_highest():
    assert [boundary.name for boundary in probed_boundaries(BASES["VGG16"])] == [
        "block1_pool", "block2_pool", "block3_pool", "block4_conv1", "block4_conv2",
        "block4_pool", "block5_conv1", "block5_conv2", "block5_pool",
    ]  # fmt: skip
    names = [boundary.name for boundary in probed_boundaries(BASES["ResNet50"])]
    assert names[-1] == BASES["ResNet50"].top.name
    assert names[:2] == ["pool1_pool", "conv2_block3_out"]


@pytest.mark.parametrize("base", sorted(BASES))
def test_every_base_has_boundaries_to_ask(base):
    row = BASES[base]
    names = [boundary.name for boundary in probed_boundaries(row)]
    assert len(names) >= 2
    assert names[-1] == row.top.name
    assert names == sorted(names, key=[b.name for b in row.boundaries].index)


def with_strength(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000, tol=1e-6))


def by_scikit_learn(features: Any, labels: Any, groups: Any) -> tuple[Any, Any, Any]:
    """The answers of both classifiers and the linear one's margins, as the documentation says."""
    linear, votes, margins = np.empty(len(labels)), np.empty(len(labels)), np.empty(len(labels))
    for fitted, judged in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(
        features, labels, groups
    ):
        inner = StratifiedGroupKFold(4, shuffle=True, random_state=0)
        part = next(inner.split(features[fitted], labels[fitted], groups[fitted]))
        chosen, others = fitted[part[0]], fitted[part[1]]
        losses = {
            strength: log_loss(
                labels[others],
                with_strength(strength)
                .fit(features[chosen], labels[chosen])
                .predict_proba(features[others]),
                labels=np.unique(labels),
            )
            for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
        }
        model = with_strength(min(losses, key=losses.__getitem__))
        model.fit(features[fitted], labels[fitted])
        linear[judged] = model.predict(features[judged])
        ordered = np.sort(model.predict_proba(features[judged]), axis=1)
        margins[judged] = ordered[:, -1] - ordered[:, -2]
        knn = KNeighborsClassifier(10, metric="cosine", algorithm="brute")
        votes[judged] = knn.fit(features[fitted], labels[fitted]).predict(features[judged])
    return linear, votes, margins


def test_the_numbers_are_those_of_scikit_learn_on_extracted_features(
    cli, shapes, write_recipe, tmp_path
):
    recipe = write_recipe(RECIPE.format(shapes))
    cache = ["--cache-dir", str(tmp_path / "cache")]
    done = cli("probe", "--config", recipe, "--boundaries", "block5_pool,block3_pool", "--json",
               "--out", tmp_path / "probe", *cache)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert [row["name"] for row in record["boundaries"]] == ["block3_pool", "block5_pool"]
    assert (record["photos"], record["classes"], record["folds"]) == (36, 3, 5)
    for row in record["boundaries"]:
        out = tmp_path / row["name"]
        cli("extract", "--config", recipe, "--boundary", row["name"], "--out", out, *cache)
        lines = [line.split(",") for line in (out / "index.csv").read_text().splitlines()[1:]]
        train = [number for number, line in enumerate(lines) if line[2] == "train"]
        features = np.load(out / "features.npy")[train].astype(np.float64)
        labels = np.unique([lines[i][1] for i in train], return_inverse=True)[1]
        groups = np.array([lines[i][3] for i in train])
        linear, votes, margins = by_scikit_learn(features, labels, groups)
        assert margins.min() > 1e-3  # so that rounding decides no answer
        assert row["accuracy"] == (linear == labels).mean()
        assert row["knn"] == (votes == labels).mean()


def test_one_pass_gives_all_boundaries_and_the_next_probe_none(cli, shapes, write_recipe):
    recipe = write_recipe(RECIPE.format(shapes))
    first = json.loads(cli("probe", "--config", recipe, "--json").stdout)
    assert first["images"] == 36
    again = json.loads(cli("probe", "--config", recipe, "--json").stdout)
    assert again["images"] == 0
    for key in ("seconds", "images", "boundaries"):
        rows = first.pop(key), again.pop(key)
    strip = [[{**row, "seconds": 0} for row in side] for side in rows]
    assert strip[0] == strip[1]
    assert first == again


@pytest.mark.slow
def test_rows_that_the_store_has_are_averaged(cli, shapes, write_recipe):
    recipe = write_recipe(RECIPE.format(shapes))
    words = ["--config", recipe, "--boundaries", "block5_pool", "--json"]
    expected = json.loads(cli("probe", *words, "--cache-dir", "other").stdout)
    cli("extract", "--config", recipe, "--boundary", "block5_pool")
    record = json.loads(cli("probe", *words).stdout)
    assert (expected["images"], record["images"]) == (36, 0)
    assert record["boundaries"][0]["accuracy"] == expected["boundaries"][0]["accuracy"]


def test_photos_for_validation_and_test_have_no_say(cli, tmp_path, write_recipe):
    records = []
    for number, others in enumerate((100, 700)):
        photos = tmp_path / str(number) / "photos"
        for split, count, seed in (("train", 6, 0), ("val", 2, others), ("test", 2, others + 50)):
            paint_classes(photos / split, count, first_seed=seed)
        recipe = write_recipe(RECIPE.format(photos), f"{number}.yaml")
        done = cli("probe", "--config", recipe, "--boundaries", "block5_pool", "--json")
        records.append(json.loads(done.stdout))
    assert records[0]["photos"] == 18
    assert [record["images"] for record in records] == [18, 0]
    for record in records:
        del record["seconds"], record["images"], record["boundaries"][0]["seconds"]
    assert records[0] == records[1]


def test_record_and_charts_are_kept_and_what_is_printed_says_where(cli, shapes, write_recipe):
    recipe = write_recipe(RECIPE.format(shapes))
    done = cli("probe", "--config", recipe, "--boundaries", "block4_pool,block5_pool", "--out", "p")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("36 training photos of 3 classes, 5 folds; the most frequent class")
    assert lines[3].split() == [
        "boundary", "accuracy", "interval", "neighbours", "trainable", "above", "row", "time",
    ]  # fmt: skip
    assert lines[-1].startswith("kept in p: probe.json, accuracy.png")
    for name in (PROBE, *ACCURACY_CHARTS, *LEARNING_CHARTS):
        assert (Path("p") / name).stat().st_size
    record = read_probe(Path("p"))
    assert [point.share for point in record.learning_curve] == [0.25, 0.5, 1.0]
    assert record.learning_curve[-1].accuracy == record.boundary(record.best).accuracy
    again = cli("probe", "--config", recipe, "--out", "p")
    assert again.exit_code == 1
    assert "--out p: has probe.json already; name another folder" in again.stderr


def test_groups_stay_together():
    labels = np.repeat([0, 1], 20)
    groups = [f"g{number // 4}" for number in range(40)]
    for fold in make_folds(labels, groups, 5, seed=3):
        fitted, judged = ({groups[i] for i in part} for part in fold)
        assert not fitted & judged


def test_a_class_with_one_photo_is_left_out_and_too_few_photos_are_an_error(
    cli, tmp_path, write_recipe
):
    photos = tmp_path / "photos"
    paint_classes(photos / "train", 3, first_seed=0)
    paint_classes(photos / "val", 1, first_seed=50)
    paint_classes(photos / "test", 1, first_seed=60)
    names = sorted(folder.name for folder in (photos / "train").iterdir())
    for photo in sorted((photos / "train" / names[0]).iterdir())[1:]:
        photo.unlink()
    recipe = write_recipe(RECIPE.format(photos))
    words = ["probe", "--config", recipe, "--boundaries", "block5_pool"]
    done = cli(*words)
    assert done.exit_code == 0, done.stderr
    assert f"left out, since they need two photos at least: {names[0]}" in done.stderr
    assert "3 folds instead of 5: the smallest class has photos for no more" in done.stderr
    for photo in sorted((photos / "train" / names[1]).iterdir())[1:]:
        photo.unlink()
    short = cli(*words)
    assert short.exit_code == 1
    assert "cross-validation needs two classes with at least two photos each" in short.stderr


def test_a_name_that_is_no_boundary_is_refused(cli, shapes, write_recipe):
    recipe = write_recipe(RECIPE.format(shapes))
    done = cli("probe", "--config", recipe, "--boundaries", "block5_pol")
    assert done.exit_code == 1
    assert "--boundaries: VGG16 has no boundary 'block5_pol'; did you mean 'block5_pool'" in (
        done.stderr
    )
