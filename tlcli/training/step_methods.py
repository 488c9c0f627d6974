"""How the steps of a run are computed: decided when it begins, and kept until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlcli.networks.framework import tf
from tlcli.networks.kernel_products import choose_products
from tlcli.networks.network import Network
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods, validate_record
from tlcli.training.plan import Plan
from tlcli.training.replicas import ALONE, Replicas
from tlcli.training.stage_plan import StagePlan

#: As Keras and TensorFlow compute by themselves, and as earlier versions of tlcli did.
PLAIN = StepMethods()

#: The key in the record of a run.
KEY = "step_methods"


def recorded_methods(run: Run) -> StepMethods:
    """Those of a run that has begun. Raises `RunError` for a damaged record."""
    value = run.record().get(KEY, {})
    return validate_record(run.file(directory.RECORD), value, StepMethods)


def decide_methods(
    network: Network, plan: Plan, run: Run, replicas: Replicas, repeats: Run | None
) -> StepMethods:
    """The methods of a run: those that it began with, or of the run that it repeats.

    Otherwise those that suit this machine. Of several copies of a network see `shared_methods`.
    """
    if replicas is not ALONE:
        return shared_methods(run, repeats)
    begun = _begun(run, repeats)
    return recorded_methods(begun) if begun else suitable_methods(network, plan.stages, plan.cache)


def shared_methods(run: Run, repeats: Run | None = None) -> StepMethods:
    """The methods of several copies of a network, which may be on several machines.

    They are those that a run began with, too; otherwise none is measured, and on a GPU all is as
    Keras and TensorFlow compute by themselves. Adam has no fused operation for several copies.
    """
    if begun := _begun(run, repeats):
        return recorded_methods(begun).model_copy(update={"fused_adam": False})
    return StepMethods(wide_depthwise=not tf.config.list_logical_devices("GPU"))


def _begun(run: Run, repeats: Run | None) -> Run | None:
    """The run whose methods are known: itself, if it has begun, or the one that it repeats."""
    return run if "weights" in run.record() else repeats  # recorded together with the methods


def suitable_methods(network: Network, stages: Sequence[StagePlan], cache: Path) -> StepMethods:
    """The methods that suit this machine, for stages that one copy of a network trains.

    Shapes of convolutions that are new to it are measured; `cache` is the folder of
    `files.cache_folder`. A layer is computed alike in all stages, as suits the first in which it
    trains. On a GPU all is as Keras and TensorFlow compute by themselves.
    """
    if tf.config.list_logical_devices("GPU"):
        return PLAIN
    seen: set[str] = set()
    chosen: list[str] = []
    for planned in stages:
        if planned.stage.freeze_until is not None:
            above = network.layers_above(planned.cut.name)
            layers = [layer for layer in above if layer.name not in seen]
            chosen += choose_products(layers, planned.batch_size, cache)
            seen |= {layer.name for layer in layers}
    return StepMethods(
        fused_adam=True, kernel_products=tuple(chosen), wide_depthwise=True, pointwise=True
    )
