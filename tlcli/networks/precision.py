"""The precision that a base is computed fastest in on this machine: what `precision: auto` means.

With units for it, a processor multiplies bfloat16 numbers several times as fast as float32 ones;
without, much more slowly. What the processor says of itself settles it where it says yes or no for
certain; otherwise one convolution is timed in both, once TensorFlow is loaded, and the result is
kept for this kind of machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from tlcli.errors import Problem, TlcliError, suggestion
from tlcli.networks import bases
from tlcli.system import console
from tlcli.system.machine import bfloat16_units, gpu_names, processor_name, usable_processors
from tlcli.system.measured_speeds import Speeds, add_speeds, choose_clock, read_speeds

#: How a base may compute, as Keras' policies; weights are float32 in each.
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

#: What `auto` means where it is set: on all machines of a cluster the same, for example.
VARIABLE = "TLCLI_PRECISION"

#: The file in the cache folder with what was measured on this machine.
SPEEDS = "precision.json"

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

    def as_dict(self) -> dict[str, str | None]:
        """The form in JSON."""
        return {"used": self.precision, "why": self.why}


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
    units, gpus = bfloat16_units(), gpu_names()
    if not gpus:
        if not units:
            return Choice("float32", "this processor has no units for bfloat16")
        if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() in ("0", "false"):
            return Choice("float32", "TF_ENABLE_ONEDNN_OPTS turns off what uses bfloat16 units")
        if "amx_bf16" in units and not _limits_instructions():
            return Choice("mixed_bfloat16", "this processor has amx_bf16")
    key = machine_key()
    speedup = _known_speedup(key, cache)
    if speedup is not None:
        return _judge(speedup)
    device = gpus[0] if gpus else f"{units[0]} alone"
    return Choice(None, f"{device} does not settle it; measured as soon as TensorFlow is loaded")


def choose_precision(base: str, cache: Path) -> Choice:
    """As `foresee_precision`; measures this machine where that is needed, and keeps the result."""
    choice = foresee_precision(base, cache)
    if choice.precision is not None:
        return choice
    speedup, key = measure_speedup(), machine_key()
    _memory[key] = speedup
    add_speeds(cache / SPEEDS, _parse_speeds, key, asdict(speedup))
    return _judge(speedup)


def expected_speedup(cache: Path) -> Speedup:
    """What bfloat16 gains on this machine: as it was measured, or as others like it gain."""
    if (kept := _known_speedup(machine_key(), cache)) is not None:
        return kept
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() in ("0", "false"):
        return NO_GAIN
    return next((USUAL[unit] for unit in bfloat16_units() if unit in USUAL), NO_GAIN)


def _known_speedup(key: str, cache: Path) -> Speedup | None:
    """What was measured on this machine before, if anything was."""
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


def machine_key() -> str:
    """A hash of all that measured speeds depend on: processor, devices, TensorFlow, settings."""
    variables = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("ONEDNN_", "DNNL_", "TF_ENABLE_ONEDNN", "CUDA_VISIBLE"))
    }
    version = next(
        (
            metadata.version(name)
            for name in ("tensorflow", "tensorflow-cpu")
            if any(metadata.distributions(name=name))
        ),
        "",
    )
    devices = bfloat16_units(), gpu_names()
    parts = processor_name(), usable_processors(), *devices, version, variables
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _parse_speeds(value: Any) -> Speeds:
    speeds = {str(k): {kind: float(v[kind]) for kind in GAINS} for k, v in value.items()}
    return {k: v for k, v in speeds.items() if math.isfinite(sum(v.values()))}


def measure_speedup() -> Speedup:
    """Time one convolution of 3 x 3, 128 to 128 channels, in float32 and in bfloat16.

    It takes a tenth of a second, and some more to compile. Both take turns, and the fastest of some
    rounds counts, by the clock of `choose_clock`.
    """
    clock = choose_clock(on_gpu=bool(gpu_names()))
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

    # Numbers are read, so that a GPU has finished.
    return {"forward": lambda: forward().numpy(), "step": lambda: [v.numpy() for v in step()]}
