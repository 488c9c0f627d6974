"""`tlcli find-lr`: real steps, everything put back, and rates written into recipes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlcli.errors import RecipeError, RunError
from tlcli.recipe.load import load_recipe
from tlcli.runs.rate_record import read_rate_test
from tlcli.runs.records import StepMethods
from tlcli.search import rate_sweep
from tlcli.search.rate_curve import RateCurve, swept_rates
from tlcli.search.write_rate import write_rate
from tlcli.training.order import Position, draw_picks
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network
from tlcli.training.step_methods import PLAIN

pytestmark = pytest.mark.usefixtures("thin_vgg16")

HEAD = "stages:\n  - {name: head, epochs: 3, learning_rate: 0.001}\n"
TUNED = HEAD + "  - name: top  # the top\n    freeze_until: block5_conv2\n    epochs: 1\n"


@pytest.fixture
def recipe(photos, write_recipe):
    """A recipe with more lines: `recipe("stages: ...")`."""

    def write(more: str = HEAD) -> Path:
        text = (
            f"data: {{dir: '{photos}'}}\nbase: {{name: VGG16, weights: random, image_size: 32}}\n"
        )
        return write_recipe(text + "head: {hidden: [8]}\n" + more, "r.yaml")

    return write


class DirectFeed:
    """Activations at the top, and labels, without a store."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        self.rows, self.labels = rows, labels.astype(np.int32)

    def views(self, seed: int, epoch: int) -> np.ndarray:
        return np.zeros(len(self.labels), int)

    def stream(self, picks, mixes=None):
        for positions, _ in picks:
            yield self.rows[positions]


@pytest.fixture
def swept(recipe):
    """A network of a recipe and a test of its head: `(network, losses, feed, plan)`."""

    def sweep(more: str = HEAD, scale: float = 1.0, methods: StepMethods = PLAIN):
        plan = make_plan(preflight(load_recipe(recipe(more)), run=False))
        network = load_network(plan.recipe, plan.source, 3)
        random = np.random.default_rng(0)
        labels = np.arange(24) % 3
        rows = random.normal(0, 1, (24, *network.shape("block5_pool"))).astype(np.float32)
        rows[..., :3] += 4 * np.eye(3)[labels][:, None, None]
        feed = DirectFeed(scale * rows, labels)
        start = [value.numpy() for value in network.whole.variables]
        tests = rate_sweep.sweep_rates(
            network, plan.stages[0], plan.recipe, feed, Position(0, 0), [0, 1], methods
        )
        end = [value.numpy() for value in network.whole.variables]
        assert all(np.array_equal(a, b) for a, b in zip(start, end, strict=True))
        return network, tests, feed, plan

    return sweep


def test_fused_adam_takes_the_same_steps(swept):
    _, fused, _, _ = swept(methods=StepMethods(fused_adam=True))
    _, plain, _, _ = swept()
    # Later steps, at rates that are far too high, magnify the last bits.
    assert fused[0] != plain[0]
    assert fused[0][:50] == pytest.approx(plain[0][:50], rel=1e-4)


def test_the_losses_are_those_of_keras_at_rising_rates(swept):
    more = HEAD.replace(
        "0.001",
        "0.001, optimizer: {name: sgd, momentum: 0.9}, batch_size: 10, "
        "label_smoothing: 0.1, class_weights: {blue: 1, green: 2, red: 3}",
    )
    network, tests, feed, plan = swept(more)
    assert tests[0] != tests[1]
    assert len(tests[0]) > 60
    # The same steps by Keras alone.
    head, stage = network.head, plan.stages[0].stage
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
    weights = np.array([1, 2, 3], np.float32)[feed.labels]
    losses, epoch = [], 0
    while len(losses) < 12:
        for positions, _ in draw_picks(feed, 0, Position(0, 0), epoch, 10):
            rate = swept_rates()[len(losses)]
            target = 0.9 * np.eye(3, dtype=np.float32)[feed.labels[positions]] + 0.1 / 3
            with tf.GradientTape() as tape:
                logits = head(feed.rows[positions], training=True)
                each = keras.losses.categorical_crossentropy(target, logits, from_logits=True)
                loss = tf.reduce_mean(weights[positions] * each)
            losses.append(float(loss))
            optimizer.learning_rate = rate
            optimizer.apply(tape.gradient(loss, head.trainable_variables), head.trainable_variables)
        epoch += 1
    assert stage.batch_size == 10
    assert tests[0][:12] == pytest.approx(losses[:12], rel=1e-5)


def test_weights_that_are_not_put_back_are_an_error(swept, monkeypatch):
    digests = iter("ab")
    monkeypatch.setattr(rate_sweep, "digest", lambda variables: next(digests))
    with pytest.raises(RunError, match="the test has changed weights that it did not put back"):
        swept()


def test_a_loss_that_is_no_number_ends_the_test_and_is_undone(swept):
    _, tests, _, _ = swept(scale=1e30)
    assert min(map(len, tests)) < 60


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".in-use")
    return {str(path): path.read_bytes() for path in files}


