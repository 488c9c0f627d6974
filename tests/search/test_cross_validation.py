"""`tlcli evaluate --folds`: which photos are in a fold, what a fold trains, and going on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from builders.photos import paint_splits
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from tlcli.commands.options import plan_from_options
from tlcli.networks.temperature import fit_temperature
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.runs.fold_record import FOLDS, FOLDS_WITH_TUNING, read_folds, write_folds
from tlcli.search.fold_folder import begin_record, find_known
from tlcli.search.fold_plan import FoldPlan, plan_folds
from tlcli.training.order import epoch_order
from tlcli.training.step_methods import PLAIN

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
name: shapes
data: {{dir: '{}'}}
base: {{name: VGG16, weights: random, image_size: 32}}
head: {{hidden: [], dropout: 0}}
stages:
  - {{name: head, epochs: 6, learning_rate: 0.05}}
  - {{name: tune, freeze_until: block5_conv3, epochs: 1, learning_rate: 1.0e-3}}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Photos of three classes: 11 of each for training and validation, and one copy."""
    folder = paint_splits(tmp_path_factory.mktemp("shapes") / "photos", train=8, val=3, test=2)
    shutil.copyfile(folder / "train/blue/00.png", folder / "train/blue/copy.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A store that the tests of this module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def recipe(shapes, write_recipe) -> Path:
    return write_recipe(RECIPE.format(shapes), "shapes.yaml")


@pytest.fixture
def plan(recipe, cache):
    """The folds of the recipe: `plan(3, 2)`."""

    def make(folds: int, seeds: int, *, tuning: bool = False, overrides=()) -> FoldPlan:
        access = WeightsAccess.from_options()
        planned = plan_from_options(recipe, tuple(overrides), cache, access, run=False)
        return plan_folds(planned, folds, seeds, tuning=tuning)

    return make


@pytest.fixture
def evaluate(cli, recipe, cache):
    """Run the command on the recipe: `evaluate("--folds", 2, "--json")`."""

    def run(*words: object):
        return cli("evaluate", "--config", recipe, "--cache-dir", cache, *words)

    return run


def test_folds_are_those_of_scikit_learn_and_copies_count_once(plan, shapes):
    folds = plan(3, 2, overrides=["data.duplicates=allow"])
    items = folds.plan.index.items
    assert len(items) == 33, "the copy is not another photo, and test photos are left out"
    labels = [item.label for item in items]
    for seed in (0, 1):
        judge = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
        truth = [judged for _, judged in judge.split(labels, labels, folds.groups)]
        for fold, positions in zip(folds.divide(seed), truth, strict=True):
            judged = {item.path for item in fold.index.of("test")}
            assert judged == {items[position].path for position in positions}
            counts = [len(fold.index.of(split)) for split in ("train", "val", "test")]
            assert counts[2] == 11
            assert sum(counts) == 33
            assert counts[1] in (5, 6), "9 of 33 photos are for validation: of 22, a fourth"


def test_photos_of_a_group_stay_together(plan, shapes, tmp_path, recipe, cache):
    lines = ["path,label,group"]
    lines += [f"{path},{path.parent.name},patient {path.stem}-{path.parts[-3]}"
              for path in sorted(shapes.glob("train/*/0*.png"))]  # fmt: skip
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    recipe.write_text(RECIPE.replace("dir: '{}'", "csv: table.csv, split: {{val: 0, test: 0}}")
                      .format())  # fmt: skip
    folds = plan(4, 1)
    tested: set[str] = set()
    for fold in folds.divide(0):
        groups = {item.group for item in fold.index.of("test")}
        assert not groups & {item.group for item in fold.index.of("train")}
        assert not fold.index.of("val"), "a recipe without validation photos holds none back"
        tested |= groups
    assert len(tested) == 8


def test_a_fold_trains_as_plain_keras_and_an_evaluation_goes_on(
    evaluate, cli, plan, recipe, cache, shapes
):
    done = evaluate("--folds", 2, "--seeds", 1, "--json")
    assert done.exit_code == 0, done.stderr
    assert "2 folds x 1 seed of 33 photos: 2 trainings of head, each on about 1" in done.stderr
    result = json.loads(done.stdout)
    _check_first_fold(result["results"][0], cli, next(plan(2, 1).divide(0)), recipe, cache, shapes)
    _check_going_on(evaluate, Path(result["file"]))


def _check_first_fold(first, cli, fold, recipe, cache, shapes):
    """Its numbers are those of plain Keras on the rows that `tlcli extract` writes."""
    cli("extract", "--config", recipe, "--boundary", "block5_pool", "--out", "rows",
        "--cache-dir", cache)  # fmt: skip
    names = [line.split(",")[0] for line in Path("rows/index.csv").read_text().splitlines()[1:]]
    paths = [shapes / name for name in names]
    rows = dict(zip(paths, np.load("rows/features.npy"), strict=True))
    x, y = {}, {}
    for split in ("train", "val", "test"):
        items = fold.index.of(split)
        x[split] = np.stack([rows[item.path] for item in items])
        y[split] = np.array([item.label for item in items])
    seed = int((np.random.SeedSequence(0).generate_state(2) // 2)[0])
    model = keras.Sequential([
        keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=seed)),
    ])  # fmt: skip
    model.build((None, x["train"].shape[1]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    best, kept = np.inf, model.get_weights()
    for epoch in range(6):
        order = epoch_order(0, 0, epoch, len(y["train"]))
        model.fit(x["train"][order], y["train"][order], batch_size=32, shuffle=False, verbose=0)
        watched = model.evaluate(x["val"], y["val"], verbose=0)
        if watched < best:
            best, kept = watched, model.get_weights()
    model.set_weights(kept)
    logits = {split: model(x[split]).numpy().astype(float) for split in ("val", "test")}
    powers = np.exp(logits["test"] / fit_temperature(logits["val"], y["val"]))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    assert first["fitted"] == len(y["train"]) and first["val"] == len(y["val"])
    assert first["log_loss"] == pytest.approx(log_loss(y["test"], probabilities), rel=1e-4)
    right = probabilities.argmax(axis=1) == y["test"]
    assert first["right"] == [int(right[y["test"] == k].sum()) for k in range(3)]


def _check_going_on(evaluate, path):
    """More seeds train what is missing, and nothing is trained where all is there."""
    done = evaluate("--folds", 2, "--seeds", 2)
    assert "2 of 4 folds known already" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == ("shapes: 33 training and validation photos of 3 classes, 2 folds, 2 seeds; "
                        "trained: head")  # fmt: skip
    assert "seed  fold 1  fold 2    mean" in lines
    again = evaluate("--folds", 2, "--seeds", 2, "--json")
    assert "all folds known already; --again trains them once more" in again.stderr
    result = json.loads(again.stdout)
    means = [np.mean([sum(r["right"]) / sum(r["judged"]) for r in result["results"]
                      if r["seed"] == seed]) for seed in (0, 1)]  # fmt: skip
    assert result["accuracy"] == pytest.approx(np.mean(means))
    assert result["between_seeds"] == pytest.approx(np.std(means, ddof=1))
    kept = read_folds(path)
    assert path.name == FOLDS and len(kept.results) == 4


def test_other_settings_begin_anew(plan, tmp_path, capsys):
    folds, path = plan(2, 1), tmp_path / FOLDS
    write_folds(path, folds.new_record())
    assert find_known(folds, path) is None
    assert begin_record(folds, path, again=False) == folds.new_record()
    assert "0 of 2 folds known already" in capsys.readouterr().err
    for other in (plan(3, 1), plan(2, 1, overrides=["head.dropout=0.2"]), plan(2, 1, tuning=True)):
        begin_record(other, path, again=False)
        err = capsys.readouterr().err
        assert "its folds are of other photos or settings, and are replaced" in err


def test_tuning_begins_each_fold_with_the_pretrained_base(evaluate):
    done = evaluate("--folds", 2, "--seeds", 1, "--tuning", "--out", "tuned", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["stages"] == ["head", "tune"]
    path = Path("tuned") / FOLDS_WITH_TUNING
    kept = read_folds(path)
    assert kept.step_methods.fused_adam
    write_folds(path, kept.model_copy(update={"results": kept.results[:1]}))
    assert evaluate("--folds", 2, "--seeds", 1, "--tuning", "--out", "tuned").exit_code == 0
    assert _bits(read_folds(path)) == _bits(kept)
    # As an earlier version began: it goes on so, and gets the same but for the last digits.
    begun = {"results": kept.results[:1], "step_methods": PLAIN}
    write_folds(path, kept.model_copy(update=begun))
    assert evaluate("--folds", 2, "--seeds", 1, "--tuning", "--out", "tuned").exit_code == 0
    resumed = read_folds(path)
    assert resumed.step_methods == PLAIN
    losses = [record.results[1].log_loss for record in (resumed, kept)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_folds_of_a_run_cost_no_pass_where_the_store_has_its_rows(cli, instant_run, tmp_path):
    """Its validation photos have no augmented view yet: those are computed, once."""
    run, _ = instant_run
    before = sorted(path.name for path in run.path.iterdir())
    words = ["evaluate", str(run.path), "--folds", 2, "--seeds", 1, "--out", "folds", "--json",
             "--cache-dir", tmp_path / "cache"]  # fmt: skip
    shutil.copytree(run.path.parent / "cache", tmp_path / "cache")
    first = cli(*words)
    assert first.exit_code == 0, first.stderr
    assert "9 of 54 views have no stored features and go through VGG16 once" in first.stderr
    assert json.loads(first.stdout)["images"] == 9
    second = cli(*words, "--again")
    assert "no stored features" not in second.stderr
    results = [json.loads(done.stdout) for done in (first, second)]
    assert results[1]["images"] == 0
    for result in results[0]["results"] + results[1]["results"]:
        del result["seconds"]
    assert results[0]["results"] == results[1]["results"]
    assert sorted(path.name for path in run.path.iterdir()) == before


TUNES = "tunes the base, so no stage trains the head alone; add --tuning, which trains all stages"
TOO_MANY = (
    "--folds 12: class 'blue' has 11 training and validation photos that may be apart (groups, "
    "copies and near copies stay in one fold), so 11 folds are possible; --folds 11, or add photos"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", 12], TOO_MANY),
        (["--folds", 1], "1 is not in the range x>=2"),
        (["--folds", 2, "--split", "val"], "--folds and --split: give only one of them"),
        (["--folds", 2, "--force"], "--folds and --force: give only one of them"),
        (["--folds", 2, "--run", "x"], "--config and a run: name one of them"),
        (["--folds", 2, "--set", "stages.0.freeze_until=block5_conv3"], TUNES),
    ],
)
def test_what_cannot_be_evaluated(evaluate, words, message):
    done = evaluate(*words)
    assert done.exit_code != 0
    assert message in " ".join(done.stderr.split())


def test_options_of_folds_need_folds(cli):
    for option, value in (("--config", "r.yaml"), ("--seeds", 2), ("--set", "seed=1")):
        done = cli("evaluate", option, value)
        assert done.exit_code == 2
        assert f"{option} is about --folds, which is missing" in done.stderr


def test_a_stage_that_watches_photos_that_a_fold_does_not_have(evaluate, shapes, recipe, tmp_path):
    few = paint_splits(tmp_path / "few", train=1, val=1, test=0)
    recipe.write_text(RECIPE.format(few))
    done = evaluate("--folds", 2, "--set", "stages.0.early_stopping=2")
    assert done.exit_code == 1
    assert "too few photos are left in a fold to hold some back, and a stage watches them" in (
        done.stderr
    )


def test_a_file_that_is_no_record(evaluate):
    Path("mine").mkdir()
    (Path("mine") / FOLDS).write_text("{}")
    done = evaluate("--folds", 2, "--out", "mine")
    assert done.exit_code == 1
    assert f"mine/{FOLDS}: settings: Field required" in done.stderr
    assert (Path("mine") / FOLDS).read_text() == "{}"


def _bits(record):
    return [result.model_copy(update={"seconds": 0}) for result in record.results]
