"""`tlcli doctor`: what this machine has and can reach, for a look before a report."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tlcli import __version__
from tlcli.errors import TlcliError
from tlcli.networks import bases
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import weights_folder
from tlcli.pretrained.weight_sources import Mirror, mirrors_in_order, published_weights
from tlcli.pretrained.weights import keras_weights_folder
from tlcli.system import console, download, files

#: What is asked for its version.
PACKAGES = ("tensorflow", "keras", "numpy", "h5py", "pillow", "pydantic", "click")
#: Seconds that the package index may take to answer.
INDEX_TIMEOUT = 20.0


def machine_report(cache: Path | None, access: WeightsAccess) -> tuple[str, Any]:
    """Versions, devices, folders and sources: as text, and as a value for JSON."""
    value: dict[str, Any] = {
        "versions": _versions(),
        "devices": _devices(),
        "folders": [_folder(*pair) for pair in _folders(files.cache_folder(cache), access)],
        "sources": [{"source": name, "answer": said} for name, said in _answers(access)],
    }
    versions = "\n".join(f"{name} {number}" for name, number in value["versions"].items())
    folders = console.table(
        ("folder of", "holds", "free", "path"),
        [[f["name"], _sized(f["bytes"]), _sized(f["free"]), f["path"]] for f in value["folders"]],
    )
    answers = console.table(
        ("source of weights", "answer"), [[s["source"], s["answer"]] for s in value["sources"]]
    )
    devices = "devices: " + ", ".join(value["devices"])
    return "\n\n".join([versions, devices, folders, answers]), value


def _versions() -> dict[str, str]:
    found = {"tlcli": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # tensorflow-cpu and others bring the same modules
            found[name] = "not installed under this name"
    return {**found, "system": platform.platform()}


def _devices() -> list[str]:
    from tlcli.networks.framework import tf

    cores = f"CPU with {os.cpu_count()} cores"
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [known.get("device_name", gpu.name) for known, gpu in zip(details, gpus, strict=True)]
    return [cores, *names]


def _folders(cache: Path, access: WeightsAccess) -> Iterator[tuple[str, Path]]:
    yield "features", files.features_folder(cache)
    yield "weights of tlcli", weights_folder(cache)
    yield "weights of Keras", keras_weights_folder()
    if access.folder:
        yield "weights, TLCLI_WEIGHTS", access.folder


def _folder(name: str, path: Path) -> dict[str, Any]:
    used = None
    if path.is_dir():
        # Blocks, not lengths: an unfinished shard of features is longer than what it holds.
        used = sum(one.stat().st_blocks * 512 for one in path.rglob("*") if one.is_file())
    free = shutil.disk_usage(files.nearest_existing(path)).free
    return {"name": name, "path": str(path), "bytes": used, "free": free}


def _sized(number_of_bytes: int | None) -> str:
    return "-" if number_of_bytes is None else console.size(number_of_bytes)


def _answers(access: WeightsAccess) -> Iterator[tuple[str, str]]:
    """Every source of weights, and whether it answers."""
    if access.offline:
        yield "all", "not asked: tlcli is offline"
        return
    hosts = {urlsplit(published_weights(base).url).hostname: base for base in bases.names()}
    for host, base in hosts.items():
        yield (
            f"{host} (the official files)",
            download.probe(published_weights(base).url) or "yes",
        )
    try:
        mirrors = {m: base for base in bases.names() for m in mirrors_in_order(base)}
    except TlcliError as error:
        yield "TLCLI_MIRRORS", str(error)
        return
    for mirror, base in mirrors.items():
        answer = _index(mirror) if mirror.requirement else download.probe(mirror.url)
        yield f"{mirror} ({base})", answer or "yes"


def _index(mirror: Mirror) -> str:
    """Why the package index does not have a mirror; empty if it does. pip only asks."""
    name, _, version = mirror.requirement.partition("==")
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--no-input"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INDEX_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"no answer within {INDEX_TIMEOUT:g} seconds"
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        return (
            errors[-1].removeprefix("ERROR: ") if errors else "pip cannot reach the package index"
        )
    return "" if version in done.stdout else f"the package index has no version {version}"