def test_the_command_from_an_empty_store_to_the_recipe(recipe, cli, tmp_path):
    path = recipe(TUNED)
    text = path.read_text()
    done = cli("find-lr", "--config", path, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["stage"] == "head"
    assert {"suggested", "valley", "steepest", "curve", "in_recipe"} <= value.keys()
    assert [point["rate"] for point in value["curve"]] == pytest.approx(
        list(swept_rates()[: len(value["curve"])])
    )
    assert path.read_text() == text
    folder = Path(value["folder"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "find-lr.json", "learning-rate.png", "learning-rate.svg",
    ]  # fmt: skip
    kept = read_rate_test(folder)
    assert (kept.stage, kept.suggested, kept.in_recipe) == ("head", value["suggested"], 0.001)
    with Image.open(folder / "learning-rate.png") as image:
        assert image.width > 600
    rows = snapshot(Path(os.environ["TLCLI_CACHE"]))
    shown = cli("find-lr", "--config", path, "--write", "--seeds", "2")
    assert shown.exit_code == 0, shown.stderr
    assert "stage 'head': 2 tests of up to 100 steps; " in shown.stdout
    assert "valley" in shown.stdout
    assert "steepest" in shown.stdout
    line = shown.stdout.splitlines()[-1]
    assert line.startswith(f"written into {path}: learning_rate ")
    rate = float(line.split()[-1])
    assert load_recipe(path).stages[0].learning_rate == rate
    written = path.read_text().split("learning_rate: ")[1].split("}")[0]
    assert path.read_text() == text.replace("0.001", written)
    assert snapshot(Path(os.environ["TLCLI_CACHE"])) == rows
    assert not list(Path(os.environ["TLCLI_RUNS"]).glob("r-*"))


@pytest.mark.slow
def test_a_stage_of_tuning_begins_after_the_stages_before_it(recipe, cli):
    done = cli("find-lr", "--config", recipe(TUNED), "--stage", "top", "--seeds", "1")
    assert done.exit_code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "stage 'head' comes first: trained in memory, up to 3 epochs" in lines
    assert any(line.startswith("  best epoch ") for line in lines)
    assert "stage 'top': 1 test of up to 100 steps with batches of 32 photos" in lines


def test_a_stage_that_is_not_there(recipe, cli):
    done = cli("find-lr", "--config", recipe(TUNED), "--stage", "tops")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "error: --stage tops: the recipe r.yaml has no such stage; did you mean 'top'? "
        "(allowed: head, top)"
    )


@pytest.mark.slow
def test_a_stage_that_is_solved_has_no_rate(recipe, cli):
    solved = "stages: [{name: head, solver: lbfgs}, {name: top, freeze_until: block5_conv2}]\n"
    path = recipe(solved)
    path.write_text(path.read_text().replace("hidden: [8]", "hidden: [], dropout: 0"))
    refused = cli("find-lr", "--config", path)
    assert refused.exit_code == 1
    assert refused.stderr.endswith(
        "error: stage 'head': it is solved by lbfgs, and has no learning rate; name another with "
        "--stage top\n"
    )


@pytest.mark.slow
def test_live_views_and_mixing_are_tested_as_they_are_trained(recipe, cli):
    live = HEAD + "augment: {views: live, horizontal_flip: true, mixup: 0.2}\nbatch_size: 12\n"
    done = cli("find-lr", "--config", recipe(live), "--seeds", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["curve"]) > 10


def test_a_high_rate_of_tuning_is_warned_of(recipe, cli, monkeypatch):
    monkeypatch.setattr(RateCurve, "below_rise", lambda _: 0.001)
    low = TUNED.replace("0.001", "1.0e-9")
    done = cli("find-lr", "--config", recipe(low), "--stage", "top", "--seeds", "1")
    assert "is not below 1e-09, the rate of the stage before: " in done.stderr
    assert done.exit_code == 0


def test_nothing_is_written_where_nothing_is_suggested(recipe, cli, monkeypatch):
    monkeypatch.setattr(RateCurve, "falls", False)
    path = recipe()
    before = path.read_bytes()
    done = cli("find-lr", "--config", path, "--write", "--seeds", "1")
    assert done.exit_code == 1
    assert "the loss does not fall, so that no rate is suggested" in done.stdout
    assert done.stderr.splitlines()[-1] == (
        "error: --write: no rate is suggested, so nothing was written"
    )
    assert path.read_bytes() == before


@pytest.mark.slow
def test_default_stages_are_shown_to_be_added(recipe, cli, monkeypatch):
    monkeypatch.setattr(RateCurve, "falls", True)
    path = recipe("")
    before = path.read_bytes()
    done = cli("find-lr", "--config", path, "--write", "--seeds", "1")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "error: --write: r.yaml has no `stages`, so nothing was written; "
        "add the lines of the result to it"
    )
    assert path.read_bytes() == before
    lines = done.stdout[done.stdout.index("stages:") :]
    added = load_recipe(recipe(lines))
    (stage,) = load_recipe(recipe("")).stages
    rate = added.stages[0].learning_rate
    assert added.stages == (stage.model_copy(update={"learning_rate": rate}),)


def test_the_file_keeps_everything_else(recipe, tmp_path):
    path = recipe(TUNED)
    loaded = load_recipe(path)
    raw = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(raw)
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    assert write_rate(load_recipe(link), 1, 3.456e-5).rate == 3.5e-5
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    line = b"  - name: top  # the top\r\n"
    assert path.read_bytes() == raw.replace(line, line + b"    learning_rate: 3.5e-05\r\n")
    shared = "x: &r 0.001\n" + TUNED.replace("0.001", "*r")
    path.write_text(path.read_text("utf-8-sig").split("stages:")[0] + shared.partition("\n")[2])
    with pytest.raises(RecipeError):
        write_rate(loaded, 0, 1e-4)


def test_a_recipe_that_has_changed_meanwhile_is_not_written(recipe):
    path = recipe(TUNED)
    loaded = load_recipe(path)
    path.write_text(path.read_text().replace("name: top", "name: other"))
    with pytest.raises(RecipeError) as caught:
        write_rate(loaded, 1, 2e-5)
    assert str(caught.value) == (
        "r.yaml:6: stages[1]: the rate of stage 'top' cannot be changed in the file without other "
        "changes; write `learning_rate: 2.0e-05` there yourself"
    )
