"""The saved model of a run, and the card in it that says what its outputs mean."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, reason
from tlcli.images import decode
from tlcli.networks import bases
from tlcli.networks.temperature import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from tlcli.recipe.limits import MAX_DEPTH, MAX_SIDE, MIN_DEPTH
from tlcli.runs.directory import MODEL, MODEL_CARD, Run, is_run
from tlcli.system import files

#: A card holds class names, not data.
CARD_BYTES = 10_000_000

#: What reading a damaged archive raises beside OSError and ValueError.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def run_of_model(model: Path) -> Run | None:
    """The run that a model lies in, if it lies in one."""
    run = Run(model.parent)
    return run if model.name == MODEL and is_run(run.path) else None


def archive_fingerprint(path: Path) -> str:
    """What tells the model at `path` from every other, in hex, without reading its weights.

    It is a hash of the names, sizes and checksums that the archive lists of its members.
    """
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            digest.update(f"{member.filename}\0{member.file_size}\0{member.CRC}\n".encode())
    return digest.hexdigest()


def open_model(path: Path, card: dict[str, Any], precision: str = "float32") -> Any:
    """The Keras model at `path`, whose card has been read; `RunError` where they do not fit.

    It computes in float32, whatever its file says (version 0.1.0 saved models in the precision of
    their training); with `mixed_bfloat16` the layers of its base compute in that.
    """
    from tlcli.networks.conversion import compute_in_bfloat16, compute_in_float32
    from tlcli.networks.framework import keras

    try:
        # safe_mode stays on: a model file is data, and must not bring code along.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, *DAMAGED) as error:
        raise RunError(Problem(str(path), f"cannot be loaded: {reason(error)}")) from error
    classes, outputs = len(card["classes"]), model.outputs[0].shape[-1]
    if outputs != (1 if classes == 2 else classes):
        message = f"has {outputs} outputs for {classes} classes"
        raise RunError(Problem(str(path), message, "use a model that tlcli has written"))
    base = bases.lookup(str(card.get("base")))
    if precision == "float32" or base is None:
        return compute_in_float32(model)
    return compute_in_bfloat16(model, base.layers)


def find_logits(model: Any, path: Path) -> Any:
    """The tensor before the last activation, shape (n, 1) for two classes, else (n, classes).

    Raises `RunError` where the model at `path` does not end in softmax or sigmoid.
    """
    from tlcli.networks.framework import keras

    last = model.layers[-1]
    outputs = (keras.activations.softmax, keras.activations.sigmoid)
    if not isinstance(last, keras.layers.Activation) or last.activation not in outputs:
        hint = "use a model that tlcli has written"
        raise RunError(Problem(str(path), "does not end in softmax or sigmoid", hint))
    return last.input


def find_features(model: Any, card: dict[str, Any]) -> Any:
    """The means over space of what the base puts out, float32 (n, channels).

    None where the card names no base that tlcli knows, or the model is not built on it.
    """
    from tlcli.networks.framework import keras

    row = bases.lookup(str(card.get("base")))
    names = {layer.name for layer in model.layers}
    if row is None or row.top.name not in names:
        return None
    output = model.get_layer(row.top.name).output
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(output)


def read_card(path: Path) -> dict[str, Any]:
    """What a model archive says of its classes and pixels; see `directory.MODEL_CARD`."""
    hint = "only models written by tlcli say which output is which class"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MODEL_CARD).file_size > CARD_BYTES:
                raise RunError(Problem(str(path), f"its {MODEL_CARD} is not valid", hint))
            card = files.parse_json(archive.read(MODEL_CARD))
    except FileNotFoundError:
        raise RunError(Problem(str(path), "no such model", "name a run with --run")) from None
    except KeyError:
        raise RunError(Problem(str(path), f"has no {MODEL_CARD} inside", hint)) from None
    except (OSError, ValueError, *DAMAGED) as error:
        raise RunError(Problem(str(path), f"is not a model: {reason(error)}")) from error
    if not _is_card(card):
        raise RunError(Problem(str(path), f"its {MODEL_CARD} is not valid", hint))
    if card.get("decoder") != decode.DECODER_VERSION:
        message = (
            f"trained on pixels of decoder version {card.get('decoder')}, "
            f"this tlcli decodes with version {decode.DECODER_VERSION}"
        )
        hint = f"use tlcli {card.get('tlcli')}, or train again"
        raise RunError(Problem(str(path), message, hint))
    return dict(card)


def _is_card(card: Any) -> bool:
    """Whether a card has what prediction needs; another program may have written it."""
    if not isinstance(card, dict):
        return False
    classes, size = card.get("classes"), card.get("image_size")
    return (
        isinstance(classes, list)
        and len(classes) > 0
        and all(isinstance(name, str) for name in classes)
        and isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side <= MAX_SIDE for side in size)
        and card.get("resize") in ("squash", "crop", "pad")
        and card.get("depth") in (None, "auto", *range(MIN_DEPTH, MAX_DEPTH + 1))
        and _is_temperature(card.get("temperature"))
    )


def _is_temperature(value: Any) -> bool:
    """Whether it is one that may stand in a card; 0.1.0 has written none."""
    return value is None or (
        isinstance(value, int | float) and LOWEST_TEMPERATURE <= value <= HIGHEST_TEMPERATURE
    )
