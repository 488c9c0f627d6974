"""What `precision: auto` means, by what the machine says of itself and by what is measured."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tlcli.errors import TlcliError
from tlcli.networks import precision
from tlcli.networks.framework import tf
from tlcli.networks.precision import (
    SPEEDS,
    Choice,
    Speedup,
    choose_precision,
    foresee_precision,
    measure_speedup,
)
from tlcli.system import measured_speeds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Let this machine have other units and GPUs: `machine("amx_bf16", gpus=["H100"])`."""
    for name in ("TLCLI_PRECISION", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)

    def be(*units: str, gpus: tuple[str, ...] = ()) -> None:
        for module in (precision, measured_speeds):
            monkeypatch.setattr(module, "bfloat16_units", lambda: units)
            monkeypatch.setattr(module, "gpu_names", lambda: gpus)
        monkeypatch.setattr(precision, "_memory", {})

    return be


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    """What a measurement gives, and how many there were: `measured(2.0, 1.5)`."""
    calls: list[Speedup] = []

    def give(forward: float, step: float) -> list[Speedup]:
        def measure() -> Speedup:
            calls.append(Speedup(forward, step))
            return calls[-1]

        monkeypatch.setattr(precision, "measure_speedup", measure)
        return calls

    return give


def test_flags_settle_it_where_they_are_certain(machine, tmp_path: Path):
    machine()
    none = Choice("float32", "this processor has no units for bfloat16")
    assert foresee_precision("VGG16", tmp_path) == choose_precision("VGG16", tmp_path) == none
    machine("amx_bf16", "avx512_bf16")
    amx = Choice("mixed_bfloat16", "this processor has amx_bf16")
    assert foresee_precision("ResNet50", tmp_path) == amx
    assert not [*tmp_path.iterdir()]


def test_units_without_a_library_that_uses_them(machine, monkeypatch, tmp_path: Path):
    machine("amx_bf16")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert foresee_precision("VGG16", tmp_path) == Choice(
        "float32", "TF_ENABLE_ONEDNN_OPTS turns off what uses bfloat16 units"
    )
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert foresee_precision("VGG16", tmp_path).precision is None


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ((2.04, 1.52), "mixed_bfloat16"),
        ((1.1, 1.0), "mixed_bfloat16"),
        ((1.09, 1.5), "float32"),
        ((3.0, 0.99), "float32"),
    ],
)
def test_what_flags_leave_open_is_measured_once(
    machine, measured, tmp_path: Path, speeds: tuple[float, float], chosen: str
):
    calls = measured(*speeds)
    machine("avx512_bf16")
    open_ = foresee_precision("VGG16", tmp_path)
    assert open_.precision is None
    assert (
        open_.why
        == "avx512_bf16 alone does not settle it; measured as soon as TensorFlow is loaded"
    )
    choice = choose_precision("VGG16", tmp_path)
    assert choice.precision == chosen
    assert choice.why == (
        f"measured here: in bfloat16 a convolution is {speeds[0]:.2g} times as fast as in float32, "
        f"with its gradients {speeds[1]:.2g} times"
    )
    machine("avx512_bf16")  # another process
    assert foresee_precision("ResNet50", tmp_path) == choice
    assert choose_precision("ResNet50", tmp_path) == choice
    assert len(calls) == 1
    machine("bf16")  # another machine that shares the cache folder
    assert foresee_precision("VGG16", tmp_path).precision is None


@pytest.mark.parametrize(
    ("details", "chosen"),
    [
        (
            {"device_name": "NVIDIA A100", "compute_capability": (8, 0)},
            Choice("mixed_bfloat16", "NVIDIA A100 has compute capability 8.0"),
        ),
        (
            {"device_name": "Tesla V100", "compute_capability": (7, 0)},
            Choice(
                "float32",
                "Tesla V100 has compute capability 7.0, and units for bfloat16 come with 8.0",
            ),
        ),
        (
            {"device_name": "Radeon"},
            Choice("float32", "TensorFlow does not know what Radeon is fast in"),
        ),
    ],
)
def test_what_a_gpu_is_fast_in_tensorflow_knows(
    machine, monkeypatch, tmp_path: Path, details: dict[str, Any], chosen: Choice
):
    machine(gpus=("NVIDIA GPU",))
    assert foresee_precision("VGG16", tmp_path) == Choice(
        None, "what NVIDIA GPU is fast in, TensorFlow tells as soon as it is loaded"
    )
    gpus = {"GPU:0": {"device_name": "NVIDIA H100", "compute_capability": (9, 0)}, "GPU:1": details}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [*gpus])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", gpus.__getitem__)
    assert choose_precision("VGG16", tmp_path) == chosen


