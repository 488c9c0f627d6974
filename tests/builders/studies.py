"""Studies on a made-up course of training, in this process and in others."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from tlcli.recipe.search import Between, Choices, Dimension
from tlcli.search.study import Study

SPACE = (
    Dimension("head.hidden", Choices(([], [8], [16, 8]))),
    Dimension("head.dropout", Between("uniform", 0.0, 0.9)),
    Dimension("stages.0.epochs", Between("int", 1, 40)),
)


def open_study(folder: Path, size: int = 4, space: tuple[Dimension, ...] = SPACE) -> Study:
    folder.mkdir(exist_ok=True)
    return Study(folder, space, maximise=False, seed=3, size=size)


def outcome(settings: dict[str, Any]) -> list[float]:
    """A made-up course of training that depends on the settings alone."""
    loss = abs(settings["head.dropout"] - 0.3) + len(settings["head.hidden"]) / 10
    return [loss + 1 / epoch for epoch in range(1, 9)]


def search(study: Study, total: int, die_at: int | None = None) -> None:
    """Train batches until the study is finished, or the process dies."""
    while True:
        with study.claim_batch(total) as batch:
            if batch is None:
                return
            for trial in batch.trials:
                if trial.number == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                curve = outcome(trial.settings)
                if study.pruner(batch)(curve[:6]):
                    study.finish(trial.number, curve[:6], TrialState.PRUNED)
                else:
                    study.finish(trial.number, curve, TrialState.COMPLETE, min(curve))


def search_and_die(folder: Path, die_at: int) -> None:
    search(open_study(folder), 22, die_at)


def search_in(folder: Path) -> None:
    search(open_study(folder), 22)


def run_process(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a function of this module in a process of its own.

    It is no fork of this one, whose other threads may hold a lock that nobody would let go of.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["optuna"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
