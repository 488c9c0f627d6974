"""`tlcli predict`: what it says without a run."""

from __future__ import annotations

from tlcli.runs import directory


def test_predicting_without_a_run(cli):
    done = cli("predict", "image.jpg")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {directory.runs_root()}: no run here yet; "
        "train one with `tlcli finetune`, or name one with --run\n"
    )
    assert cli("predict", "--run", "cats", "image.jpg").stderr == (
        "error: --run cats: no such run; train one with `tlcli finetune`\n"
    )


def test_json_is_one_of_the_formats(cli):
    done = cli("predict", "a.jpg", "--json", "--format", "csv")
    assert done.exit_code == 2
    assert "--json and --format csv: give only one of them" in done.stderr
