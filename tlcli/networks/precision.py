"""The precision that a base is computed fastest in on this machine: what `precision: auto` means.

With units for it, a processor multiplies bfloat16 numbers several times as fast as float32 ones;
without, much more slowly. What the processor says of itself settles it where it says yes or no for
certain; otherwise one convolution is timed in both, once TensorFlow is loaded, and the result is
kept for this kind of machine. What a GPU computes fast, TensorFlow knows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tlcli.errors import Problem, TlcliError, suggestion
from tlcli.networks import bases
from tlcli.system import console
from tlcli.system.machine import bfloat16_units, gpu_names
from tlcli.system.measured_speeds import (
    Speeds,
    add_speeds,
    choose_clock,
    machine_key,
    read_speeds,
)

#: How a base may compute, as Keras' policies; weights are float32 in each.
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

#: What `auto` means where it is set: on all machines of a cluster the same, for example.
VARIABLE = "TLCLI_PRECISION"

#: The file in the cache folder with what was measured on this machine.
SPEEDS = "precision.json"

#: The first compute capability of NVIDIA GPUs with units for bfloat16, that of Ampere ("CUDA C++
#: Programming Guide", compute capabilities).
GPU_BFLOAT16 = (8, 0)

#: To be raised where `measure_speedup` changes: what it gave before does not count any more.
MEASUREMENT = 1

#: How many times as fast bfloat16 must be for it to be used: forward, and in a training step.
GAINS = {"forward": 1.1, "step": 1.0}

#: Rounds of the measurement; the fastest of each kind counts.
_ROUNDS = 10

_memory: dict[str, Speedup] = {}


@dataclass(frozen=True)
class Speedup:
    """How many times as fast as in float32 a convolution is in bfloat16: alone, and with its
    gradients."""

    forward: float
    step: float

    @property
    def pays(self) -> bool:
        """Whether bfloat16 makes passes faster and training steps not slower."""
        return self.forward >= GAINS["forward"] and self.step >= GAINS["step"]


#: Where both take the same time.
NO_GAIN = Speedup(1.0, 1.0)

#: What processors with these units gain in networks of convolutions, where nothing was measured on
#: the machine itself: a Xeon with AMX, and an EPYC with AVX-512 alone; docs/performance.md.
USUAL = {"amx_bf16": Speedup(2.9, 1.8), "avx512_bf16": Speedup(1.8, 1.7)}


@dataclass(frozen=True)
class Choice:
    """A precision and in a few words why; None where TensorFlow is needed to tell.

    `measured` is whether the speed of this machine has decided.
    """

    precision: Precision | None
    why: str
    measured: bool = False


def foresee_precision(base: str, cache: Path) -> Choice:
    """What `auto` means for a base on this machine, as far as that is known without TensorFlow.

    `cache` is the folder of `files.cache_folder`. Raises a `TlcliError` for a word in
    TLCLI_PRECISION that is no precision.
    """
    if word := os.environ.get(VARIABLE):
        return Choice(_read_word(word), f"{VARIABLE} is set")
    row = bases.lookup(base)
    if row is not None and not row.pretrained:
        return Choice("float32", f"{base} is small, and trained from scratch")
    if gpus := gpu_names():
        return Choice(None, f"what {gpus[0]} is fast in, TensorFlow tells as soon as it is loaded")
    return _of_processor(cache)


def _of_processor(cache: Path) -> Choice:
    """What `auto` means where no GPU computes, as far as that is known without TensorFlow."""
    units = bfloat16_units()
    if not units:
        return Choice("float32", "this processor has no units for bfloat16")
    if _is_onednn_off():
        return Choice("float32", "TF_ENABLE_ONEDNN_OPTS turns off what uses bfloat16 units")
    if "amx_bf16" in units and not _limits_instructions():
        return Choice("mixed_bfloat16", "this processor has amx_bf16")
    if (speedup := known_speedup(cache)) is not None:
        return _judge(speedup)
    why = f"{units[0]} alone does not settle it; measured as soon as TensorFlow is loaded"
    return Choice(None, why)


def _of_gpus() -> Choice | None:
    """What `auto` means on the GPUs that TensorFlow computes on; None where there are none."""
    from tlcli.networks.framework import tf

    gpus = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
    oldest = min(gpus, key=lambda gpu: gpu.get("compute_capability", (0, 0)), default=None)
    if oldest is None:
        return None
    name = oldest.get("device_name", "this GPU")
    if (capability := oldest.get("compute_capability")) is None:
        return Choice("float32", f"TensorFlow does not know what {name} is fast in")
    of = f"{name} has compute capability {'.'.join(map(str, capability))}"
    if capability >= GPU_BFLOAT16:
        return Choice("mixed_bfloat16", of)
    return Choice("float32", f"{of}, and units for bfloat16 come with 8.0")


def choose_precision(base: str, cache: Path) -> Choice:
    """As `foresee_precision`; measures this machine where that is needed, and keeps the result."""
    choice = foresee_precision(base, cache)
    if choice.precision is None and gpu_names():
        choice = _of_gpus() or _of_processor(cache)  # not every TensorFlow can use a GPU
    if choice.precision is not None:
        return choice
    key, measured = machine_key(MEASUREMENT), asdict(measure_speedup())
    _memory[key] = Speedup(**add_speeds(cache / SPEEDS, _parse_speeds, key, measured))
    return _judge(_memory[key])


def usual_speedup() -> Speedup:
    """What bfloat16 gains on processors like this one."""
    if _is_onednn_off():
        return NO_GAIN
    return next((USUAL[unit] for unit in bfloat16_units() if unit in USUAL), NO_GAIN)


def known_speedup(cache: Path) -> Speedup | None:
    """What was measured on this machine before, if anything was.

    `cache` is the folder of `files.cache_folder`.
    """
    key = machine_key(MEASUREMENT)
    if key in _memory:
        return _memory[key]
    kept = read_speeds(cache / SPEEDS, _parse_speeds).get(key)
    return None if kept is None else Speedup(**kept)


def _judge(speedup: Speedup) -> Choice:
    why = (
        f"measured here: in bfloat16 a convolution is {speedup.forward:.2g} times as fast as in "
        f"float32, with its gradients {speedup.step:.2g} times"
    )
    return Choice("mixed_bfloat16" if speedup.pays else "float32", why, measured=True)


def _read_word(word: str) -> Precision:
    for precision in get_args(Precision):
        if word == precision:
            return precision  # type: ignore[no-any-return]
    allowed = [*get_args(Precision)]
    hint = suggestion(word, allowed)
    raise TlcliError(Problem(VARIABLE, f"found '{console.one_line(word)}'", hint))


def _limits_instructions() -> bool:
    """Whether the user has told oneDNN to leave some of the processor's instructions alone."""
    return any(name in os.environ for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))


