"""A range test of learning rates as people read it, its picture, and where both are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RecipeError
from tlcli.evaluation.colours import BLUE, ORANGE
from tlcli.recipe.recipe import Recipe, plain_name
from tlcli.runs.create import result_folder
from tlcli.runs.probe_record import fingerprint_photos
from tlcli.runs.rate_record import RATE_TEST, RATES, RateTestRecord, write_rate_test
from tlcli.search.find_rate import RateSearch
from tlcli.search.rate_curve import BELOW_RISE, STEPS
from tlcli.search.write_rate import WrittenRate, rounded_rate, write_rate
from tlcli.system import console, files
from tlcli.training.plan import Plan

#: The pictures in the folder of a range test.
RATE_CHARTS = ("learning-rate.png", "learning-rate.svg")

#: A picture shows losses up to so many times the first one; beyond it a test has diverged.
SHOWN = 1.5


def rate_folder(out: Path | None, plan: Plan, number: int, *, force: bool) -> Path:
    """The folder of record and pictures of a stage: `out`, or one of its own beside the runs.

    Raises `RunError` where it cannot be written, or holds other files of these names.
    """
    stage = plain_name(plan.stages[number].stage.name)
    name = f"{plan.recipe.name}-{stage}"
    return result_folder(out, RATES, name, RATE_CHARTS, [RATE_TEST], force=force)


def write_suggestion(search: RateSearch, recipe: Recipe, number: int) -> WrittenRate | None:
    """Write the suggested rate into the recipe; None where none is suggested."""
    rate = search.suggested
    return None if rate is None else write_rate(recipe, number, rate)


def rate_result(
    search: RateSearch, folder: Path, written: WrittenRate | None
) -> tuple[str, dict[str, Any]]:
    """What `find-lr` prints, as text and for `--json`; `written` is what --write has done."""
    text, value = describe_rates(search, folder), {**search.as_json(), "folder": str(folder)}
    if written is not None:
        value["written"] = None if written.lines else {"recipe": str(written.path)}
        value["lines"] = written.lines or None
        text += (
            f"\nlines for {written.path}:\n\n{written.lines}"
            if written.lines
            else (f"\nwritten into {written.path}: learning_rate {written.rate:g}")
        )
    return text, value


def raise_if_unwritten(written: WrittenRate | None) -> None:
    """Raise `RecipeError` where --write had nothing to write, or nowhere to write it."""
    if written is None:
        raise RecipeError(Problem("--write", "no rate is suggested, so nothing was written"))
    if written.problem:
        raise RecipeError(written.problem)


def describe_rates(search: RateSearch, folder: Path) -> str:
    """The rates that are suggested, beside that of the recipe."""
    tests = console.counted(len(search.ends), "test")
    ended = f"{search.diverged} diverged" if search.diverged else "none diverged"
    reached = f"{min(search.ends):.2g}"
    lines = [
        f"stage '{search.stage}': {tests} of up to {STEPS} steps; {ended}, all reached {reached}",
        f"time: tests {console.duration(search.seconds['tests'])}"
        + _time_before(search.seconds["stages before"]),
        "",
    ]
    if (suggested := search.suggested) is not None:
        lines.append(_table(search, suggested))
    else:
        verb = "rise" if search.tunes else "fall"
        lines.append(f"the loss does not {verb}, so that no rate is suggested")
    lines += ["", f"kept in {folder}: {', '.join((RATE_TEST, *RATE_CHARTS))}"]
    return "\n".join(map(console.printable, lines))


def _table(search: RateSearch, suggested: float) -> str:
    curve, why = search.curve, "a tenth of the rate with the lowest loss"
    if search.tunes:
        why = f"{BELOW_RISE:.0%} of the rate at which the loss rises"
    rates = (
        ("suggested", suggested, why),
        ("rise", curve.rise if search.tunes else None, "where the loss rises for certain"),
        ("steepest", curve.steepest(), "where the loss falls fastest"),
        ("valley", curve.valley(), "the middle of the longest fall of the loss"),
        ("in the recipe", search.rate, _distance(search.rate, suggested)),
    )  # fmt: skip
    rows = [(name, _shown(rate), what) for name, rate, what in rates if rate is not None]
    return console.table(("", "rate", ""), rows)


def name_next_command(search: RateSearch, recipe: Recipe, number: int, *, written: bool) -> None:
    """Name the command that trains with the suggested rate, if there is one."""
    if search.suggested is not None:
        rate = rounded_rate(search.suggested)
        words = () if written else ("--set", f"stages.{number}.learning_rate={rate:g}")
        console.next_step("tlcli", "finetune", "--config", recipe.path, *words)


def warn_of_rate(search: RateSearch) -> None:
    """Say on stderr where a rate of tuning is as high as that of the stage before it."""
    rate = search.suggested
    if rate is not None and search.before is not None and rate >= search.before:
        console.warn(
            f"{_shown(rate)} is not below {search.before:g}, the rate of the stage before: such "
            "steps can destroy what the base has learned before they pay; compare both in runs"
        )


def _time_before(seconds: float) -> str:
    return f", the stages before {console.duration(seconds)}" if seconds >= 0.05 else ""


def _shown(rate: float) -> str:
    return f"{rounded_rate(rate):g}"


def _distance(rate: float, suggested: float) -> str:
    factor = max(rate / suggested, suggested / rate)
    if factor < 1.5:
        return "about the same"
    return f"a factor of {factor:.1f} {'above' if rate > suggested else 'below'} the suggestion"


def draw_rates(search: RateSearch, paths: Sequence[Path]) -> None:
    """The loss over the rate: the mean of the tests, their range, and the suggested rates."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from tlcli.evaluation.figures import FAINT, picture_style, save_figure, shortened

    curve = search.curve
    with picture_style([search.stage]):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(
            curve.rates, curve.low, curve.high, color=BLUE.light, alpha=0.2, linewidth=0,
            label=f"range of {console.counted(len(search.ends), 'test')}",
        )  # fmt: skip
        axes.plot(curve.rates, curve.loss, color=BLUE.light, label="loss, smoothed")
        _mark(axes, search)
        axes.axvline(search.rate, color=FAINT, linewidth=1, linestyle=":", label="in the recipe")
        top = SHOWN * float(curve.loss[0])
        low, high = float(curve.low.min()), min(top, float(curve.high.max()))
        room = 0.06 * (high - low) or 0.01
        axes.set(
            xscale="log", xlabel="learning rate", ylabel="training loss",
            ylim=(low - room, high + room), title=f"stage {shortened(search.stage)}",
        )  # fmt: skip
        # matplotlib's own labels of powers are mathematics, which no text here may be.
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower left", ncols=3)
        for path in paths:
            save_figure(figure, path)


