"""`tlcli finetune`: a dry run leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from tlcli.runs import directory
from tlcli.system import files


def test_dry_run(cli, config: Path):
    done = cli("finetune", "--config", config, "--dry-run", "--set", "stages.1.epochs=7")
    assert (done.exit_code, done.stderr) == (0, "")
    assert not directory.runs_root().exists()
    assert not files.cache_folder().exists()
    plan = cli("check", "-c", config, "--set", "stages.1.epochs=7").stdout
    assert done.stdout.startswith(plan.removesuffix("ready\n"))  # and an estimate
