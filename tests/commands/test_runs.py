"""`tlcli runs`: no run, and one that has not finished."""

from __future__ import annotations

import json

from tlcli.runs import directory
from tlcli.runs.create import create_run
from tlcli.system import files


def test_runs(cli):
    done = cli("runs")
    assert done.stdout == f"no runs in {directory.runs_root()}; train one with `tlcli finetune`\n"
    assert json.loads(cli("runs", "--json").stdout) == []
    run = create_run("cats", None)
    files.write_json(run.file(directory.RECORD), {"created": "now", "base": "VGG16"})
    (entry,) = json.loads(cli("runs", "--json").stdout)
    assert (entry["name"], entry["finished"]) == ("cats-1", False)
    assert "unfinished" in cli("runs").stdout
