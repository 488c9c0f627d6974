"""The workers beside worker 0: they train the same stages, and write nothing of the run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tlcli.features.open_store import open_store
from tlcli.runs import directory
from tlcli.runs.checkpoints import Checkpoints
from tlcli.runs.directory import Run
from tlcli.system import signals
from tlcli.training.plan import Plan, without_unreadable
from tlcli.training.preparation import fill_store
from tlcli.training.replicas import WorkerGroup, group_errors, make_replicas
from tlcli.training.shared_start import agree_on_inputs, load_start, take_start
from tlcli.training.stages import Clock, Stages


def train_beside(plan: Plan, group: WorkerGroup) -> None:
    """Train with worker 0 until the last stage has ended, then wait for its end.

    What a run keeps from epoch to epoch goes into a temporary folder here. Raises what `train`
    raises.
    """
    replicas = make_replicas(plan.recipe.devices, group)
    with (
        signals.defer(), group_errors(group),
        tempfile.TemporaryDirectory(prefix="tlcli-worker-") as folder,
    ):  # fmt: skip
        run = Run(Path(folder))
        plan, methods, stopped = take_start(group, plan)
        if stopped is not None:
            Checkpoints(run.file(directory.CHECKPOINTS)).write(stopped)
        network = load_start(plan, replicas)
        with open_store(
            network, plan.recipe, plan.cache, [cut.name for cut in plan.cuts]
        ) as opened:
            report = fill_store(network, plan.recipe, plan.index, opened)
            plan = without_unreadable(plan, report.unreadable)
            agree_on_inputs(group, plan.index, opened.checksums[plan.row.top.name])
            stages = Stages(
                network, plan, opened.all_rows, run, Clock(), report, replicas=replicas,
                methods=methods,
            )  # fmt: skip
            if stopped is not None:
                stages.load_checkpoint()
            stages.run()
        group.finish()
        signals.ignore_from_now_on()