def test_a_gpu_that_tensorflow_cannot_use_has_no_say(machine, tmp_path: Path):
    machine("amx_bf16", gpus=("NVIDIA H100",))
    assert choose_precision("VGG16", tmp_path).why == "this processor has amx_bf16"


def test_of_two_processes_that_measure_at_once_the_first_decides_for_both(
    machine, monkeypatch, tmp_path: Path
):
    machine("avx512_bf16")

    def measure() -> Speedup:
        """What another process does meanwhile, and then this one."""
        monkeypatch.setattr(precision, "measure_speedup", lambda: Speedup(2, 2))
        assert choose_precision("VGG16", tmp_path).precision == "mixed_bfloat16"
        machine("avx512_bf16")
        return Speedup(0.5, 0.5)

    monkeypatch.setattr(precision, "measure_speedup", measure)
    choice = choose_precision("VGG16", tmp_path)
    assert choice.precision == "mixed_bfloat16" and "2 times as fast" in choice.why
    machine("avx512_bf16")
    assert foresee_precision("VGG16", tmp_path) == choice


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"forward": 1, "step": "x"}}', "{"])
def test_a_damaged_record_is_measured_again(machine, measured, tmp_path: Path, text: str):
    calls = measured(2, 2)
    machine("avx512_bf16")
    (tmp_path / SPEEDS).write_text(text)
    assert choose_precision("VGG16", tmp_path).precision == "mixed_bfloat16"
    assert len(calls) == 1
    (value,) = json.loads((tmp_path / SPEEDS).read_text()).values()
    assert value == {"forward": 2, "step": 2}


def test_a_record_that_cannot_be_kept_is_a_warning(machine, measured, tmp_path: Path, capsys):
    calls = measured(2, 2)
    machine("avx512_bf16")
    (tmp_path / "file").touch()
    for _ in range(2):  # the process remembers
        choose_precision("VGG16", tmp_path / "file")
    assert len(calls) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_variable_decides_for_a_whole_cluster(machine, monkeypatch, tmp_path: Path):
    machine("amx_bf16")
    monkeypatch.setenv("TLCLI_PRECISION", "float32")
    assert foresee_precision("VGG16", tmp_path) == Choice("float32", "TLCLI_PRECISION is set")
    monkeypatch.setenv("TLCLI_PRECISION", "bfloat16")
    with pytest.raises(TlcliError) as raised:
        foresee_precision("VGG16", tmp_path)
    assert str(raised.value) == (
        "TLCLI_PRECISION: found 'bfloat16'; did you mean 'mixed_bfloat16'? "
        "(allowed: float32, mixed_float16, mixed_bfloat16)"
    )


def test_a_measurement_measures():
    speedup = measure_speedup()
    assert speedup.forward > 0
    assert speedup.step > 0


def test_other_work_on_the_machine_does_not_decide(machine, monkeypatch):
    """A process that waits for its turn is not slow, and the clock on the wall would say it is."""
    machine("avx512_bf16")

    def compute(seconds: float, waiting: float):
        def call() -> None:
            until = time.process_time() + seconds
            while time.process_time() < until:
                pass
            time.sleep(waiting)

        return {"forward": call, "step": call}

    calls = {"float32": compute(0.006, 0), "bfloat16": compute(0.002, 0.02)}
    monkeypatch.setattr(precision, "_convolution", calls.get)
    speedup = measure_speedup()
    assert 2 < speedup.forward < 4 and 2 < speedup.step < 4
