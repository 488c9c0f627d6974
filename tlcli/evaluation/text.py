"""An evaluation and a comparison as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlcli.evaluation.class_changes import ClassChanges
from tlcli.evaluation.compare import RunComparison, RunScores
from tlcli.evaluation.figures import shortened
from tlcli.evaluation.intervals import CONFIDENCE_LEVEL
from tlcli.evaluation.requirements import RequirementResult
from tlcli.runs.evaluation_records import Abstention, Evaluation
from tlcli.runs.run_settings import differences_table
from tlcli.system import console
from tlcli.system.console import counted, table

#: Mistakes that are shown; the file has more.
MOST_MISTAKES = 10

#: A confusion matrix of more classes is wider than a terminal.
MOST_CLASSES = 12


def format_evaluation(evaluation: Evaluation) -> str:
    """The numbers of `evaluation-SPLIT.json` as tables and lines."""
    parts = [_overall(evaluation), _classes(evaluation)]
    if len(evaluation.classes) <= MOST_CLASSES:
        parts.append(_confusion(evaluation))
    parts.append(_calibration(evaluation))
    if evaluation.mistakes:
        parts.append(_mistakes(evaluation))
    return "\n\n".join(parts)


def _overall(evaluation: Evaluation) -> str:
    low, high = evaluation.accuracy_interval
    majority, macro = evaluation.majority, evaluation.macro
    rows = [
        ("accuracy", _number(evaluation.accuracy), f"{evaluation.right:,} right; "
         f"{evaluation.level:.0%} interval {low:.4f} to {high:.4f} (Wilson)"),
        *_without_views(evaluation),
        ("majority baseline", _number(majority.accuracy), f"always '{shortened(majority.name)}'"),
    ]  # fmt: skip
    if top := evaluation.top_k:
        rows.append((f"top-{top.k} accuracy", _number(top.accuracy), ""))
    rows += [
        ("balanced accuracy", _number(evaluation.balanced_accuracy), "mean recall of the classes"),
        ("precision", _number(macro.precision), "mean of the classes"),
        ("F1", _number(macro.f1), "mean of the classes"),
        ("ROC AUC", _number(evaluation.roc_auc), "each class against the others, mean"),
        ("average precision", _number(evaluation.average_precision), "the same"),
    ]
    return f"{_title(evaluation)}\n\n{table(('', 'value', ''), rows)}"


def _title(evaluation: Evaluation) -> str:
    classes = counted(len(evaluation.classes), "class")
    title = f"{evaluation.split}: {counted(evaluation.n, 'photo')} of {classes}"
    title += _copies(evaluation.copies)
    if evaluation.tta:
        title += f", mean over each photo and {counted(evaluation.tta, 'view')} of it"
    if evaluation.precision is not None:
        title += f", computed in {evaluation.precision}"
    return title


def _without_views(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    scores = evaluation.without_tta
    if scores is None:
        return []
    losses = f"log loss {scores.log_loss:.4f}, with views {evaluation.log_loss:.4f}"
    return [("accuracy without views", _number(scores.accuracy), losses)]


def _classes(evaluation: Evaluation) -> str:
    rows = [
        (
            shortened(scores.name),
            scores.support,
            _number(scores.precision),
            _number(scores.recall),
            _number(scores.f1),
            _number(scores.roc_auc),
            _number(scores.average_precision),
        )
        for scores in evaluation.per_class
    ]
    heads = ("class", "photos", "precision", "recall", "F1", "ROC AUC", "average precision")
    return table(heads, rows)


def _confusion(evaluation: Evaluation) -> str:
    names = list(map(shortened, evaluation.classes))
    rows = [[name, *row] for name, row in zip(names, evaluation.confusion, strict=True)]
    return table(("true class \\ predicted", *names), rows)


def _calibration(evaluation: Evaluation) -> str:
    names = ("log loss", "Brier score", "expected calibration error")
    scores = (evaluation.log_loss, evaluation.brier, evaluation.ece)
    heads, columns = ["probabilities"], [names, tuple(map(_number, scores))]
    if evaluation.temperature is None:
        heads.append("uncalibrated")
    else:
        heads.append(f"calibrated, temperature {evaluation.temperature:.3f}")
    if own := evaluation.uncalibrated:
        heads.append("uncalibrated")
        columns.append(tuple(map(_number, (own.log_loss, own.brier, own.ece))))
    text = table(heads, list(zip(*columns, strict=True)))
    if evaluation.temperature is not None and evaluation.split == "val":
        text += "\n\nThe temperature was fitted on these photos."
    if evaluation.abstaining:
        text += f"\n\n{_abstention(evaluation.abstaining)}"
    return text


def _abstention(abstention: Abstention) -> str:
    text = f"unsure below {abstention.probability:.4f}"
    if abstention.target_precision is not None:
        target = abstention.target_precision
        text += f" (chosen on the val photos for a precision of {target:g})"
    text += f": answers {abstention.coverage:.1%} of the photos"
    if abstention.precision is not None:
        low, high = abstention.precision_interval
        share = abstention.precision
        text += f"; {share:.4f} of the answers are right ({low:.4f} to {high:.4f})"
    return text


def _mistakes(evaluation: Evaluation) -> str:
    rows = [
        (
            _number(guess.probability),
            shortened(guess.predicted),
            shortened(guess.label),
            guess.path,
        )
        for guess in evaluation.mistakes[:MOST_MISTAKES]
    ]
    return table(("confidence", "predicted", "true class", "most confident mistakes"), rows)


def format_requirements(results: Sequence[RequirementResult]) -> list[str]:
    """A table of what was required, what it is, and whether that is enough; none for nothing."""
    if not results:
        return []
    rows = []
    for result in results:
        low, high = result.interval or (None, None)
        interval = "-" if low is None else f"{_number(low)} to {_number(high)}"
        verdict = "met" if result.met else "missed"
        rows.append((result.requirement.text, _number(result.value), interval, verdict))
    return [table(("required", "value", f"{results[0].level:.0%} interval", ""), rows)]


def warn_of_choice(split: str) -> None:
    """Say on stderr that a score of val is no promise."""
    if split == "val":
        console.warn(
            "the best epochs were chosen on these photos: the numbers are optimistic; "
            "only photos that training never used show what to expect of new ones"
        )


def warn_of_limits(evaluation: Evaluation) -> None:
    """Say on stderr what makes the numbers worth less."""
    warn_of_choice(evaluation.split)
    if evaluation.tta:
        console.note("--tta: the threshold is left aside, and nothing is kept in the run")
    in_training = evaluation.seen_in_training
    if evaluation.split == "train":
        console.warn(
            "the model was trained on these photos: the numbers say nothing about new ones"
        )
    elif in_training:
        photos = f"{in_training:,} of {counted(evaluation.n, 'photo')}"
        console.warn(f"the model was trained on {photos}: the numbers are better than for new ones")


def format_comparison(comparison: RunComparison) -> str:
    """The numbers of `tlcli compare` as a table and a verdict."""
    return "\n".join(_comparison_lines(comparison))


def _comparison_lines(comparison: RunComparison) -> Iterator[str]:
    level = f"{comparison.level:.0%}"
    yield _shared_photos(comparison)
    yield ""
    heads = ("run", "accuracy", f"{level} interval", "log loss", "balanced accuracy")
    yield table(heads, list(map(_run_row, comparison.runs)))
    yield ""
    pairs, (first, second) = comparison.pairs, (console.one_line(r.run) for r in comparison.runs)
    yield (
        f"both right {pairs.both:,}, only {first} {pairs.first_only:,}, "
        f"only {second} {pairs.second_only:,}, neither {pairs.neither:,}"
    )
    low, high = comparison.difference_interval
    yield f"difference {comparison.difference:+.4f}, {level} interval {low:+.4f} to {high:+.4f}"
    verdict, test = console.one_line(comparison.verdict), comparison.test
    yield f"{verdict} (McNemar, {test.method}, p = {test.p:.4g})"
    if comparison.classes is not None:
        yield from _class_lines(comparison.classes, comparison.runs)
    if comparison.settings:
        yield ""
        names = [run.run for run in comparison.runs]
        yield differences_table("setting", comparison.settings, names)


def _class_lines(changes: ClassChanges, runs: tuple[RunScores, RunScores]) -> Iterator[str]:
    """Old classes and new, in tables of their own."""
    first, second = (run.run for run in runs)
    if changes.old:
        level = f"{100 * changes.level:.4g}% interval"
        rows = [
            (
                shortened(old.name),
                f"{old.n:,}",
                *map(_number, old.recalls),
                f"{old.difference:+.4f}",
                f"{old.interval[0]:+.4f} to {old.interval[1]:+.4f}",
                f"{old.called_new:,}",
            )
            for old in changes.old
        ]
        yield ""
        heads = ("old class", "photos", first, second, "difference", level, "called new")
        yield table(heads, rows)
    if changes.new:
        rows = [
            (
                shortened(new.name),
                f"{new.n:,}",
                _number(new.recall),
                f"{new.interval[0]:.4f} to {new.interval[1]:.4f}",
            )
            for new in changes.new
        ]
        yield ""
        yield table(("new class", "photos", second, f"{CONFIDENCE_LEVEL:.0%} interval"), rows)


def _shared_photos(comparison: RunComparison) -> str:
    """Which photos the runs are compared on, and how many of each are not among them."""
    line = f"{comparison.split}: {counted(comparison.n, 'photo')} that both runs have"
    line += _copies(comparison.copies)
    runs = zip(comparison.left_out, comparison.runs, strict=True)
    left = [f"{n:,} that only {console.one_line(run.run)} has" for n, run in runs if n]
    return line + (f"; left out: {', '.join(left)}" if left else "")


def _copies(count: int) -> str:
    return f", {count:,} of them copies of others" if count else ""


def _run_row(scores: RunScores) -> tuple[str, ...]:
    low, high = scores.accuracy_interval
    return (
        scores.run,
        _number(scores.accuracy),
        f"{low:.4f} to {high:.4f}",
        _number(scores.log_loss),
        _number(scores.balanced_accuracy),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
