"""The devices that TensorFlow computes on, as a recipe names them."""

from __future__ import annotations

from collections.abc import Sequence

from tlcli.errors import Problem, RunError
from tlcli.networks.framework import tf

#: 'all', how many, or a list of their numbers.
Devices = str | int | Sequence[int]


def choose_devices(devices: Devices) -> list[str]:
    """The names of devices: GPUs, or where there is none, what TensorFlow knows as processors.

    Raises `RunError` where there are no such devices.
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [f"/{kind}:{n}" for n in range(len(tf.config.list_logical_devices(kind)))]
    return [names[number] for number in device_numbers(devices, names)]


def device_numbers(devices: Devices, names: Sequence[str]) -> list[int]:
    """The numbers of devices among those of some names; raises `RunError` for others."""
    if devices == "all":
        return [*range(len(names))]
    numbers = [*range(devices)] if isinstance(devices, int) else [int(n) for n in devices]
    if missing := [number for number in numbers if number >= len(names)]:
        what = f"device {missing[0]} is asked for, and there are {', '.join(names)}"
        raise RunError(Problem("devices", what, "write devices: all, or fewer"))
    return numbers


def knows_some_gpus() -> bool:
    """Whether this process has been given some of the GPUs: it knows no other, and numbers them."""
    known = tf.config.get_visible_devices("GPU")
    return len(known) < len(tf.config.list_physical_devices("GPU"))


def like_gpus() -> list[str]:
    """The GPUs that are of the same kind as the first: others may round otherwise."""
    kinds = [
        tf.config.experimental.get_device_details(gpu).get("device_name")
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    names = [f"/GPU:{n}" for n in range(len(tf.config.list_logical_devices("GPU")))]
    return [name for name, kind in zip(names, kinds, strict=False) if kind == kinds[0]]
