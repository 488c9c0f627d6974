"""The record of what a run's numbers hang on."""

from __future__ import annotations

from typing import Any

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files
from tlcli.training import saving


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """One that has a record, on a machine that needs no looking at."""
    monkeypatch.setattr(saving, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(saving, "versions", lambda: {"tlcli": "1"})
    made = Run(directory.runs_root() / "a-1")
    made.path.mkdir(parents=True)
    files.write_json(made.file(directory.RECORD), {"created": "now"})
    return made


def test_what_it_began_with_is_kept_and_later_changes_are_added(run: Run, monkeypatch, capsys):
    saving.record_circumstances(run, {"checksum": "c"}, deterministic=True)
    first = run.record()
    assert (first["weights"], first["machine"]) == ({"checksum": "c"}, {"cores": 2})
    monkeypatch.setattr(saving, "machine", lambda: {"cores": 4})
    saving.record_circumstances(run, {"checksum": "c"}, deterministic=True)
    assert "was started with other machine; the last bits may differ" in capsys.readouterr().err
    record = run.record()
    (resumed,) = record.pop("resumed")
    assert (record, resumed["machine"]) == (first, {"cores": 4})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"weights": None}, "is not the record of a run; start a new run with --fresh"),
        ({"weights": ["c"]}, "is not the record of a run; start a new run with --fresh"),
        (
            {"weights": {"checksum": "c"}, "resumed": 3},
            "is not the record of a run; start a new run",
        ),
        ({"weights": {}}, "was started with different pretrained weights"),
    ],
)
def test_a_damaged_record_is_not_gone_on_with(run: Run, more: dict[str, Any], message: str):
    files.write_json(run.file(directory.RECORD), {"created": "now", **more})
    with pytest.raises(RunError) as caught:
        saving.record_circumstances(run, {"checksum": "c"}, deterministic=True)
    assert message in str(caught.value)
