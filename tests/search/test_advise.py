"""The advice: the table of strategies by hand, and whole commands on small photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint_splits

from tlcli.networks.bases import BASES
from tlcli.recipe.load import load_recipe
from tlcli.runs.advice_record import MeasuredShare, TuningTrial, read_advice
from tlcli.runs.probe_record import LearningPoint, PairedDifference, ProbedBoundary, ProbeRecord
from tlcli.search import base_ranking
from tlcli.search.base_ranking import BaseScore
from tlcli.search.strategies import boundary_to_tune, choose_strategy

RECIPE = (
    "name: shapes\ndata: {{dir: {}}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
    "stages: [{{name: head, epochs: 2, learning_rate: 1.0e-3}}]\n"
)

VGG16 = BASES["VGG16"]


def difference(value: float, p: float) -> PairedDifference:
    return PairedDifference(value=value, low=value - 0.02, high=value + 0.02, p=p)


def measured(
    best: str = "block5_pool", foreign: float = 0.0, slope: float = 0.0, p: float = 0.001
) -> ProbeRecord:
    """A probe of three boundaries, of which `best` is the most accurate."""
    names = ("block1_pool", "block3_pool", "block5_pool")
    rows = [
        ProbedBoundary(
            name=name, accuracy=0.9 + (foreign if name == best else 0), low=0.8, high=1, knn=0.8,
            p=1 if name == best else p, parameters_above=1, row_bytes=1, seconds=0,
        )
        for name in names
    ]  # fmt: skip
    points = [
        LearningPoint(share=share, photos=round(400 * share), accuracy=0.9, low=0.8, high=1)
        for share in (0.25, 0.5, 1.0)
    ]
    return ProbeRecord(
        recipe="r", base="VGG16", image_size=(64, 64), weights="w", data="d", photos=500,
        classes=2, folds=5, majority=0.5, boundaries=tuple(rows), best=best,
        learning_curve=tuple(points), foreignness=difference(foreign, p if foreign else 1),
        slope=difference(slope, p if slope else 1), images=0, seconds={},
    )  # fmt: skip


def trial(gain: float, p: float, boundary: str = "block4_pool") -> TuningTrial:
    share = MeasuredShare(accuracy=0.95, low=0.9, high=1, photos=100)
    return TuningTrial(
        boundary=boundary, epochs=4, learning_rate=5e-5, fitted=200, head=share, tuned=share,
        gain=difference(gain, p), seconds=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "tried", "name", "boundary", "augment"),
    [
        (measured(), trial(0.0, 1), "train the head", None, False),
        (measured(), trial(0.005, 0.4), "train the head", None, False),
        (measured(), trial(0.004, 0.01), "tune the top", "block4_pool", False),
        (measured(slope=0.02), trial(0.03, 0.2), "tune the top", "block4_pool", True),
        (measured(slope=0.02), trial(-0.03, 0.01), "train the head", None, False),
        (measured("block3_pool", 0.05), trial(0.05, 0.01, "block3_pool"),
         "cut lower and augment", "block3_pool", True),
        (measured("block1_pool", 0.05), trial(0.05, 0.01, "block1_pool"),
         "train everything", "pixels", False),
        (measured("block1_pool", 0.05, slope=0.03), trial(0.05, 0.01, "block1_pool"),
         "cut lower and augment", "block1_pool", True),
        (measured("block3_pool", 0.05), None, "train the head", None, False),
    ],
)  # fmt: skip
def test_the_table_of_strategies(record, tried, name, boundary, augment):
    strategy = choose_strategy(VGG16, record, tried)
    assert (strategy.name, strategy.freeze_until, strategy.augment) == (name, boundary, augment)
    assert len(strategy.reasons) == 3


def test_what_is_not_certain_is_not_called_so():
    def verdict(gain: float, p: float) -> str:
        return choose_strategy(VGG16, measured(), trial(gain, p)).reasons[2].rpartition(": ")[2]

    assert verdict(0.02, 0.01) == "tuning pays"
    assert verdict(0.02, 0.2) == "tuning probably pays, chance is possible"
    assert verdict(0.005, 0.2) == "no gain that matters was measured"


def test_the_boundary_that_is_tried():
    assert boundary_to_tune(VGG16, measured()) == "block4_pool"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.05)) == "block3_pool"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.005)) == "block4_pool"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.05, p=0.2)) == "block4_pool"
    assert boundary_to_tune(BASES["NASNetMobile"], measured()) is None


def test_ties_between_bases_go_to_the_fastest():
    def score(name: str, low: float, high: float, speed: float) -> BaseScore:
        return BaseScore(
            name=name, accuracy=(low + high) / 2, low=low, high=high, photos_per_second=speed
        )

    ranked = base_ranking.rank_bases(
        [score("a", 0.8, 0.89, 50), score("b", 0.9, 0.96, 10), score("c", 0.88, 0.94, 20)]
    )
    assert [(entry.name, entry.tied) for entry in ranked] == [
        ("b", True), ("c", True), ("a", False),
    ]  # fmt: skip
    assert base_ranking.preferred_base(ranked).name == "c"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    return paint_splits(tmp_path_factory.mktemp("shapes"), train=9, val=2, test=2)


def test_an_advice_is_a_recipe_that_can_be_trained(cli, shapes, write_recipe, tmp_path):
    recipe = write_recipe(RECIPE.format(shapes))
    out = tmp_path / "advised.yaml"
    done = cli("advise", "--config", recipe, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert set(value) >= {"strategy", "expected", "evidence", "recipe"}
    assert value["recipe"] == {"path": str(out), "text": out.read_text("utf-8")}
    evidence = value["evidence"]
    assert evidence["tuning"]["boundary"] in [row["name"] for row in evidence["boundaries"]]
    assert evidence["tuning"]["fitted"] + evidence["tuning"]["tuned"]["photos"] == 27
    keys = [line for line in out.read_text("utf-8").splitlines() if ":" in line and line[0] != "#"]
    assert all("# " in line for line in keys if not line.rstrip().endswith(":"))
    advised = load_recipe(out)
    assert advised.data.dir == shapes
    assert advised.stages[0].early_stopping is not None
    plan = cli("finetune", "--config", out, "--dry-run")
    assert plan.exit_code == 0, plan.stderr
    assert "warning" not in plan.stderr
    folder = Path(value["folder"])
    assert read_advice(folder).strategy == value["strategy"]
    again = cli("advise", "--config", recipe, "--out", out)
    assert again.exit_code == 1
    assert f"--out {out}: exists already; name another file, or replace it with --force" in (
        again.stderr
    )
    text = cli("advise", "--config", recipe)
    assert "the probe in" in text.stderr
    assert text.stdout.startswith(f"strategy: {value['strategy']} (VGG16")
    assert "expected accuracy on new photos: " in text.stdout
    kept = folder / "recipe.yaml"
    assert text.stdout.splitlines()[-1] == f"recipe: {kept}"
    kept.write_text(kept.read_text("utf-8") + "seed: 5\n", "utf-8")
    changed = cli("advise", "--config", recipe)
    assert changed.exit_code == 1
    assert f"{kept}: was changed since tlcli wrote it; move it elsewhere" in changed.stderr


def test_bases_are_ranked_and_those_without_weights_are_named(cli, shapes, write_recipe):
    text = RECIPE.format(shapes).replace("weights: random, ", "")
    done = cli("advise", "--config", write_recipe(text), "--bases", "MobileNet,vgg16", "--offline")
    assert done.exit_code == 1
    for base in ("MobileNet", "VGG16"):
        assert f"--bases {base}: " in done.stderr
    unknown = cli("advise", "--config", write_recipe(text), "--bases", "VGG6")
    assert unknown.exit_code == 1
    assert "'VGG6' is not a base tlcli knows; did you mean 'VGG16'?" in unknown.stderr


@pytest.mark.slow
def test_two_bases_side_by_side(cli, shapes, write_recipe):
    recipe = write_recipe(RECIPE.format(shapes))
    done = cli("advise", "--config", recipe, "--bases", "VGG16,MobileNetV3Small", "--json")
    assert done.exit_code == 0, done.stderr
    scores = json.loads(done.stdout)["evidence"]["bases"]
    assert {score["name"] for score in scores} == {"VGG16", "MobileNetV3Small"}
    assert scores[0]["accuracy"] >= scores[1]["accuracy"]
    assert all(score["photos_per_second"] > 0 for score in scores)
    assert np.isfinite([score["answers_per_second"] for score in scores]).all()