def _is_onednn_off() -> bool:
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() in ("0", "false")


def _parse_speeds(value: Any) -> Speeds:
    speeds = {str(k): {kind: float(v[kind]) for kind in GAINS} for k, v in value.items()}
    return {k: v for k, v in speeds.items() if math.isfinite(sum(v.values()))}


def measure_speedup() -> Speedup:
    """Time one convolution of 3 x 3, 128 to 128 channels, in float32 and in bfloat16.

    It takes a tenth of a second, and some more to compile. Both take turns, and the fastest of some
    rounds counts, by the clock of `choose_clock`.
    """
    clock = choose_clock()
    calls = {dtype: _convolution(dtype) for dtype in ("float32", "bfloat16")}
    best: dict[tuple[str, str], float] = {}
    for number in range(1 + _ROUNDS):
        for dtype, kinds in calls.items():
            for kind, call in kinds.items():
                started = clock()
                call()
                seconds = clock() - started
                if number:  # the first round compiles
                    best[kind, dtype] = min(seconds, best.get((kind, dtype), math.inf))
    ratios = {kind: best[kind, "float32"] / best[kind, "bfloat16"] for kind in GAINS}
    return Speedup(**{kind: round(ratio, 3) for kind, ratio in ratios.items()})


def _convolution(dtype: str) -> Mapping[str, Callable[[], Any]]:
    """The convolution as a layer of such a network computes it: forward, and with gradients."""
    from tlcli.networks.framework import tf

    generator = tf.random.Generator.from_seed(0)
    x = tf.cast(generator.normal((8, 14, 14, 128)), dtype)
    kernel = tf.Variable(generator.normal((3, 3, 128, 128)))

    def convolve(x: Any) -> Any:
        return tf.nn.relu(tf.nn.conv2d(x, tf.cast(kernel, dtype), 1, "SAME"))

    @tf.function  # type: ignore[untyped-decorator]
    def forward() -> Any:
        return tf.reduce_sum(convolve(x))

    @tf.function  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(convolve(x))
        return [tf.reduce_sum(each) for each in tape.gradient(total, [x, kernel])]

    # Numbers are read, so that all of it is computed.
    return {"forward": lambda: forward().numpy(), "step": lambda: [v.numpy() for v in step()]}
