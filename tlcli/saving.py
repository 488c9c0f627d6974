"""What a run leaves behind: its record, and the model, read back before it counts."""

from __future__ import annotations

import platform
import sys
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tlcli import __version__, files, findings, images, photos, runs
from tlcli.dataset import Index
from tlcli.errors import Problem, RunError
from tlcli.framework import keras, tf
from tlcli.plan import Plan
from tlcli.runs import Run
from tlcli.split import Network

#: Photos on which the saved model must say what the one in memory says.
REREAD = 16


def begin(
    plan: Plan, index: Index, weights: dict[str, Any], *, out: Path | None, force: bool
) -> Run:
    """Make the run directory and write down what is known before training.

    `weights` is the record of those that were loaded into the base.
    """
    recipe = plan.recipe
    run = runs.create(recipe.name, out, force=force)
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "base": plan.row.name,
        "seed": recipe.seed,
        "recipe_fingerprint": recipe.fingerprint(),
        "dataset_fingerprint": index.fingerprint,
        "classes": list(index.classes),
        "photos": index.counts(),
        "weights": weights,
        "versions": {
            "tlcli": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
        },
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }
    files.write_json(run.file(runs.RECORD), record)
    files.write_text(run.file(runs.RECIPE), recipe.as_yaml())
    table = (
        (item.path, index.classes[item.label], item.split, item.digest) for item in index.items
    )
    files.write_table(run.file(runs.SPLIT), ("path", "label", "split", "sha256"), table)
    files.write_json(run.file(runs.AUDIT), findings.audit_record(index, plan.problems))
    return run


def save_model(network: Network, plan: Plan, index: Index, run: Run) -> None:
    """Write the whole network, with what prediction needs to know as one more archive member."""
    recipe = plan.recipe
    card = {
        "tlcli": __version__,
        "classes": list(index.classes),
        "image_size": list(recipe.base.image_size),
        "resize": recipe.base.resize,
        "decoder": images.DECODER_VERSION,
        "base": plan.row.name,
    }
    with files.replacing(run.file(runs.MODEL)) as temporary:
        network.whole.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(runs.MODEL_CARD, files.as_json(card))


def check_saved(network: Network, plan: Plan, index: Index, run: Run) -> None:
    """The model read back from the disk must say what the one in memory says."""
    items = (index.of("test") or index.of("val") or index.of("train"))[:REREAD]
    views = [photos.View(item.path, item.digest) for item in items]
    (batch,) = photos.batches([views], photos.Look.of(plan.recipe))
    saved = keras.saving.load_model(run.file(runs.MODEL), compile=False)
    expected = network.whole(batch.pixels, training=False).numpy()
    found = saved(batch.pixels, training=False).numpy()
    if not np.allclose(expected, found, rtol=1e-5, atol=1e-6):
        message = "the saved model does not predict what the trained one does"
        raise RunError(Problem(str(run.path), message, "this is a bug in tlcli; report it"))
