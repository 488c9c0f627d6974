"""What a run leaves behind: a record of its circumstances, and the model, read back first."""

from __future__ import annotations

import os
import platform
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tlcli import __version__, console, files, images, photos, runs
from tlcli.errors import Problem, RunError
from tlcli.framework import keras, tf
from tlcli.plan import Plan
from tlcli.runs import Run
from tlcli.split import Network

#: Photos on which the saved model must say what the one in memory says.
REREAD = 16


def describe(run: Run, weights: dict[str, Any], *, deterministic: bool) -> None:
    """Add to a run's record what its numbers hang on beside recipe and photos.

    `weights` is the record of those that were loaded into the base. A run that goes on must have
    begun with the same, or a `RunError` says so; with other versions its last bits may differ,
    which is told and recorded.
    """
    record = run.record()
    found = {
        "weights": weights,
        "versions": versions(),
        "machine": machine(),
        "deterministic": deterministic,
    }
    if "weights" in record:
        if record["weights"].get("checksum") != weights["checksum"]:
            hint = "restore those weights, or start a new run with --fresh"
            raise RunError(
                Problem(str(run.path), "was started with different pretrained weights", hint)
            )
        changed = {
            key: found[key]
            for key in ("versions", "machine", "deterministic")
            if record.get(key) != found[key]
        }
        if changed:
            names = " and ".join(changed)
            console.warn(f"{run.path}: was started with other {names}; the last bits may differ")
        again = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **changed}
        files.write_json(
            run.file(runs.RECORD), {**record, "resumed": [*record.get("resumed", []), again]}
        )
    else:
        files.write_json(run.file(runs.RECORD), {**record, **found})


def versions() -> dict[str, str]:
    """Of everything that computes."""
    names = ("tensorflow", "keras", "numpy", "pillow")
    return {
        "tlcli": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }


def machine() -> dict[str, Any]:
    """What else decides the last bits: processor, devices, threads. Nothing that names an owner."""
    threading = tf.config.threading
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": [
            threading.get_intra_op_parallelism_threads(),
            threading.get_inter_op_parallelism_threads(),
        ],
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "devices": [_device(device) for device in tf.config.list_physical_devices()],
    }


def _processor() -> str:
    """The processor's model name, as Linux tells it; elsewhere what Python knows."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _device(device: Any) -> str:
    kind = str(device.device_type)
    name = tf.config.experimental.get_device_details(device).get("device_name")
    return f"{kind}: {name}" if name else kind


def save_model(network: Network, plan: Plan, run: Run) -> None:
    """Write the whole network, with what prediction needs to know as one more archive member."""
    recipe = plan.recipe
    card = {
        "tlcli": __version__,
        "classes": list(plan.index.classes),
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": images.DECODER_VERSION,
        "base": plan.row.name,
    }
    with files.replacing(run.file(runs.MODEL)) as temporary:
        network.whole.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(runs.MODEL_CARD, files.as_json(card))


def check_saved(network: Network, plan: Plan, run: Run) -> None:
    """The model read back from the disk must say what the one in memory says."""
    index = plan.index
    items = (index.of("test") or index.of("val") or index.of("train"))[:REREAD]
    views = [photos.View(item.path, item.digest) for item in items]
    (batch,) = photos.batches([views], photos.Look.of(plan.recipe))
    saved = keras.saving.load_model(run.file(runs.MODEL), compile=False)
    expected = network.whole(batch.pixels, training=False).numpy()
    found = saved(batch.pixels, training=False).numpy()
    if not np.allclose(expected, found, rtol=1e-5, atol=1e-6):
        message = "the saved model does not predict the same as the trained one"
        raise RunError(Problem(str(run.path), message, "this is a bug in tlcli; report it"))
