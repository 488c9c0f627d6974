"""What `tlcli doctor` prints: what this machine has, and which sources of weights it reaches."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tlcli._version import __version__
from tlcli.errors import TlcliError
from tlcli.networks import bases
from tlcli.networks.precision import choose_precision
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import weights_folder
from tlcli.pretrained.weight_sources import Mirror, mirrors_in_order, published_weights
from tlcli.pretrained.weights import keras_weights_folder
from tlcli.system import console, download, files
from tlcli.system.machine import bfloat16_units, usable_processors
from tlcli.system.packages import installed_version

#: Packages whose versions are shown.
PACKAGES = ("tensorflow", "keras", "numpy", "h5py", "pillow", "pydantic", "click")

#: Seconds that the package index may take to answer.
INDEX_TIMEOUT = 20.0


def machine_report(cache: Path | None, access: WeightsAccess) -> tuple[str, Any]:
    """Versions, devices, folders and sources of weights: as text, and as a value for JSON.

    Args:
        cache: the folder of --cache-dir; by default that of tlcli.
        access: how weights may be had; offline, no source is asked.
    """
    value: dict[str, Any] = {
        "versions": _versions(),
        "devices": _devices(),
        "precision": _precision(files.cache_folder(cache)),
        "folders": [_folder(*pair) for pair in _folders(files.cache_folder(cache), access)],
        "sources": [{"source": name, "answer": answer} for name, answer in _answers(access)],
    }
    return _text(value), value


def _text(value: dict[str, Any]) -> str:
    versions = "\n".join(f"{name} {number}" for name, number in value["versions"].items())
    devices = "devices: " + ", ".join(value["devices"])
    asked = value["precision"]
    devices += f"\nprecision: auto is {asked['auto']} ({asked['why']})"
    folders = console.table(
        ("folder of", "holds", "free", "path"),
        [[f["name"], _size(f["bytes"]), _size(f["free"]), f["path"]] for f in value["folders"]],
    )
    answers = console.table(
        ("source of weights", "answer"), [[s["source"], s["answer"]] for s in value["sources"]]
    )
    return "\n\n".join([versions, devices, folders, answers])


def _size(number_of_bytes: int | None) -> str:
    return "-" if number_of_bytes is None else console.size(number_of_bytes)


def _versions() -> dict[str, str]:
    versions = {"tlcli": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = installed_version(name) or "not installed under this name"
    return {**versions, "system": platform.platform()}


def _devices() -> list[str]:
    from tlcli.networks.framework import tf

    usable, count = usable_processors(), os.cpu_count() or 1
    some = f", of which {usable} may be used" if usable < count else ""
    cores = f"CPU with {console.counted(count, 'core')}{some}"
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [detail.get("device_name", gpu.name) for detail, gpu in zip(details, gpus, strict=True)]
    return [cores, *names]


def _precision(cache: Path) -> dict[str, Any]:
    """What `precision: auto` means for a base of plain convolutions; measured if needed."""
    choice = choose_precision("VGG16", cache)
    return {"auto": choice.precision, "why": choice.why, "units": list(bfloat16_units())}


def _folders(cache: Path, access: WeightsAccess) -> Iterator[tuple[str, Path]]:
    """The folders that tlcli reads and writes, each with what it is the folder of."""
    yield "features", files.features_folder(cache)
    yield "weights of tlcli", weights_folder(cache)
    yield "weights of Keras", keras_weights_folder()
    if access.folder:
        yield "weights, TLCLI_WEIGHTS", access.folder


def _folder(name: str, path: Path) -> dict[str, Any]:
    used = None
    if path.is_dir():
        used = sum(files.disk_bytes(file) for file in path.rglob("*") if file.is_file())
    free = shutil.disk_usage(files.nearest_existing(path)).free
    return {"name": name, "path": str(path), "bytes": used, "free": free}


def _answers(access: WeightsAccess) -> Iterator[tuple[str, str]]:
    """Every source of weights with `yes` if it answers, else why not."""
    if access.offline:
        yield "all", "not asked: tlcli is offline"
        return
    hosts = {urlsplit(published_weights(base).url).hostname: base for base in bases.PRETRAINED}
    for host, base in hosts.items():
        problem = download.probe(published_weights(base).url)
        yield f"{host} (the official files)", problem or "yes"
    yield from _mirror_answers()


def _mirror_answers() -> Iterator[tuple[str, str]]:
    try:
        mirrors = {m: base for base in bases.PRETRAINED for m in mirrors_in_order(base)}
    except TlcliError as error:
        yield "TLCLI_MIRRORS", str(error)
        return
    for mirror, base in mirrors.items():
        problem = _index_problem(mirror) if mirror.requirement else download.probe(mirror.url)
        yield f"{mirror} ({base})", problem or "yes"


def _index_problem(mirror: Mirror) -> str:
    """Why pip cannot get a mirror from its package index; empty if it can. Installs nothing."""
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
