"""What lies beside an exported model: labels, a program, and how to use it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from tlcli.export.parity_text import describe_parity
from tlcli.export.records import ExportCard
from tlcli.system import console

_NAMES = {
    "litert": "LiteRT (TensorFlow Lite)",
    "onnx": "ONNX",
    "savedmodel": "a TensorFlow SavedModel",
    "keras": "a Keras model",
}

#: What `predict.py` needs, and how it loads the model.
_PACKAGES = {
    "litert": "ai-edge-litert numpy pillow",
    "onnx": "onnxruntime numpy pillow",
    "savedmodel": "tensorflow numpy pillow",
    "keras": "keras tensorflow numpy pillow",
}
_LOAD = {
    "litert": """\
    from ai_edge_litert.interpreter import Interpreter

    call = Interpreter(model_path=path).get_signature_runner()
    return lambda x: call(pixels=x)""",
    "onnx": """\
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(names, {"pixels": x})))""",
    "savedmodel": """\
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    name = "with_features" if UNKNOWN else "serving_default"
    return lambda x: loaded.signatures[name](pixels=tf.constant(x))""",
    "keras": """\
    import keras

    model = keras.saving.load_model(path, compile=False)
    outputs = {"probabilities": model.outputs[0]}
    if UNKNOWN:
        top = model.get_layer(UNKNOWN["layer"]).output
        outputs["features"] = keras.layers.GlobalAveragePooling2D(dtype="float32")(top)
    return keras.Model(model.inputs[0], outputs).predict_on_batch""",
}

_MEANING = {
    "squash": "`squash` ignores the shape of the photo.",
    "crop": "`crop` keeps its shape and cuts the long side around the centre.",
    "pad": "`pad` keeps its shape and centres it on black.",
}


def labels_text(classes: tuple[str, ...]) -> str:
    """`labels.txt`: a class on each line, with what would break a line escaped as in JSON."""
    return "".join(f"{_escaped(name)}\n" for name in classes)


def _escaped(name: str) -> str:
    special = {"\\", "\x7f", "\x85", "\u2028", "\u2029"}
    return "".join(
        json.dumps(letter)[1:-1] if letter < " " or letter in special else letter for letter in name
    )


def script(card: ExportCard) -> str:
    """`predict.py`."""
    return _render("predict.txt", packages=_PACKAGES[card.format], load=_LOAD[card.format])


def readme(card: ExportCard) -> str:
    """`README.md`."""
    quantized = f", weights in {card.quantize}" if card.quantize else ""
    return _render(
        "readme.txt",
        card=card,
        title=console.one_line(str(card.run["name"])).replace("<", "&lt;"),
        format_name=_NAMES[card.format],
        size=console.size(card.bytes),
        quantized=quantized,
        calibrated="probabilities" if card.temperature is None else "calibrated probabilities",
        parity=describe_parity(card.parity) if card.parity else "It was not compared with its run.",
        packages=_PACKAGES[card.format],
        uses=_read(f"use_{card.format}.txt"),
        meaning=_MEANING[card.input["resize"]],
    )


def _render(name: str, **values: Any) -> str:
    import jinja2

    # Nothing of the user's is text of a template, and the pages are no HTML.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_read(name)).render(**values)


def _read(name: str) -> str:
    """A text that comes with tlcli."""
    return resources.files("tlcli.export").joinpath("templates", name).read_text("utf-8")
