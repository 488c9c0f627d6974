"""The sides of `versus_keras.py`, each a process of its own that prints what it measured as JSON.

    python benchmarks/sides.py keras DATA --base VGG16 --weights FILE --size 150 --epochs 2
        [--precision mixed_bfloat16]

All train the same network on the same photos with the same augmentation, batch size, learning rates
and number of epochs: the base, averaged, 256 units, dropout, one sigmoid unit. They differ in how,
and each is written the way its documentation teaches it:

- `keras`: Keras' transfer-learning guide: datasets from folders, augmentation layers, the frozen
  base inside the model, `fit`; then unfreeze, compile again, `fit` again;
- `generator`: the older lessons: `ImageDataGenerator` and `flow_from_directory`;
- `features`: features of the frozen base computed once and the head trained on them (photos as they
  are, not augmented), then `keras`' second half;
- `torch`: torchvision's base in channels_last, `ImageFolder`, transforms in two loading processes;
  VGG16 with these weights, others with random ones. It runs in an environment of its own: `--torch
  PYTHON` of `versus_keras.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

BATCH_SIZE = 32
HIDDEN, DROPOUT = 256, 0.5
HEAD_RATE, TUNE_RATE = 1e-3, 1e-5
#: Augmentation: degrees of rotation, and fractions for shifts and zoom; and horizontal flips.
ROTATION, SHIFT, ZOOM = 20, 0.1, 0.1

#: Where the last block begins: the last frozen layer.
BOUNDARIES = {"VGG16": "block4_pool", "ResNet50": "conv4_block6_out", "InceptionV3": "mixed7"}
#: The module of `keras.applications` with a base's `preprocess_input`.
MODULES = {"VGG16": "vgg16", "ResNet50": "resnet50", "InceptionV3": "inception_v3"}

Times = list[float]


#: Seconds of a stage's epochs, and the test accuracy after it, which no clock counts.
Stage = tuple[Times, float]


def report(
    started: float, ready: float, head: Stage, tune: Stage | None, extract: float = 0.0
) -> None:
    """Print seconds: of getting ready, of features (`extract`, within it), of the epochs of both
    stages; and the test accuracies."""
    measured = {"setup": ready - started - extract, "extract": extract}
    for name, stage in (("head", head), ("tune", tune)):
        if stage is None:
            continue
        times, measured[f"{name} accuracy"] = stage
        # The first epoch compiles; what the others take is what further ones would.
        later = statistics.median(times[1:] or times)
        measured |= {f"{name} first": times[0], f"{name} epoch": later}
    print(json.dumps(measured))


def clock(keras: Any) -> Any:
    """A callback that notes the seconds of every epoch, validation included."""

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.times: Times = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.times.append(time.perf_counter() - self.started)

    return Clock()


def load_base(keras: Any, options: argparse.Namespace) -> Any:
    """The base with the weights that the options name."""
    keras.config.set_dtype_policy(options.precision)
    builder = getattr(keras.applications, options.base)
    weights = None if options.weights == "random" else options.weights
    return builder(include_top=False, weights=weights, input_shape=(options.size, options.size, 3))


def build_head(keras: Any, top: Any) -> Any:
    """The classifier on the base's output."""
    x = keras.layers.GlobalAveragePooling2D()(top)
    x = keras.layers.Dense(HIDDEN, activation="relu")(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    return keras.layers.Dense(1, activation="sigmoid", dtype="float32")(x)


def compiled(keras: Any, model: Any, rate: float, options: argparse.Namespace) -> Any:
    """The model, ready for `fit`; Keras lets XLA compile the step unless it is told not to."""
    optimizer = keras.optimizers.Adam(rate)
    model.compile(
        optimizer, loss="binary_crossentropy", metrics=["accuracy"],
        jit_compile=False if options.no_xla else "auto",
    )  # fmt: skip
    return model


def unfreeze(base: Any, boundary: str) -> None:
    """Let what lies above the boundary train, batch norm excepted, as the guide advises."""
    base.trainable = True
    names = [layer.name for layer in base.layers]
    for number, layer in enumerate(base.layers):
        frozen = number <= names.index(boundary) or "BatchNorm" in type(layer).__name__
        layer.trainable = not frozen


def with_base(keras: Any, base: Any, options: argparse.Namespace, augmentation: Any) -> Any:
    """The guide's model: augmentation, preprocessing and base inside."""
    module = getattr(keras.applications, MODULES[options.base])
    inputs = keras.Input((options.size, options.size, 3))
    x = augmentation(inputs) if augmentation else inputs
    x = base(module.preprocess_input(x), training=False)
    return keras.Model(inputs, build_head(keras, x))


def two_fits(
    keras: Any, model: Any, base: Any, data: tuple[Any, Any, Any], options: argparse.Namespace
) -> tuple[Stage, Stage | None]:
    """The head with the base frozen, then both."""
    train, val, test = data
    base.trainable = False
    first, second = clock(keras), clock(keras)
    settings = {"epochs": options.epochs, "validation_data": val, "verbose": 0}
    compiled(keras, model, HEAD_RATE, options).fit(train, callbacks=[first], **settings)
    head = first.times, score(model, test)
    if options.head_only:
        return head, None
    unfreeze(base, BOUNDARIES[options.base])
    compiled(keras, model, TUNE_RATE, options).fit(train, callbacks=[second], **settings)
    return head, (second.times, score(model, test))


def score(model: Any, test: Any) -> float:
    """The accuracy of a compiled model."""
    return float(model.evaluate(test, verbose=0)[1])


def augmentation_layers(keras: Any) -> Any:
    """The augmentation as Keras layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
            layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
            layers.RandomZoom((-ZOOM, ZOOM), fill_mode="nearest"),
        ]
    )


def folders(keras: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Decoded photos of train, val and test; kept in memory after the first epoch."""
    import tensorflow as tf

    def dataset(split: str) -> Any:
        photos = keras.utils.image_dataset_from_directory(
            options.data / split, label_mode="binary", batch_size=BATCH_SIZE, seed=0,
            image_size=(options.size, options.size), shuffle=split == "train", verbose=False,
        )  # fmt: skip
        return photos.cache().prefetch(tf.data.AUTOTUNE)

    return dataset("train"), dataset("val"), dataset("test")


def keras_guide(options: argparse.Namespace) -> None:
    """Alternative (a)."""
    started = time.perf_counter()
    import keras
    import tensorflow as tf

    base = load_base(keras, options)
    train, val, test = folders(keras, options)
    augment = augmentation_layers(keras)
    train = train.map(
        lambda x, y: (augment(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE
    ).prefetch(tf.data.AUTOTUNE)
    model = with_base(keras, base, options, None)
    ready = time.perf_counter()
    report(started, ready, *two_fits(keras, model, base, (train, val, test), options))


def generator(options: argparse.Namespace) -> None:
    """Alternative (b)."""
    started = time.perf_counter()
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    base = load_base(keras, options)
    plain = ImageDataGenerator()
    augmented = ImageDataGenerator(
        rotation_range=ROTATION, width_shift_range=SHIFT, height_shift_range=SHIFT,
        zoom_range=ZOOM, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip

    def flow(split: str, source: Any) -> Any:
        return source.flow_from_directory(
            options.data / split, target_size=(options.size, options.size), class_mode="binary",
            batch_size=BATCH_SIZE, shuffle=split == "train",
        )  # fmt: skip

    data = flow("train", augmented), flow("val", plain), flow("test", plain)
    model = with_base(keras, base, options, None)
    ready = time.perf_counter()
    report(started, ready, *two_fits(keras, model, base, data, options))


def features(options: argparse.Namespace) -> None:
    """Alternative (c)."""
    started = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    base = load_base(keras, options)
    train, val, test = folders(keras, options)
    module = getattr(keras.applications, MODULES[options.base])

    def computed(dataset: Any) -> Any:
        batches = [
            (base.predict_on_batch(module.preprocess_input(x.numpy())), y.numpy())
            for x, y in dataset
        ]
        return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))

    began = time.perf_counter()
    stored = computed(train), computed(val)
    ready = time.perf_counter()
    top = keras.Input(base.output.shape[1:])
    head = compiled(keras, keras.Model(top, build_head(keras, top)), HEAD_RATE, options)
    first, second = clock(keras), clock(keras)
    head.fit(
        *stored[0], validation_data=stored[1], batch_size=BATCH_SIZE, epochs=options.epochs,
        verbose=0, callbacks=[first],
    )  # fmt: skip
    augment = augmentation_layers(keras)
    train = train.map(
        lambda x, y: (augment(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE
    ).prefetch(tf.data.AUTOTUNE)
    unfreeze(base, BOUNDARIES[options.base])
    inputs = keras.Input((options.size, options.size, 3))
    outputs = head(base(module.preprocess_input(inputs), training=False))
    model = compiled(keras, keras.Model(inputs, outputs), TUNE_RATE, options)
    kept = first.times, score(model, test)
    model.fit(train, validation_data=val, epochs=options.epochs, verbose=0, callbacks=[second])
    report(started, ready, kept, (second.times, score(model, test)), extract=ready - began)


def pytorch(options: argparse.Namespace) -> None:
    """Alternative (d)."""
    started = time.perf_counter()
    import torch
    from torch import nn
    from torch_bases import freeze_batch_norm, split_base
    from torchvision import datasets, transforms

    torch.manual_seed(0)
    trunk, above, channels = split_base(options.base)
    if options.weights != "random":
        load_vgg16([*trunk, *above], options.weights)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, HIDDEN), nn.ReLU(),
        nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1),
    )  # fmt: skip
    net = nn.Sequential(trunk, above, head).to(memory_format=torch.channels_last)

    size = (options.size, options.size)
    means = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    plain = [
        transforms.PILToTensor(),
        transforms.Lambda(scale if options.base == "InceptionV3" else caffe(means)),
    ]
    moves = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomAffine(ROTATION, (SHIFT, SHIFT), (1 - ZOOM, 1 + ZOOM)),
    ]

    def loader(split: str) -> Any:
        steps = [transforms.Resize(size), *(moves if split == "train" else []), *plain]
        return torch.utils.data.DataLoader(
            datasets.ImageFolder(options.data / split, transforms.Compose(steps)), BATCH_SIZE,
            shuffle=split == "train", num_workers=2, persistent_workers=True,
        )  # fmt: skip

    train, val, test = loader("train"), loader("val"), loader("test")
    loss_of = nn.BCEWithLogitsLoss()
    ready = time.perf_counter()

    def forward(x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision != "float32"):
            logits = net(x.to(memory_format=torch.channels_last))[:, 0]
        return logits.float()

    def accuracy(data: Any) -> float:
        net.eval()
        right = count = 0
        with torch.inference_mode():
            for x, y in data:
                logits = forward(x)
                right, count = right + int(((logits > 0) == (y > 0)).sum()), count + len(y)
        return right / count

    def fit(trained: Any, rate: float) -> Stage:
        net.requires_grad_(False)
        parameters = list(trained)
        for parameter in parameters:
            parameter.requires_grad = True
        optimizer = torch.optim.Adam(parameters, rate, fused=True)
        times = []
        for _ in range(options.epochs):
            began = time.perf_counter()
            net.train()
            freeze_batch_norm(net)
            for x, y in train:
                optimizer.zero_grad()
                loss_of(forward(x), y.float()).backward()
                optimizer.step()
            accuracy(val)
            times.append(time.perf_counter() - began)
        return times, accuracy(test)

    first = fit(head.parameters(), HEAD_RATE)
    second = fit([*freeze_batch_norm(above), *head.parameters()], TUNE_RATE)
    report(started, ready, first, second)


