"""What training starts from, the same in all processes that train a run together."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np

from tlcli.data.dataset import Index
from tlcli.networks.network import Network
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.checkpoints import Checkpoint, Checkpoints
from tlcli.runs.directory import Run
from tlcli.runs.records import StepMethods
from tlcli.training.parent import continue_head
from tlcli.training.plan import Plan
from tlcli.training.preparation import load_network
from tlcli.training.replica_checks import check_replicas
from tlcli.training.replicas import Replicas, WorkerGroup
from tlcli.training.step_methods import shared_methods

#: The array of the archive that holds all that is no array.
_STATE = "state"


def load_start(plan: Plan, replicas: Replicas) -> Network:
    """The network that the stages of a plan begin with.

    Raises what `check_replicas` and `load_network` raise.
    """
    check_replicas(plan, replicas)
    network = load_network(plan.recipe, plan.source, len(plan.index.classes), replicas)
    if plan.parent is not None:
        continue_head(network, plan.parent, plan.index.classes)
    return network


def share_start(group: WorkerGroup | None, run: Run, recipe: Recipe, *, resumed: bool) -> None:
    """Tell the others the precision, how steps are computed, and where a stopped run goes on."""
    if group is None:
        return
    newest = Checkpoints(run.file(directory.CHECKPOINTS)).newest()[0] if resumed else None
    methods = shared_methods(run).model_dump()
    state: dict[str, Any] = {"precision": recipe.precision, "methods": methods}
    if newest is not None:
        state["checkpoint"] = {"epoch": newest.epoch, "state": newest.state}
    header = np.frombuffer(json.dumps(state).encode(), np.uint8)
    arrays: dict[str, Any] = {_STATE: header, **(newest.arrays if newest else {})}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    group.share(stream.getvalue())


def take_start(group: WorkerGroup, plan: Plan) -> tuple[Plan, StepMethods, Checkpoint | None]:
    """The plan in the precision of worker 0, how steps are computed, and the checkpoint that it
    goes on from."""
    with np.load(io.BytesIO(group.share(None)), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    state = json.loads(arrays.pop(_STATE).tobytes())
    plan = replace(plan, recipe=plan.recipe.with_precision(state["precision"]))
    methods = StepMethods(**state["methods"])
    if (stopped := state.get("checkpoint")) is None:
        return plan, methods, None
    return plan, methods, Checkpoint(stopped["epoch"], stopped["state"], arrays)


def agree_on_inputs(group: WorkerGroup | None, index: Index, checksum: str) -> None:
    """Raise `RunError` on all workers unless they train on the same rows."""
    if group is None:
        return
    group.agree("pretrained weights other", checksum)
    group.agree("readable photos other", index.fingerprint)