def _mark(axes: Any, search: RateSearch) -> None:
    """The suggested rates, as lines."""
    others = (
        (("rise", search.curve.rise, "--"),)
        if search.tunes
        else (("steepest", search.curve.steepest(), "--"), ("valley", search.curve.valley(), ":"))
    )
    for name, rate, style in (("suggested", search.suggested, "-"), *others):
        if rate is not None:
            label = f"{name}, {_shown(rate)}"
            axes.axvline(rate, color=ORANGE.light, linewidth=1.2, linestyle=style, label=label)


def keep_rates(search: RateSearch, folder: Path, plan: Plan, number: int) -> None:
    """Write record and pictures into a folder, which is made if it is missing."""
    files.make_folder(folder)
    base, stage = plan.recipe.base, plan.stages[number].stage
    photos = ((item.digest, plan.index.classes[item.label]) for item in plan.index.of("train"))
    write_rate_test(
        folder,
        RateTestRecord(
            stage=stage.name,
            freeze_until=stage.freeze_until,
            base=plan.row.name,
            image_size=base.image_size,
            data=fingerprint_photos(photos),
            suggested=search.suggested,
            in_recipe=search.rate,
            tests=len(search.ends),
        ),
    )
    draw_rates(search, [folder / name for name in RATE_CHARTS])
