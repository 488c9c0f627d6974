"""The outcome of a search as people read it and as JSON, and what it leaves on the disk."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from tlcli.runs import directory
from tlcli.runs.probe_record import fingerprint_photos
from tlcli.search.tune import SearchOutcome, describe_settings
from tlcli.search.tune_charts import draw_charts, rank_settings
from tlcli.search.winner import FinalComparison
from tlcli.search.winner_recipe import write_winner_text
from tlcli.system import console, files

#: Trials that the table lists.
LISTED = 5


def keep_search(outcome: SearchOutcome, out: Path | None) -> dict[str, Any]:
    """Write record, charts and the winner's recipe, also to `out`; returns the record."""
    folder = outcome.study.folder
    importance = rank_settings(outcome.study.optuna_study)
    for path in {folder / directory.WINNER_RECIPE, *([out] if out else [])}:
        files.write_text(path, write_winner_text(outcome, path))
    draw_charts(outcome, importance)
    record = search_json(outcome, importance, out)
    files.write_json(folder / directory.TUNING, record)
    return record


def search_json(
    outcome: SearchOutcome, importance: dict[str, float] | None, out: Path | None
) -> dict[str, Any]:
    """What `tlcli tune --json` prints."""
    folder, compared = outcome.study.folder, outcome.comparison
    tested = compared.tested
    best, default = (
        {
            "run": str(folder / name),
            "seeds": scores.as_json(),
            compared.split: {
                "accuracy": scored.accuracy,
                "accuracy_interval": list(scored.accuracy_interval),
                "log_loss": scored.log_loss,
            },
        }
        for name, scores, scored in (
            (directory.WINNER_RUN, compared.winner, tested.runs[1]),
            (directory.DEFAULT_RUN, compared.default, tested.runs[0]),
        )
    )
    plan = outcome.plan.plan
    photos = ((item.digest, plan.index.classes[item.label]) for item in plan.index.of("train"))
    return {
        "study": str(folder),
        "objective": outcome.plan.objective,
        "base": plan.row.name,
        "image_size": list(plan.recipe.base.image_size),
        "data": fingerprint_photos(photos),
        "trials": [trial.model_dump() for trial in outcome.trials],
        "best": {
            **outcome.best.model_dump(),
            "recipe": str(out or folder / directory.WINNER_RECIPE),
            **best,
        },
        "default": default,
        "comparison": {"seeds": list(compared.seeds), "photos": tested.as_dict()},
        "importance": importance,
        "trunk_passes": outcome.passes,
        "seconds": outcome.seconds,
    }


def describe_search(outcome: SearchOutcome, record: dict[str, Any], out: Path | None) -> str:
    """The best trials, the winner beside the default, and what to make of it."""
    trials, plan = outcome.trials, outcome.plan
    states = {s: sum(t.state == s for t in trials) for s in ("complete", "pruned", "failed")}
    listed = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    complete = [trial for trial in trials if trial.state == "complete"]
    by_loss = plan.objective == "val_loss"
    complete.sort(key=lambda t: float((t.val_loss if by_loss else -(t.val_accuracy or 0)) or 0))
    table = console.table(
        ["trial", "val_loss", "val_accuracy", "settings"],
        [
            [t.number, f"{t.val_loss:.4f}", f"{t.val_accuracy:.4f}", describe_settings(t.settings)]
            for t in complete[:LISTED]
        ],
    )
    seconds = outcome.seconds
    lines = [
        f"{console.counted(len(trials), 'trial')}: {listed}",
        f"time: trials {console.duration(seconds['trials'])}, comparison "
        f"{console.duration(seconds['comparison'])}; "
        f"{console.counted(outcome.passes, 'image')} through the trunk",
        "",
        table,
        "",
        *_comparison(outcome.comparison),
        *_importance(record["importance"]),
        f"recipe of the winner: {out or outcome.study.folder / directory.WINNER_RECIPE}",
        f"trials: tlcli runs {outcome.study.folder}; charts and record are in that folder",
    ]
    return "\n".join(lines)


def _comparison(compared: FinalComparison) -> list[str]:
    runs, seeds = compared.tested.runs, len(compared.seeds)
    photos = console.counted(compared.tested.n, f"{compared.split} photo")
    headers = ["", "val_loss", "val_accuracy", f"{compared.split} accuracy", "interval"]
    rows = []
    for name, scores, run in (
        ("default", compared.default, runs[0]),
        ("winner", compared.winner, runs[1]),
    ):
        low, high = run.accuracy_interval
        rows.append([name, _mean(scores.val_loss), _mean(scores.val_accuracy),
                     f"{run.accuracy:.4f}", f"{low:.3f} to {high:.3f}"])  # fmt: skip
    means = f"; val_loss and val_accuracy: means of {seeds} other seeds" if seeds else ""
    lines = [f"one complete run of each{means}", "", console.table(headers, rows), ""]
    if seeds:
        lines.append(_seed_line(compared))
    lines.append(
        f"on {photos}: {compared.tested.verdict} (McNemar's test, p = {compared.tested.test.p:.2f})"
    )
    if compared.split == "val":
        lines.append("there are no test photos: these chose the winner, so its score is optimistic")
    else:
        lines.append(
            "the validation photos chose the winner, which makes its scores on them optimistic; "
            "the test photos were scored here for the first time"
        )
    return lines


def _seed_line(compared: FinalComparison) -> str:
    pairs = list(zip(compared.default.val_loss, compared.winner.val_loss, strict=False))
    better = sum(winner < default for default, winner in pairs)
    gains = [
        100 * (winner - default)
        for default, winner in zip(
            compared.default.val_accuracy, compared.winner.val_accuracy, strict=False
        )
    ]
    if not gains:
        return "under other seeds: no repetition came to an end"
    return (
        f"under {console.counted(len(pairs), 'other seed')} the winner has the lower val_loss in "
        f"{better}; its val_accuracy is {statistics.fmean(gains):+.2f} points on average "
        f"({min(gains):+.2f} to {max(gains):+.2f})"
    )


def _mean(values: tuple[float, ...]) -> str:
    return f"{statistics.fmean(values):.4f}" if values else "-"


def _importance(importance: dict[str, float] | None) -> list[str]:
    if importance is None:
        return ["too few trials came to an end to say which settings mattered"]
    ranked = ", ".join(f"{name} {share:.2f}" for name, share in importance.items())
    return [f"which settings mattered (fANOVA): {ranked}"]
