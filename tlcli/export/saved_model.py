"""The SavedModel of a frozen function: pixels in, or the bytes of JPEG and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.evaluation.labelled_photos import LabelledPhoto
from tlcli.export.records import PROBABILITIES, DecodingDifference
from tlcli.export.runtimes import WITH_FEATURES
from tlcli.images.decode import load_image
from tlcli.images.loader import PixelSettings
from tlcli.networks.conversion import PIXELS, FrozenFunction, name_output
from tlcli.networks.framework import tf
from tlcli.networks.onnx_conversion import SMALL_TENSOR, to_float16

#: The signature that takes encoded files, and its argument.
SERVE_BYTES, IMAGE_BYTES = "serve_bytes", "image_bytes"

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"


def write_saved_model(
    frozen: FrozenFunction, folder: Path, resize: str, assets: dict[str, Path]
) -> None:
    """Write a frozen function with two signatures, and files that travel with it."""
    holder = name_output(frozen)
    _, height, width, _ = frozen.inputs[0].shape

    def serve_bytes(image_bytes: Any) -> Any:
        pixels = tf.map_fn(
            lambda content: _decode(content, height, width, resize),
            image_bytes,
            fn_output_signature=tf.TensorSpec([height, width, 3], tf.float32),
        )
        return {PROBABILITIES: holder.serve(pixels)[PROBABILITIES]}

    signature = [tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)]
    holder.serve_bytes = tf.function(serve_bytes, input_signature=signature)
    holder.assets = {name: tf.saved_model.Asset(str(path)) for name, path in assets.items()}
    signatures = {"serving_default": holder.serve, SERVE_BYTES: holder.serve_bytes}
    if len(frozen.outputs) > 1:
        holder.serve_alone = tf.function(
            lambda pixels: {PROBABILITIES: holder.serve(pixels)[PROBABILITIES]},
            input_signature=[tf.TensorSpec(frozen.inputs[0].shape, tf.float32, name=PIXELS)],
        )
        signatures |= {"serving_default": holder.serve_alone, WITH_FEATURES: holder.serve}
    # Gradients, which TensorFlow saves by default, are of no use here, and those of EfficientNet's
    # activation cannot be saved.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, str(folder), signatures=signatures, options=options)


def _decode(content: Any, height: int, width: int, resize: str) -> Any:
    """One encoded photo as pixels, as near to tlcli's as TensorFlow's operations come.

    They know neither EXIF nor colour profiles, and resize with another rounding.
    """
    image = tf.cond(
        tf.strings.substr(content, 0, 2) == _JPEG,
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(content, channels=3),
    )
    high, wide = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    if resize == "crop":
        scale = tf.maximum(height / high, width / wide)
        down = tf.minimum(tf.cast(tf.round(height / scale), tf.int32), tf.shape(image)[0])
        across = tf.minimum(tf.cast(tf.round(width / scale), tf.int32), tf.shape(image)[1])
        top, left = (tf.shape(image)[0] - down) // 2, (tf.shape(image)[1] - across) // 2
        image = image[top : top + down, left : left + across]
    if resize == "pad":
        resized = tf.image.resize_with_pad(image, height, width, antialias=True)
    else:
        resized = tf.image.resize(image, (height, width), antialias=True)
    return tf.ensure_shape(tf.clip_by_value(tf.round(resized), 0, 255), (height, width, 3))


def with_float16_weights(frozen: FrozenFunction) -> FrozenFunction:
    """The same function with its large constants in half the bytes, and cast when it is loaded."""
    graph = frozen.graph.as_graph_def()
    for node in list(graph.node):
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.size < SMALL_TENSOR:
            continue
        half = graph.node.add(op="Const", name=f"{node.name}__float16")
        half.attr["dtype"].type = tf.float16.as_datatype_enum
        half.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(to_float16(values))))
        name = node.name
        node.Clear()
        node.op, node.name = "Cast", name
        node.input.append(half.name)
        node.attr["SrcT"].type = tf.float16.as_datatype_enum
        node.attr["DstT"].type = tf.float32.as_datatype_enum
    (pixels,), outputs = frozen.inputs, frozen.outputs

    def compute(x: Any) -> Any:
        names = [output.name for output in outputs]
        values = tf.graph_util.import_graph_def(
            graph, input_map={pixels.name: x}, return_elements=names, name="half"
        )
        return [
            tf.identity(value, name=output.op.name)
            for value, output in zip(values, outputs, strict=True)
        ]

    signature = [tf.TensorSpec(pixels.shape, tf.float32, name=PIXELS)]
    return tf.compat.v1.wrap_function(compute, signature)


def compare_decoding(
    folder: Path, photos: Sequence[LabelledPhoto], settings: PixelSettings
) -> DecodingDifference | None:
    """How far `serve_bytes` is from tlcli's decoding; None where no photo is a JPEG or a PNG."""
    loaded = tf.saved_model.load(str(folder))
    by_bytes, by_pixels = loaded.signatures[SERVE_BYTES], loaded.signatures["serving_default"]
    levels, differences, changed = [], [], 0
    for photo in photos:
        content = photo.path.read_bytes()
        if not content.startswith((_JPEG, _PNG)):
            continue
        pixels = load_image(
            content, height=settings.height, width=settings.width, resize=settings.resize,
            name=str(photo.path), depth=settings.depth,
        )  # fmt: skip
        decoded = _decode(content, settings.height, settings.width, settings.resize).numpy()
        levels.append(np.abs(decoded - pixels).mean())
        row = tf.constant(pixels[np.newaxis].astype(np.float32))
        exact = by_pixels(pixels=row)[PROBABILITIES].numpy()[0]
        near = by_bytes(image_bytes=tf.constant([content]))[PROBABILITIES].numpy()[0]
        differences.append(np.abs(exact - near).max())
        changed += int(exact.argmax() != near.argmax())
    if not levels:
        return None
    return DecodingDifference(
        photos=len(levels),
        levels=float(np.mean(levels)),
        largest=float(np.max(differences)),
        labels_changed=changed,
    )
