"""The REST interface of TensorFlow Serving, for clients that were written for it.

A request holds rows, {"instances": [...]}, or a column, {"inputs": [...]}. Each entry is a file in
Base64, {"b64": "..."}, bare or under the name of an input as the SavedModel of `tlcli export` has
it, or pixels in nested lists. The answer has the probabilities of all classes for each.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import brief
from tlcli.serving.refusals import Refusal
from tlcli.serving.served_model import ServedModel, Upload

Array = npt.NDArray[Any]

#: Under which key photos come, and their answers go.
_ANSWER_KEYS = {"instances": "predictions", "inputs": "outputs"}

#: Names of signatures that mean the one thing that models do here.
_SIGNATURES = ("", "serving_default", "serve_bytes")


class TensorFlowRequest(NamedTuple):
    """The photos of a request, and under which key their answers are given."""

    photos: list[Upload]
    key: str


def is_json(body: bytes) -> bool:
    """Whether a body is an object of JSON; no photo begins like one."""
    return body[:64].lstrip()[:1] == b"{"


def read_request(body: bytes, size: Sequence[int], most: int) -> TensorFlowRequest:
    """The photos of a request in JSON.

    Args:
        size: height and width of pixels.
        most: photos in a request.

    Raises:
        Refusal: where it does not have the shape that is described above.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {brief(str(error))}") from None
    signature = value.get("signature_name", "")
    if signature not in _SIGNATURES:
        raise Refusal(400, f"no signature {brief(signature)}; there is 'serving_default'")
    key = next((key for key in _ANSWER_KEYS if key in value), None)
    if key is None:
        raise Refusal(400, 'the body has neither "instances" nor "inputs"')
    entries = value[key]
    if key == "inputs" and isinstance(entries, dict) and "b64" not in entries:
        entries = _only_value(entries, key)
    if not isinstance(entries, list) or not entries:
        raise Refusal(400, f'"{key}" is not a list of photos')
    if len(entries) > most:
        raise Refusal(413, f'"{key}" has {len(entries)} photos; {most} is the limit here')
    photos = [_photo(entry, f"{key}[{number}]", size) for number, entry in enumerate(entries)]
    return TensorFlowRequest(photos, _ANSWER_KEYS[key])


def _photo(entry: Any, where: str, size: Sequence[int]) -> Upload:
    if isinstance(entry, dict) and "b64" not in entry:
        entry = _only_value(entry, where)
    if not isinstance(entry, dict):
        return Upload(where, _pixels(entry, where, size))
    if not isinstance(entry.get("b64"), str) or len(entry) != 1:
        raise Refusal(400, f'{where} is not {{"b64": "..."}}')
    try:
        return Upload(where, base64.b64decode(entry["b64"], validate=True))
    except (binascii.Error, ValueError):
        raise Refusal(400, f"{where} is not valid Base64") from None


def _only_value(entry: dict[str, Any], where: str) -> Any:
    """The value of an object that names one input."""
    if len(entry) != 1:
        raise Refusal(400, f"{where} names {len(entry)} inputs; the model has one")
    return next(iter(entry.values()))


def _pixels(entry: Any, where: str, size: Sequence[int]) -> Array:
    shape = (*size, 3)
    try:
        pixels = np.asarray(entry, np.float32)
    except (ValueError, TypeError, OverflowError):
        pixels = np.empty(0, np.float32)
    if pixels.shape != shape:
        wanted = "x".join(map(str, shape))
        raise Refusal(400, f"{where} is neither a file in Base64 nor pixels of {wanted}")
    if not ((pixels >= 0) & (pixels <= 255)).all():
        raise Refusal(400, f"{where} has pixels outside of 0..255")
    return pixels


def status_as_json(model: ServedModel) -> dict[str, Any]:
    """The answer to GET /v1/models/NAME."""
    status = {"error_code": "OK", "error_message": ""}
    version = {"version": str(model.version), "state": "AVAILABLE", "status": status}
    return {"model_version_status": [version]}


def metadata_as_json(model: ServedModel) -> dict[str, Any]:
    """The answer to GET /v1/models/NAME/metadata: signatures as TensorFlow Serving words them."""
    settings, classes = model.predictor.pixel_settings, model.predictor.classes
    pixels = _tensor("DT_FLOAT", -1, settings.height, settings.width, 3)
    output = {"probabilities": _tensor("DT_FLOAT", -1, len(classes))}
    signatures = {
        name: {"inputs": inputs, "outputs": output, "method_name": "tensorflow/serving/predict"}
        for name, inputs in (
            ("serving_default", {"pixels": pixels}),
            ("serve_bytes", {"image_bytes": _tensor("DT_STRING", -1)}),
        )
    }
    spec = {"name": model.name, "signature_name": "", "version": str(model.version)}
    return {
        "model_spec": spec,
        "metadata": {"signature_def": {"signature_def": signatures}, "classes": list(classes)},
    }


def _tensor(dtype: str, *shape: int) -> dict[str, Any]:
    sides = [{"size": str(side), "name": ""} for side in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": sides, "unknown_rank": False}, "name": ""}
