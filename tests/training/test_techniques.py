"""Techniques of a stage, each against the same written out by hand on the whole network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.plain_training import Adam, PlainStage, cross_entropy, draw_order, load_photos
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from tlcli.features.open_store import open_store
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras, tf
from tlcli.networks.logits import focal_loss
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Head
from tlcli.runs import directory
from tlcli.runs.metrics import read_metrics
from tlcli.system import stateless_random
from tlcli.training import solver
from tlcli.training.averages import averaged_weights
from tlcli.training.batches import StoredFeed
from tlcli.training.feature_selection import SHARES
from tlcli.training.order import balanced_order
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import load_network
from tlcli.training.solver import STRENGTHS, PenaltyChoice, Rows, choose_penalty, select_features
from tlcli.training.train import TrainedRun, train

#: A small network of four convolutions, conv1 to conv4, without dropout.
RECIPE = """
data: {{dir: '{photos}'}}
base: {{name: SmallConvNet, image_size: 48}}
head: {{pooling: avg, hidden: [], dropout: 0}}
batch_size: 10
stages: [{{name: all, freeze_until: pixels, epochs: {epochs}, learning_rate: 0.003, {more}}}]
"""
LAYERS = ("conv1", "conv2", "conv3", "conv4", "head_logits")


@pytest.fixture
def plan(photos: Path, write_recipe: Callable[..., Path]) -> Callable[..., Plan]:
    def make(more: str, epochs: int = 3) -> Plan:
        text = RECIPE.format(photos=photos, more=more, epochs=epochs)
        return make_plan(preflight(load_recipe(write_recipe(text))))

    return make


def check_equal(
    trained: TrainedRun,
    plain: PlainStage,
    values: Callable[[], list[Any]] | None = None,
    layers: tuple[str, ...] = LAYERS,
) -> None:
    """The losses of all epochs, and the weights of the best; `values` are those that are saved."""
    epochs = read_metrics(trained.run)
    expected, weights = [], []
    for loss in plain.epochs():
        expected.append(loss)
        weights.append(values() if values else [variable.numpy() for variable in plain.variables])
    np.testing.assert_allclose([epoch.loss for epoch in epochs], expected, rtol=1e-4)
    check_saved(trained, weights[trained.summary.stages[0].best_epoch - 1], layers)


def check_saved(trained: TrainedRun, weights: list[Any], layers: tuple[str, ...] = LAYERS) -> None:
    saved = keras.saving.load_model(trained.run.file(directory.MODEL))
    saved_weights = [w for name in layers for w in saved.get_layer(name).trainable_weights]
    for after, value in zip(saved_weights, weights, strict=True):
        np.testing.assert_allclose(after.numpy(), value, rtol=1e-3, atol=2e-5)


def check_validation(trained: TrainedRun, made: Plan) -> None:
    """The validation loss of the best epoch is that of the saved model."""
    saved = keras.saving.load_model(trained.run.file(directory.MODEL))
    pixels, labels = load_photos(made.index.of("val"), made.recipe.base.image_size)
    loss = cross_entropy(labels, saved(pixels).numpy()).mean()
    assert trained.summary.stages[0].val_loss == pytest.approx(loss, rel=1e-4)


def validation_loss(plain: PlainStage, made: Plan, weights: list[Any]) -> float:
    for variable, value in zip(plain.variables, weights, strict=True):
        variable.assign(value)
    pixels, labels = load_photos(made.index.of("val"), made.recipe.base.image_size)
    return float(cross_entropy(labels, plain.network.whole(pixels).numpy()).mean())


def sgd(values: Any, gradients: Any) -> Any:
    """Plain descent at the rate of the recipe."""
    return [v - 0.003 * g for v, g in zip(values, gradients, strict=True)]


class Momentum:
    """Descent with momentum (Polyak, 1964)."""

    def __init__(self, share: float) -> None:
        self._share, self._moved = share, [0.0] * 99

    def update(self, values: Any, gradients: Any) -> Any:
        after = []
        for k, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
            self._moved[k] = self._share * self._moved[k] - 0.003 * gradient
            after.append(value + self._moved[k])
        return after


def test_every_block_has_its_rate(plan):
    """Adam would divide a factor of the gradient out again.

    One epoch, since it steps by the sign of gradients that are nothing but rounding as well, and
    after some steps machines differ in that.
    """
    decayed = plan("layer_decay: 0.5, rates: {conv2: 0.01}", 1)
    by_layer = {"conv1": 0.003 / 16, "conv2": 0.01, "conv3": 0.003 / 4, "conv4": 0.003 / 2}
    rates = [rate for rate in (*by_layer.values(), 0.003) for _ in ("kernel", "bias")]
    assert decayed.stages[0].rates == pytest.approx({**by_layer, "head": 0.003})
    check_equal(train(decayed), PlainStage(decayed, Adam(rates).update))


def test_gradients_that_are_long_are_scaled_down_together(plan):
    clipped = plan("clip_norm: 0.5, optimizer: sgd")
    scales = []

    def update(values: Any, gradients: Any) -> Any:
        norm = np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in gradients))
        scale = min(1.0, 0.5 / norm)
        scales.append(scale)
        return [v - 0.003 * scale * g for v, g in zip(values, gradients, strict=True)]

    check_equal(train(clipped), PlainStage(clipped, update))
    assert min(scales) < 0.9


def test_a_moving_average_is_judged_and_saved(plan):
    """The numbers of `ExponentialMovingAverage` with `num_updates`, from its documentation."""
    made = plan("ema: 0.7, optimizer: sgd")
    averages: list[Any] = []
    steps = 0

    def watch(network: Any) -> None:
        nonlocal steps
        decay = min(0.7, (1 + steps) / (10 + steps))
        for k, variable in enumerate(plain.variables):
            averages[k] = decay * averages[k] + (1 - decay) * variable.numpy()
        steps += 1

    plain = PlainStage(made, sgd, watch=watch)
    averages += [variable.numpy() for variable in plain.variables]
    trained = train(made)
    check_equal(trained, plain, lambda: list(averages))
    # The validation loss is that of the averages: of the best epoch, that of the saved model.
    check_validation(trained, made)
    assert not np.allclose(averages[-2], plain.variables[-2].numpy(), rtol=1e-3)


def test_the_best_epochs_are_averaged_as_far_as_it_helps(plan):
    made = plan("average: best 3, optimizer: {name: sgd, momentum: 0.5}", 5)
    trained = train(made)
    result = trained.summary.stages[0]
    plain = PlainStage(made, Momentum(0.5).update)
    weights = {}
    for number, _ in enumerate(plain.epochs(), start=1):
        weights[number] = [variable.numpy() for variable in plain.variables]
    scores = {number: validation_loss(plain, made, weights[number]) for number in weights}
    chosen: list[int] = []
    best = np.inf
    for number in sorted(scores, key=lambda number: scores[number])[:3]:
        several = [weights[n] for n in (*chosen, number)]
        trial = [np.mean(each, axis=0) for each in zip(*several, strict=True)]
        loss = validation_loss(plain, made, trial)
        if loss <= best:
            chosen, best, average = [*chosen, number], loss, trial
    assert result.averaged == (tuple(chosen) if len(chosen) > 1 else ())
    assert result.val_loss == pytest.approx(best, rel=1e-3)
    check_saved(trained, average)


def test_batch_norm_that_trains_is_averaged_with_the_weights():
    network = build_network(BASES["SmallResNet"], (16, 16), Head(), 2, seed=0)
    for mode, count in (("train", 3 + 2), ("frozen", 0)):
        network.freeze("block2_pool", batch_norm=mode)
        names = [weight.name for weight in averaged_weights(network, "block2_pool")]
        assert names.count("moving_mean") == (2 if count else 0)
        assert names.count("kernel") == 2 + 2, "two convolutions, two layers of the head"


@pytest.mark.usefixtures("thin_vgg16")
def test_weights_are_pulled_to_the_pretrained_ones(photos, write_recipe, tmp_path):
    path = tmp_path / "base.weights.h5"
    BASES["VGG16"].build((32, 32), seed=1).save_weights(path)
    text = (
        f"data: {{dir: '{photos}'}}\nbase: {{name: VGG16, weights: '{path}', image_size: 32}}\n"
        "head: {hidden: [], dropout: 0}\nbatch_size: 12\nstages: [{name: top, epochs: 2, "
        "freeze_until: block5_conv2, learning_rate: 0.05, l2_sp: 10, optimizer: sgd}]\n"
    )
    made = make_plan(preflight(load_recipe(write_recipe(text))))
    plain = PlainStage(made, lambda v, g: [a - 0.05 * b for a, b in zip(v, g, strict=True)])
    plain.network.base.load_weights(path)
    start = [variable.numpy() for variable in plain.variables[:2]]

    def penalty(values: Any) -> Any:
        pairs = zip(values[:2], start, strict=True)
        return 10 / 2 * sum(tf.reduce_sum((value - first) ** 2) for value, first in pairs)

    plain.penalty = penalty
    trained = train(made)
    check_equal(trained, plain, layers=("block5_conv3", "head_logits"))


@pytest.mark.parametrize("classes", [2, 3])
def test_focal_loss_is_keras_own(classes: int):
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, classes, 40)
    logits = generator.normal(0, 3, (40, 1 if classes == 2 else classes)).astype(np.float32)
    losses = focal_loss(tf.constant(labels, tf.int32), tf.constant(logits), 1.5).numpy()
    if classes == 2:
        keras_loss = keras.losses.BinaryFocalCrossentropy(
            gamma=1.5, from_logits=True, reduction=None
        )
        expected = keras_loss(labels[:, None].astype(np.float32), logits)
    else:
        keras_loss = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=1.5, from_logits=True, reduction=None
        )
        expected = keras_loss(np.eye(classes, dtype=np.float32)[labels], logits)
    np.testing.assert_allclose(losses, np.asarray(expected), rtol=2e-4, atol=1e-6)
    # A photo that is classified for certain has a gradient that is a number.
    sure = (
        tf.Variable([[200.0] * logits.shape[1]]) if classes == 2 else tf.Variable([[200.0, 0, 0]])
    )
    with tf.GradientTape() as tape:
        loss = focal_loss(tf.constant([1 if classes == 2 else 0]), sure, 0.5)
    assert np.isfinite(tape.gradient(loss, sure).numpy()).all()


def test_a_balanced_epoch_shows_every_class_equally_often(plan):
    labels = np.array([0] * 21 + [1] * 4 + [2] * 6)
    totals = np.zeros(31, int)
    for epoch in range(40):
        order, turns = balanced_order(3, 1, epoch, labels)
        again, _ = balanced_order(3, 1, epoch, labels)
        np.testing.assert_array_equal(order, again)
        assert len(order) == 31
        assert sorted(np.bincount(labels[order])) == [10, 10, 11]
        counts = np.bincount(order, minlength=31)
        totals += counts
        for label in range(3):
            of_class = counts[labels == label]
            assert of_class.max() - of_class.min() <= 1
        assert len(set(zip(order, turns, strict=True))) == 31
    assert not np.array_equal(order, balanced_order(3, 1, 0, labels)[0])
    assert totals[:21].std() < 5, "every photo of a large class has its turns"
    made = plan("sampler: balanced, optimizer: sgd")
    order_of = np.array([item.label for item in made.index.of("train")])
    plain = PlainStage(made, sgd, order=lambda s, n, e, _: balanced_order(s, n, e, order_of)[0])
    check_equal(train(made), plain)


HEAD = """
data: {{dir: '{photos}'}}
base: {{name: VGG16, weights: random, image_size: 32, batch_norm: frozen}}
head: {{pooling: {pooling}, hidden: {hidden}, dropout: 0, normalize: {normalize}}}
augment: {{views: 1, horizontal_flip: true, seed: 4}}
batch_size: 12
stages: [{{name: head, {more}}}]
"""


@pytest.fixture
def head_plan(
    thin_vgg16: None, photos: Path, write_recipe: Callable[..., Path]
) -> Callable[..., Plan]:
    def make(more: str, pooling: str = "avg", hidden: str = "[]", normalize: str = "false") -> Plan:
        text = HEAD.format(
            photos=photos, more=more, pooling=pooling, hidden=hidden, normalize=normalize
        )
        return make_plan(preflight(load_recipe(write_recipe(text))))

    return make


def stored_features(made: Plan, split: str, views: int) -> Any:
    """The features of photos by view, pooled by NumPy: (views, n, features), and labels."""
    network = load_network(made.recipe, made.source, 3)
    top, items = made.row.top.name, made.index.of(split)
    with open_store(network, made.recipe, made.cache, [top]) as opened:
        feed = StoredFeed(network, made.recipe, opened.all_rows, top, items, views - 1)
        everything = np.arange(len(items))
        picks = [(everything, np.full(len(items), view)) for view in range(views)]
        rows = np.stack([*feed.stream(picks)]).astype(np.float64)
    pooled = {"avg": rows.mean(axis=(2, 3)), "flatten": rows.reshape(views, len(items), -1)}
    return pooled[made.recipe.head.pooling], feed.labels


@pytest.mark.parametrize(
    ("pooling", "hidden"),
    [pytest.param("avg", "[]", marks=pytest.mark.slow), ("flatten", "[8]")],
)
def test_a_head_standardises_by_the_training_rows_and_is_saved_without(head_plan, pooling, hidden):
    made = head_plan("epochs: 3, optimizer: sgd", pooling, hidden, "true")
    trained = train(made)
    saved = keras.saving.load_model(trained.run.file(directory.MODEL))
    assert not any("normalized" in layer.name for layer in saved.layers)
    rows, labels = stored_features(made, "train", 2)
    mean, spread = rows.mean(axis=(0, 1)), rows.std(axis=(0, 1))
    spread[spread == 0] = 1
    # The same head, trained by Keras on features that NumPy has standardised.
    plain = [layer for layer in saved.layers if layer.name.startswith(("head_dense", "head_log"))]
    fresh = build_network(
        made.row,
        (32, 32),
        Head(pooling=pooling, hidden=(8,) if hidden == "[8]" else (), dropout=0),
        3,
        seed=0,
    )
    x = keras.Input((len(mean),))
    y = x
    layers = [fresh.head.get_layer(layer.name) for layer in plain]
    for layer in layers:
        y = layer(y)
    model = keras.Model(x, y)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss, jit_compile=False)
    standard = ((rows - mean) / spread).astype(np.float32)
    views = StoredViews(made)
    for epoch in range(3):
        for picked, shown in views.batches(epoch):
            model.train_on_batch(standard[shown, picked], labels[picked])
    result = trained.summary.stages[0]
    assert result.best_epoch == 3, "the loss still falls"
    kernel, bias = layers[0].get_weights()
    folded = kernel / spread[:, None]
    weights = plain[0].get_weights()
    np.testing.assert_allclose(weights[0], folded, rtol=1e-3, atol=1e-5 * np.abs(folded).max())
    np.testing.assert_allclose(weights[1], bias - mean @ folded, rtol=1e-3, atol=1e-4)


class StoredViews:
    """The batches of a stage with stored views, from what is documented."""

    def __init__(self, made: Plan) -> None:
        self._n, self._seed = len(made.index.of("train")), made.recipe.seed

    def batches(self, epoch: int) -> Any:
        orders = stateless_random.make_generator("views", self._seed, epoch // 2)
        views = orders.random((self._n, 2)).argsort(axis=1)[:, epoch % 2]
        order = draw_order(self._seed, 0, epoch, self._n)
        for start in range(0, self._n, 12):
            picked = order[start : start + 12]
            yield picked, views[picked]


@pytest.mark.parametrize("normalize", [pytest.param("false", marks=pytest.mark.slow), "true"])
def test_the_solver_finds_the_optimum_of_scikit_learn(head_plan, cli, normalize):
    made = head_plan(
        "solver: lbfgs, class_weights: {blue: 1, green: 2, red: 1}", "avg", "[]", normalize
    )
    trained = train(made)
    rows, labels = stored_features(made, "train", 2)
    flat, twice = rows.reshape(-1, rows.shape[-1]), np.tile(labels, 2)
    weights = np.array([1.0, 2, 1])[twice] / 2
    saved = keras.saving.load_model(trained.run.file(directory.MODEL))
    kernel, bias = saved.get_layer("head_logits").get_weights()
    scaler = StandardScaler().fit(flat)
    # A constant is free to move between the classes: what is compared are probabilities.
    probabilities = softmax(flat @ kernel + bias, axis=1)
    best = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-9)
        model.fit(scaler.transform(flat), twice, weights)
        best[strength] = np.abs(model.predict_proba(scaler.transform(flat)) - probabilities).max()
    assert min(best.values()) < 1e-3, best
    result = trained.summary.stages[0]
    assert (result.epochs, result.best_epoch) == (1, 1)
    (epoch,) = read_metrics(trained.run)
    assert epoch.learning_rate == 0
    assert epoch.accuracy == (probabilities.argmax(axis=1) == twice).mean()


def test_the_strength_is_that_of_the_least_loss_on_photos_that_were_not_fitted():
    generator = np.random.default_rng(5)
    labels = np.repeat([0, 1], 30)
    features = generator.normal(0, 1, (2, 60, 10)) + labels[:, None] * 0.8
    rows = Rows(features, labels, np.ones(60))
    groups = [str(i // 2) for i in range(60)]
    losses = dict.fromkeys(STRENGTHS, 0.0)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    for fitted, judged in folds.split(labels[:, None], labels, groups):
        x, y = features[:, fitted].reshape(-1, 10), np.tile(labels[fitted], 2)
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=1000, tol=1e-6)
            model.fit(x, y, np.full(len(y), 0.5))
            p = model.predict_proba(features[0, judged])
            losses[strength] += log_loss(labels[judged], p, normalize=False)
    assert choose_penalty(rows, groups, 3) == (min(losses, key=lambda c: losses[c]), 0)
    few = Rows(features[:, :2], np.array([0, 1]), np.ones(2))
    assert choose_penalty(few, ["a", "b"], 3) == (STRENGTHS[len(STRENGTHS) // 2], 0)


MULTI = """
data: {{dir: '{photos}'}}
base: {{name: VGG16, weights: random, image_size: 32, freeze_until: block5_conv1}}
head: {{hidden: [], dropout: 0, multi_layer: true}}
augment: {{views: 1, horizontal_flip: true, seed: 4}}
stages: [{{name: head, solver: lbfgs}}]
"""


def tapped_features(made: Plan, tapped: list[str]) -> Any:
    """The means over space at some boundaries, of all photos in both views, from stored rows."""
    network = load_network(made.recipe, made.source, 3)
    items, cut = made.index.of("train"), made.stages[0].cut.name
    everything = np.arange(len(items))
    with open_store(network, made.recipe, made.cache, [cut]) as opened:
        feed = StoredFeed(network, made.recipe, opened.all_rows, cut, items, 1)
        picks = [(everything, np.full(len(items), view)) for view in range(2)]
        rows = np.concatenate([*feed.stream(picks)])
    above = network.between(cut, tapped[1:]).predict(rows, verbose=0)
    return np.concatenate([part.mean(axis=(1, 2)) for part in (rows, *above)], axis=1)


@pytest.mark.usefixtures("thin_vgg16")
def test_a_multi_layer_head_is_fitted_on_features_that_group_lasso_chooses(
    photos, write_recipe, capsys, monkeypatch
):
    """Against Keras' own layers and scikit-learn's regression, for penalties that are given."""
    monkeypatch.setattr(
        solver, "choose_penalty", lambda *_: PenaltyChoice(0.1, SHARES.index(0.1) + 1)
    )
    text = MULTI.format(photos=photos)
    made = make_plan(preflight(load_recipe(write_recipe(text))))
    trained = train(made)
    saved = keras.saving.load_model(trained.run.file(directory.MODEL))
    pixels, labels = load_photos(made.index.of("train"), (32, 32))
    tapped = ["block5_conv1", "block5_conv2", "block5_pool"]
    assert [boundary.name for boundary in made.recipe.tapped] == tapped
    outputs = keras.Model(saved.input, [saved.get_layer(name).output for name in tapped])
    features = np.concatenate(
        [part.mean(axis=(1, 2)) for part in outputs.predict(pixels, verbose=0)], axis=1
    )
    kernel, bias = saved.get_layer("head_logits").get_weights()
    assert kernel.shape == (3 * 64, 3)
    assert made.stages[0].trainable == kernel.size + bias.size
    probabilities = softmax(features @ kernel + bias, axis=1)
    np.testing.assert_allclose(probabilities, saved.predict(pixels, verbose=0), atol=1e-4)
    kept = (kernel != 0).any(axis=1)
    assert 0 < kept.sum() < len(kept), "it has chosen"
    counts = [int(part.sum()) for part in np.split(kept, 3)]
    listed = ", ".join(f"{n} {c}" for n, c in zip(tapped, counts, strict=True) if c)
    assert f"features: {kept.sum()} of 192 ({listed})" in capsys.readouterr().err
    flat, twice = tapped_features(made, tapped), np.tile(labels, 2)
    scaler = StandardScaler().fit(flat)
    x = scaler.transform(flat)
    model = LogisticRegression(C=0.1, max_iter=10_000, tol=1e-9)
    p = model.fit(x[:, kept], twice, np.full(len(x), 0.5)).predict_proba(x[:, kept])
    np.testing.assert_allclose(p, softmax(flat @ kernel + bias, axis=1), atol=1e-3)


def test_features_are_chosen_where_most_say_nothing(monkeypatch):
    monkeypatch.setattr(solver, "STRENGTHS", (1e-2, 1e-1, 1.0))
    generator = np.random.default_rng(6)
    labels = np.tile([0, 1, 2], 25)
    features = generator.normal(0, 1, (1, 75, 400))
    features[0, :, :6] += 1.5 * np.eye(3)[labels][:, [0, 1, 2, 0, 1, 2]]
    rows = Rows(features - features.mean(axis=1, keepdims=True), labels, np.ones(75))
    names = [str(i) for i in range(75)]
    choice = choose_penalty(rows, names, 1, SHARES)
    assert choice.selections > 0
    kept = select_features(rows, SHARES[: choice.selections])[-1]
    assert kept[:6].sum() >= 5 and kept.sum() < 60
