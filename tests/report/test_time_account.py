"""The account of a run's time, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.runs import write_finished_run

from tlcli.report.run_data import read_run_data
from tlcli.report.time_account import time_account
from tlcli.runs import directory


def test_passes_and_time(tmp_path: Path):
    run = write_finished_run(tmp_path / "run", tmp_path / "photos", each=2, evaluated=False)
    account = time_account(read_run_data(run))
    # 10 epochs of 6 photos to train on and 6 to validate on; 6 test photos after each of 2 stages.
    assert account.usual == 10 * (6 + 6) + 2 * 6
    assert (account.passes, account.computed, account.stored) == (120, 120, 0)
    assert account.spared == pytest.approx((132 - 120) * 12.0 / 120)
    assert account.total == 16.0
    assert [(act.name, act.share) for act in account.phases] == [
        ("load", 1 / 12), ("extract", 1.0), ("stage head", 2.5 / 12), ("save", 0.5 / 12),
    ]  # fmt: skip


def test_live_views_pass_through_in_every_epoch(tmp_path: Path):
    run = write_finished_run(tmp_path / "run", tmp_path / "photos", each=2, evaluated=False)
    path = run.file(directory.RECIPE)
    path.write_text(path.read_text()[:-1] + ', "augment": {"views": "live", "zoom_range": 0.1}}')
    account = time_account(read_run_data(run))
    assert account.passes == 120 + 10 * 6
    assert account.spared is None, "more than the usual ones"
