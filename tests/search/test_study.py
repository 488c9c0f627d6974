"""Studies: a sequence of trials that a kill does not change, and processes that share one."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from builders.studies import open_study, run_process, search, search_and_die, search_in
from optuna.trial import TrialState

from tlcli.recipe.search import Choices, Dimension
from tlcli.runs import directory
from tlcli.search.study import Study


def table(study: Study) -> list[tuple[Any, ...]]:
    return [(t.number, json.dumps(t.params), t.state.name, t.value) for t in study.trials]


def test_a_killed_study_goes_on_with_the_same_trials(tmp_path):
    undisturbed = open_study(tmp_path / "a")
    search(undisturbed, 22)
    for die_at in (0, 6, 13):
        process = run_process(search_and_die, tmp_path / "b", die_at)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed = open_study(tmp_path / "b")
    search(resumed, 22)
    assert table(resumed) == table(undisturbed)
    assert len(undisturbed.trials) == 22
    assert {t.state for t in undisturbed.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert not [*(tmp_path / "b" / directory.STUDY_CLAIMS).iterdir()]


def test_a_batch_that_was_planned_in_part_is_completed(tmp_path):
    whole, part = open_study(tmp_path / "a"), open_study(tmp_path / "b")
    search(whole, 8)
    search(part, 4)
    with part.claim_batch(8) as batch:
        assert [trial.number for trial in batch.trials] == [4, 5, 6, 7]
    lines = (tmp_path / "b" / directory.STUDY_JOURNAL).read_bytes().splitlines(keepends=True)
    # Without the last two of its trials, and with a torn line: killed while it was planned.
    (tmp_path / "b" / directory.STUDY_JOURNAL).write_bytes(b"".join(lines[:-2]) + b'{"op_co')
    again = open_study(tmp_path / "b")
    assert len(again.trials) == 6
    search(again, 8)
    assert table(again) == table(whole)


def test_two_processes_finish_a_study_once(tmp_path):
    (tmp_path / "c").mkdir()
    open_study(tmp_path / "c")
    processes = [run_process(search_in, tmp_path / "c") for _ in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    study = open_study(tmp_path / "c")
    assert [trial.number for trial in study.trials] == list(range(22))
    assert all(trial.state.is_finished() for trial in study.trials)
    assert len({json.dumps(trial.params) for trial in study.trials}) == 22


def test_a_longer_study_begins_with_the_same_trials(tmp_path):
    study = open_study(tmp_path / "a")
    search(study, 8)
    first = table(study)
    search(study, 16)
    assert table(study)[:8] == first
    assert len(study.trials) == 16


def test_a_small_space_is_tried_once(tmp_path):
    space = (Dimension("head.pooling", Choices(("avg", "max", "flatten"))),)
    study = open_study(tmp_path / "a", space=space)
    while True:
        with study.claim_batch(10) as batch:
            if batch is None:
                break
            for trial in batch.trials:
                study.finish(trial.number, [1.0], TrialState.COMPLETE, 1.0)
    assert sorted(trial.params["head.pooling"] for trial in study.trials) == [
        "avg", "flatten", "max",
    ]  # fmt: skip


def test_the_median_decides_what_is_pruned(tmp_path):
    study = open_study(tmp_path / "a", size=9)
    with study.claim_batch(10) as first:
        assert not study.pruner(first)([99.0] * 9)  # nothing to compare with
        for value, trial in enumerate(first.trials):
            curve = [float(value)] * 9
            study.finish(trial.number, curve, TrialState.COMPLETE, float(value))
    with study.claim_batch(10) as second:
        prunes = study.pruner(second)
        assert not prunes([99.0] * 5)  # too early
        assert prunes([99.0] * 5 + [4.1])
        assert not prunes([99.0] * 5 + [4.0])
        assert not prunes([3.0, *[99.0] * 5])  # its best counts


def test_without_a_start_only_unfinished_trials_are_claimed(tmp_path):
    study = open_study(tmp_path / "a")
    with study.claim_batch(8) as batch:
        assert len(batch.trials) == 4
    with study.claim_batch(8, start=False) as again:
        assert [trial.number for trial in again.trials] == [0, 1, 2, 3]
        for trial in again.trials:
            study.finish(trial.number, [1.0], TrialState.COMPLETE, 1.0)
    with study.claim_batch(8, start=False) as none:
        assert none is None


@pytest.mark.parametrize("value", [[], [16, 8]])
def test_choices_come_back_as_the_recipe_has_them(tmp_path, value):
    study = open_study(tmp_path / "a")
    search(study, 12)
    assert value in [study.settings_of(trial)["head.hidden"] for trial in study.trials]
