"""The advice: the table of strategies by hand, and whole commands on small photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint_splits

from tlcli.networks.bases import BASES, PretrainedBase
from tlcli.recipe.load import load_recipe
from tlcli.runs.advice_record import MeasuredShare, TuningTrial, read_advice
from tlcli.runs.probe_record import LearningPoint, PairedDifference, ProbedBoundary, ProbeRecord
from tlcli.search import base_ranking, tuning_trial
from tlcli.search.base_ranking import BaseScore
from tlcli.search.strategies import boundary_to_tune, choose_strategy, why_no_trial
from tlcli.search.subject import Subject
from tlcli.search.tuning_trial import is_clear
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight

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
        (measured("block3_pool", 0.08), trial(0.05, 0.01, "block3_pool"),
         "cut lower and augment", "block3_pool", True),
        (measured("block1_pool", 0.08), trial(0.05, 0.01, "block1_pool"),
         "train everything", "pixels", False),
        (measured("block1_pool", 0.08, slope=0.03), trial(0.05, 0.01, "block1_pool"),
         "cut lower and augment", "block1_pool", True),
        (measured("block3_pool", 0.08), None, "cut lower and augment", "block3_pool", True),
        (measured("block1_pool", 0.08, slope=0.03), None,
         "cut lower and augment", "block1_pool", True),
        (measured("block1_pool", 0.08), None, "train everything", "pixels", False),
        (measured(), None, "train the head", None, False),
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


def test_a_trial_that_cannot_change_the_advice_is_not_made():
    def words(record: ProbeRecord, row: PretrainedBase = VGG16) -> str:
        reason = choose_strategy(row, record, None).reasons[2]
        assert reason.startswith("tuning: not tried, since ")
        return reason.removeprefix("tuning: not tried, since ")

    sure = measured()
    top = sure.boundaries[-1].model_copy(update={"accuracy": 0.995})
    sure = sure.model_copy(update={"boundaries": (*sure.boundaries[:-1], top)})
    assert why_no_trial(VGG16, measured()) is None
    assert words(measured()) == "there are too few photos to judge it by"
    assert words(sure) == "with the head alone, less than one photo in 100 is wrong"
    few = measured().model_copy(update={"photos": 179})
    assert words(few) == (
        "179 photos are too few to tell what tuning gains from chance (180 would do)"
    )
    assert why_no_trial(VGG16, few.model_copy(update={"photos": 180})) is None
    foreign = measured("block3_pool", 0.08)
    assert words(foreign) == "what is lost above block3_pool has to be learned anew"
    expected = choose_strategy(VGG16, foreign, None).expected
    assert (expected.accuracy, expected.photos) == (foreign.boundaries[-1].accuracy, 500)
    nasnet = BASES["NASNetMobile"]
    assert words(foreign, nasnet) == "this base has no boundary that tuning would help at"
    assert choose_strategy(nasnet, foreign, None).name == "train the head"


def test_a_trial_ends_where_its_answer_is_clear():
    def gain(value: float, high: float, p: float) -> bool:
        return is_clear(PairedDifference(value=value, low=-0.5, high=high, p=p))

    assert gain(0.05, 0.08, 0.004)
    assert not gain(0.05, 0.08, 0.02), "several looks find by chance what one would not"
    assert not gain(-0.05, 0.02, 0.004), "what is lost at first may come back"
    assert gain(-0.05, 0.005, 0.004)
    assert gain(0.0, 0.009, 1)


def test_the_boundary_that_is_tried():
    assert boundary_to_tune(VGG16, measured()) == "block4_pool"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.08)) == "block3_pool"
    near = measured("block3_pool", 0.04, p=0.001)
    assert boundary_to_tune(VGG16, near) == "block1_pool", "what it lacks, tuning regains"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.005)) == "block4_pool"
    assert boundary_to_tune(VGG16, measured("block3_pool", 0.08, p=0.2)) == "block4_pool"
    tied = measured("block3_pool", 0.08)
    lowest = tied.boundaries[0].model_copy(update={"p": 0.3})
    tied = tied.model_copy(update={"boundaries": (lowest, *tied.boundaries[1:])})
    assert boundary_to_tune(VGG16, tied) == "block1_pool", "the lowest of those that are tied"
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
    assert [reason.partition(":")[0] for reason in evidence["reasons"]] == [
        "amount", "similarity", "tuning",
    ]  # fmt: skip
    assert (evidence["tuning"] is None) == ("not tried" in evidence["reasons"][2])
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


@pytest.mark.usefixtures("thin_vgg16")
def test_a_trial_trains_a_head_and_then_the_base(shapes, write_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_trial, "HEAD_STEPS", 3)
    monkeypatch.setattr(tuning_trial, "TUNING_STEPS", 6)
    monkeypatch.setattr(tuning_trial, "is_clear", lambda gain: False)
    recipe = load_recipe(write_recipe(RECIPE.format(shapes)))
    subject = Subject(make_plan(preflight(recipe, cache=tmp_path / "cache", run=False)))
    before = [variable.numpy() for variable in subject.network.whole.weights]
    made = tuning_trial.try_tuning(subject, "block5_conv2")
    assert made is not None
    assert (made.boundary, made.epochs, made.learning_rate) == ("block5_conv2", 6, 5e-5)
    assert (made.fitted, made.head.photos, made.tuned.photos) == (18, 9, 9)
    gain = made.tuned.accuracy - made.head.accuracy
    assert made.gain.value == pytest.approx(gain)
    changed = [
        variable.path
        for variable, value in zip(subject.network.whole.weights, before, strict=True)
        if not np.array_equal(variable.numpy(), value)
    ]
    assert {path.split("/")[0] for path in changed} == {
        "block5_conv3", "head_dense_1", "head_logits",
    }  # fmt: skip
    monkeypatch.setattr(tuning_trial, "is_clear", lambda gain: True)
    again = tuning_trial.try_tuning(Subject(subject.plan), "block5_conv2")
    assert again is not None
    assert again.epochs == 2, "it ends at the first look"
    assert again.head == made.head


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
