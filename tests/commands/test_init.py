"""`tlcli init`: a starter recipe that passes the check."""

from __future__ import annotations

from pathlib import Path


def test_init_then_check(cli, photos: Path):
    done = cli("init", photos, "--base", "mobilenetv2")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "photos.yaml\n", "")
    assert cli("check", "--set", "base.weights=random").exit_code == 0
    again = cli("init", photos)
    assert (again.exit_code, again.stderr) == (
        1, "error: photos.yaml: exists; name another with --out, or use --force\n"
    )  # fmt: skip