def load_vgg16(layers: list[Any], weights: str) -> None:
    """Read the weights of Keras' file into the layers of torchvision's VGG16."""
    import h5py
    import torch
    from torch import nn

    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    names = [
        f"block{block}_conv{number}"
        for block, count in enumerate((2, 2, 3, 3, 3), 1)
        for number in range(1, count + 1)
    ]
    with h5py.File(weights) as file:
        for layer, name in zip(convolutions, names, strict=True):
            kernel, bias = file[f"layers/{layer_key(file, name)}/vars"].values()
            layer.weight.data = torch.from_numpy(kernel[()]).permute(3, 2, 0, 1).contiguous()
            layer.bias.data = torch.from_numpy(bias[()])


def caffe(means: Any) -> Callable[[Any], Any]:
    """The pixels of VGG and ResNet: BGR less the mean of ImageNet."""
    return lambda pixels: pixels.flip(0).float() - means


def scale(pixels: Any) -> Any:
    """The pixels of InceptionV3: from -1 to 1."""
    return pixels.float() / 127.5 - 1


def layer_key(file: Any, name: str) -> str:
    """Where a Keras 3 weights file keeps a convolution of VGG16: by kind and number."""
    blocks = {"block1": 0, "block2": 2, "block3": 4, "block4": 7, "block5": 10}
    block, _, number = name.partition("_conv")
    position = blocks[block] + int(number) - 1
    known = [name, f"conv2d_{position}" if position else "conv2d"]
    return next(key for key in known if key in file["layers"])


SIDES = {"keras": keras_guide, "generator": generator, "features": features, "torch": pytorch}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", choices=BOUNDARIES, default="VGG16")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--size", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    parser.add_argument("--no-xla", action="store_true", help="of the sides of Keras")
    parser.add_argument("--head-only", action="store_true", help="of `keras` and `generator`")
    chosen = parser.parse_args()
    SIDES[chosen.side](chosen)
