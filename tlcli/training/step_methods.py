"""How the steps of a run are computed: decided when it begins, and kept until it ends."""

from __future__ import annotations

from tlcli.networks.framework import tf
from tlcli.networks.kernel_products import choose_products
from tlcli.networks.network import Network
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods, validate_record
from tlcli.training.plan import Plan
from tlcli.training.replicas import ALONE, Replicas

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

    Otherwise those that suit this machine. GPUs and several copies of a network compute as Keras
    and TensorFlow do by themselves.
    """
    if "weights" in run.record():  # which are recorded together with the methods
        return recorded_methods(run)
    if repeats is not None:
        return recorded_methods(repeats)
    if replicas is not ALONE or tf.config.list_logical_devices("GPU"):
        return PLAIN
    return StepMethods(fused_adam=True, kernel_products=_choose_products(network, plan))


def _choose_products(network: Network, plan: Plan) -> tuple[str, ...]:
    """The layers whose kernels train with gradients by products, measured for this machine.

    A layer is computed alike in all stages, as suits the first in which it trains.
    """
    seen: set[str] = set()
    chosen: list[str] = []
    for planned in plan.stages:
        if planned.stage.freeze_until is not None:
            above = network.layers_above(planned.cut.name)
            layers = [layer for layer in above if layer.name not in seen]
            chosen += choose_products(layers, planned.batch_size, plan.cache)
            seen |= {layer.name for layer in layers}
    return tuple(chosen)
