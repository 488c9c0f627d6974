"""A study: which trials there are and who trains them, kept in a journal file of Optuna.

Trials are planned in batches. What a batch tries follows from the seed of the study, the numbers of
its trials and the outcomes of the batches before it, and from nothing else: no state of a sampler
has to survive. A process claims a batch by a lock that ends with the process. So after a kill the
same command finds the trials that were being trained, trains them again under their numbers, and
goes on as if nothing had happened. Several processes share the batches of one study; what they find
then depends on who is first.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import filelock
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tlcli.recipe.search import Dimension
from tlcli.runs import directory
from tlcli.search.distributions import distribution_of, value_of
from tlcli.system import files, locks, signals
from tlcli.system.stateless_random import make_generator

#: Trials that are drawn at random before the sampler models what is good.
RANDOM_TRIALS = 8

#: Pruning by the median begins after so many complete trials, and so many epochs of a trial.
PRUNING_TRIALS, PRUNING_EPOCHS = 8, 5

#: Draws of settings that were tried already before the space counts as exhausted.
MOST_DRAWS = 50

_BATCH, _SIZE = "batch", "batch_size"


@dataclass(frozen=True)
class PlannedTrial:
    """A trial to train: its number, and its settings by their keys as a recipe has them."""

    number: int
    settings: dict[str, Any]
    finished: bool


@dataclass(frozen=True)
class TrialBatch:
    """Trials that a process has claimed.

    Attributes:
        past: the trials whose outcomes were known when the batch was planned.
    """

    trials: tuple[PlannedTrial, ...]
    past: tuple[FrozenTrial, ...]


class Study:
    """The trials of a study in its folder."""

    def __init__(
        self, folder: Path, space: Sequence[Dimension], *, maximise: bool, seed: int, size: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self._space, self._seed, self._size = folder, space, seed, size
        self._direction = StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE
        self._distributions: dict[str, BaseDistribution] = {
            dimension.name: distribution_of(dimension.domain) for dimension in space
        }
        path = folder / directory.STUDY_JOURNAL
        _cut_torn_line(path)
        # A lock of the system ends with its process; Optuna's own would outlive a kill.
        lock = filelock.FileLock(f"{path}.lock")
        self._storage = JournalStorage(JournalFileBackend(str(path), cast(Any, lock)))
        self._optuna = optuna.create_study(
            storage=self._storage, study_name="tlcli", direction=self._direction,
            load_if_exists=True,
        )  # fmt: skip

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials so far, as Optuna keeps them."""
        return self._optuna.get_trials(deepcopy=False)

    @property
    def optuna_study(self) -> optuna.Study:
        """The study for Optuna's own analyses."""
        return self._optuna

    def count_finished(self) -> int:
        """How many trials have an outcome."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @contextmanager
    def claim_batch(self, total: int, *, start: bool = True) -> Iterator[TrialBatch | None]:
        """Claim the next batch of a study of `total` trials until the block ends.

        None where all trials are finished, or, unless `start`, where none is to be gone on with.
        Waits while the last ones are being trained by other processes.
        """
        with ExitStack() as stack:
            while True:
                with locks.lock_folder(self.folder, waiting="it is choosing its trials"):
                    claimed = self._claim(stack, total, start)
                if claimed is not None or not start or not self._others_train():
                    break
                signals.raise_if_interrupted()
                time.sleep(locks.POLL_SECONDS)
            yield claimed
            if claimed is not None:
                shutil.rmtree(self._claim_folder(self._batch_of(claimed)), ignore_errors=True)

    def finish(
        self, number: int, curve: Sequence[float], state: TrialState, value: float | None = None
    ) -> None:
        """Keep the outcome of a trial: its objective epoch by epoch, and where it came to."""
        trial = self.trials[number]
        if trial.state.is_finished():
            return
        for step, metric in enumerate(curve):
            if trial.intermediate_values.get(step) != metric:
                self._storage.set_trial_intermediate_value(trial._trial_id, step, metric)
        self._optuna.tell(number, value, state)

    def pruner(self, batch: TrialBatch) -> Callable[[Sequence[float]], bool]:
        """Whether a trial of a batch is to be given up, by its objective epoch by epoch.

        So it is where its best value is worse than the median of the trials before the batch at the
        same epoch.
        """
        known = optuna.create_study(direction=self._direction)
        known.add_trials(batch.past)
        median = optuna.pruners.MedianPruner(
            n_startup_trials=PRUNING_TRIALS, n_warmup_steps=PRUNING_EPOCHS
        )

        def prunes(curve: Sequence[float]) -> bool:
            values = dict(enumerate(curve))
            return median.prune(
                known, create_trial(state=TrialState.RUNNING, intermediate_values=values)
            )

        return prunes

    def settings_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """The settings of a trial as a recipe has them."""
        return {
            dimension.name: value_of(dimension.domain, trial.params[dimension.name])
            for dimension in self._space
        }

    def _claim(self, stack: ExitStack, total: int, start: bool) -> TrialBatch | None:
        batches: dict[int, list[FrozenTrial]] = {}
        trials = self.trials
        for trial in trials:
            batches.setdefault(trial.user_attrs[_BATCH], []).append(trial)
        for number, members in sorted(batches.items()):
            size = members[0].user_attrs[_SIZE]
            complete = len(members) == size and all(t.state.is_finished() for t in members)
            if not complete and self._lock(stack, number):
                batch = self._plan(number, size, members)
                if batch is not None:
                    return batch
        size = min(self._size, total - len(trials))
        if size <= 0 or not start:
            return None
        number = 1 + max(batches, default=-1)
        if not self._lock(stack, number):
            return None  # its process is removing the claim of a batch that it has finished
        return self._plan(number, size, [])

    def _plan(self, number: int, size: int, members: list[FrozenTrial]) -> TrialBatch | None:
        """The batch with this number; trials of it that are missing are added to the study."""
        past = [trial for trial in self.trials if trial.user_attrs[_BATCH] < number]
        proposals = _Proposals(self._direction, self._distributions, self._seed, past)
        for trial in members:
            proposals.take_in(trial.params)
        while len(members) < size:
            params = proposals.draw(len(self.trials))
            if params is None:
                break  # every combination of the space has been tried
            attributes = {_BATCH: number, _SIZE: size}
            added = create_trial(
                state=TrialState.RUNNING, params=params, distributions=self._distributions,
                user_attrs=attributes,
            )  # fmt: skip
            self._optuna.add_trial(added)
            members.append(self.trials[-1])
        if all(trial.state.is_finished() for trial in members):
            return None
        planned = tuple(
            PlannedTrial(trial.number, self.settings_of(trial), trial.state.is_finished())
            for trial in members
        )
        return TrialBatch(planned, tuple(trial for trial in past if trial.state.is_finished()))

    def _batch_of(self, batch: TrialBatch) -> int:
        return int(self.trials[batch.trials[0].number].user_attrs[_BATCH])

    def _others_train(self) -> bool:
        """Whether trials are left that another process is training."""
        return any(not trial.state.is_finished() for trial in self.trials)

    def _claim_folder(self, number: int) -> Path:
        return self.folder / directory.STUDY_CLAIMS / f"{number:04d}"

    def _lock(self, stack: ExitStack, number: int) -> bool:
        """Claim a batch; whether no other process has it."""
        folder = self._claim_folder(number)
        files.make_folder(folder)
        try:
            stack.enter_context(locks.lock_folder(folder))
        except locks.LockHeldError:
            return False
        return True


class _Proposals:
    """The settings of the next trials, from the outcomes of those before."""

    def __init__(
        self, direction: StudyDirection, distributions: dict[str, BaseDistribution], seed: int,
        past: Sequence[FrozenTrial],
    ) -> None:  # fmt: skip
        self._study = optuna.create_study(direction=direction)
        self._study.add_trials(past)
        self._distributions, self._seed = distributions, seed
        self._tried = {_identity(trial.params) for trial in past}

    def take_in(self, params: dict[str, Any]) -> None:
        """Know of a trial that is being trained, so that others try something else."""
        self._study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions)
        )
        self._tried.add(_identity(params))

    def draw(self, number: int) -> dict[str, Any] | None:
        """The settings of the trial with this number; None where all have been tried."""
        for attempt in range(MOST_DRAWS):
            seed = make_generator("tune", self._seed, number, attempt).integers(2**32)
            self._study.sampler = _make_sampler(int(seed))
            trial = self._study.ask(self._distributions)
            if _identity(trial.params) not in self._tried:
                self._tried.add(_identity(trial.params))
                return dict(trial.params)
            self._study.tell(trial, state=TrialState.FAIL)
        return None


def _make_sampler(seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # Optuna 4.0 says that `constant_liar` is new.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True
        )


def _identity(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def _cut_torn_line(path: Path) -> None:
    """Remove what a crash of the machine has left of a last line; Optuna would refuse the file."""
    if not path.exists():
        return
    with filelock.FileLock(f"{path}.lock"), path.open("r+b") as file:
        text = file.read()
        if text and not text.endswith(b"\n"):
            file.truncate(text.rfind(b"\n") + 1)
