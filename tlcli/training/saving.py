"""What a run leaves behind: a record of its circumstances, and the model, read back first."""

from __future__ import annotations

import hashlib
import os
import platform
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tlcli._version import __version__
from tlcli.data.dataset import Index
from tlcli.errors import Problem, RunError
from tlcli.images import decode, loader
from tlcli.networks.framework import keras, tf
from tlcli.networks.network import Network, checksum_layers
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods
from tlcli.system import console, files
from tlcli.system.machine import processor_name, usable_processors
from tlcli.system.packages import installed_version
from tlcli.training import step_methods

#: Photos on which the saved model must say what the one in memory says.
REREAD = 16


def record_circumstances(
    run: Run,
    weights: dict[str, Any],
    *,
    deterministic: bool,
    precision_why: str = "",
    methods: StepMethods | None = None,
) -> None:
    """Add to a run's record what its numbers depend on beside recipe and photos.

    `weights` is the record of the weights that were loaded into the base, `precision_why` why it
    computes in the precision that it does, `methods` how its steps are computed. A run that is
    resumed must have begun with the same weights, or a `RunError` is raised; with other versions of
    anything that computes, its last bits may differ, which is recorded with a warning.
    """
    record = run.record()
    circumstances: dict[str, Any] = {
        "weights": weights,
        "versions": versions(),
        "machine": machine(),
        "deterministic": deterministic,
    }
    if "weights" in record:
        initial, resumed = record["weights"], record.get("resumed", [])
        if not isinstance(initial, dict) or not isinstance(resumed, list):
            hint = "start a new run with --fresh"
            raise RunError(
                Problem(str(run.file(directory.RECORD)), "is not the record of a run", hint)
            )
        if initial.get("checksum") != weights["checksum"]:
            hint = "restore those weights, or start a new run with --fresh"
            what = "was started with different pretrained weights"
            raise RunError(Problem(str(run.path), what, hint))
        changed = {
            key: circumstances[key]
            for key in ("versions", "machine")
            if differing_keys(record.get(key), circumstances[key])
        }
        if record.get("deterministic") != deterministic:
            changed["deterministic"] = deterministic
        if changed:
            names = " and ".join(changed)
            console.warn(f"{run.path}: was started with other {names}; the last bits may differ")
        again = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **changed}
        files.write_json(run.file(directory.RECORD), {**record, "resumed": [*resumed, again]})
    else:
        circumstances |= {"precision_why": precision_why} if precision_why else {}
        circumstances |= {step_methods.KEY: methods.model_dump()} if methods else {}
        files.write_json(run.file(directory.RECORD), {**record, **circumstances})


def versions() -> dict[str, str]:
    """The versions of everything that computes."""
    names = ("tensorflow", "keras", "numpy", "pillow")
    return {
        "tlcli": __version__,
        "python": platform.python_version(),
        **{name: installed_version(name) or "unknown" for name in names},
    }


def machine() -> dict[str, Any]:
    """What else decides the last bits: processor, devices, threads. Nothing tells whose it is."""
    threading = tf.config.threading
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "usable_cores": usable_processors(),
        "threads": [
            threading.get_intra_op_parallelism_threads(),
            threading.get_inter_op_parallelism_threads(),
        ],
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("OMP_", "TF_NUM_")) and os.sep not in value
        },
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "devices": [_device(device) for device in tf.config.list_physical_devices()],
    }


def differing_keys(then: Any, now: dict[str, Any]) -> list[str]:
    """The keys of two records of versions or a machine whose values differ.

    What an earlier version of tlcli did not record is no difference.
    """
    if not isinstance(then, dict):
        return sorted(now)
    return sorted(key for key in then.keys() & now.keys() if then[key] != now[key])


def _device(device: Any) -> str:
    kind = str(device.device_type)
    name = tf.config.experimental.get_device_details(device).get("device_name")
    return f"{kind}: {name}" if name else kind


def save_model(
    network: Network,
    recipe: Recipe,
    classes: Sequence[str],
    run: Run,
    temperature: float | None = None,
) -> None:
    """Write the whole network in float32, and what prediction needs to know as one more member.

    So it is exact, and fast where there are no units for another precision. The member has the
    temperature, too, so that the model alone gives the probabilities of its run.
    """
    card = {
        "tlcli": __version__,
        "classes": list(classes),
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": decode.DECODER_VERSION,
        "base": network.row.name,
        "temperature": temperature,
    }
    if recipe.data.depth is not None:
        card["depth"] = recipe.data.depth
    with files.replacing(run.file(directory.MODEL)) as temporary:
        network.in_float32.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(directory.MODEL_CARD, files.json_text(card))


def check_saved(
    network: Network, recipe: Recipe, index: Index, run: Run, frozen: tuple[str, str]
) -> None:
    """Read the model back from the disk and compare it with the one in memory.

    Its tensors must have the same bits, it must predict the same for some photos of the index, and
    up to a boundary its weights must still be the pretrained ones: `frozen` is that boundary and
    the checksum of the pretrained weights up to it. Raises `RunError` otherwise.
    """
    saved = keras.saving.load_model(run.file(directory.MODEL), compile=False)
    boundary, checksum = frozen
    layers = [saved.get_layer(name) for name in network.row.layers]
    if checksum_layers(layers, [boundary])[boundary] != checksum:
        raise _bug(run, f"weights up to '{boundary}' have changed though they were frozen")
    if _bits(saved) != _bits(network.whole):
        raise _bug(run, "the saved model has other weights than the trained one")
    pixels = _pixels(recipe, index)
    expected = network.in_float32(pixels, training=False).numpy()
    predicted = saved(pixels, training=False).numpy()
    if not np.allclose(expected, predicted, rtol=1e-5, atol=1e-6):
        raise _bug(run, "the saved model does not predict what the trained one does")


def _bits(model: Any) -> list[tuple[str, bytes]]:
    """Name and bytes of every tensor, as a digest of them."""
    return [
        (variable.path, hashlib.sha256(np.ascontiguousarray(variable.numpy()).data).digest())
        for variable in model.weights
    ]


def _pixels(recipe: Recipe, index: Index) -> Any:
    """Some photos, or noise where none of them can be read any more."""
    items = (index.of("test") or index.of("val") or index.of("train"))[:REREAD]
    views = [loader.View(item.file, item.digest) for item in items]
    (batch,) = loader.load_batches([views], loader.PixelSettings.from_recipe(recipe))
    if batch.readable:
        return batch.pixels
    shape = (REREAD, *recipe.base.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def _bug(run: Run, message: str) -> RunError:
    return RunError(Problem(str(run.path), message, "this is a bug in tlcli; report it"))
