"""An evaluation and a comparison as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlcli.evaluation.figures import shortened
from tlcli.system import console
from tlcli.system.console import counted, table

#: Mistakes that are shown; the file has more.
SHOWN = 10

#: A confusion matrix of more classes is wider than a terminal.
WIDEST = 12


def text(value: dict[str, Any]) -> str:
    """The numbers of `evaluation-SPLIT.json` as tables and lines."""
    parts = [_overall(value), _classes(value)]
    if len(value["classes"]) <= WIDEST:
        parts.append(_confusion(value))
    parts.append(_calibration(value))
    if value["mistakes"]:
        parts.append(_mistakes(value))
    return "\n\n".join(parts)


def _overall(value: dict[str, Any]) -> str:
    low, high = value["accuracy_interval"]
    majority, classes = value["majority"], counted(len(value["classes"]), "class")
    right = sum(row[number] for number, row in enumerate(value["confusion"]))
    rows = [
        ("accuracy", _number(value["accuracy"]), f"{right:,} right; {value['level']:.0%} interval "
         f"{low:.4f} to {high:.4f} (Wilson)"),
        ("majority baseline", _number(majority["accuracy"]),
         f"always '{shortened(majority['class'])}'"),
    ]  # fmt: skip
    if plain := value.get("without_tta"):
        losses = f"log loss {plain['log_loss']:.4f}, with views {value['log_loss']:.4f}"
        rows.insert(1, ("accuracy without views", _number(plain["accuracy"]), losses))
    if value["top_k"]:
        rows.append(
            (f"top-{value['top_k']['k']} accuracy", _number(value["top_k"]["accuracy"]), "")
        )
    macro = value["macro"]
    rows += [
        ("balanced accuracy", _number(value["balanced_accuracy"]), "mean recall of the classes"),
        ("precision", _number(macro["precision"]), "mean of the classes"),
        ("F1", _number(macro["f1"]), "mean of the classes"),
        ("ROC AUC", _number(value["roc_auc"]), "each class against the others, mean"),
        ("average precision", _number(value["average_precision"]), "the same"),
    ]
    title = f"{value['split']}: {counted(value['n'], 'photo')} of {classes}"
    if value.get("tta"):
        title += f", mean over each photo and {counted(value['tta'], 'view')} of it"
    return f"{title}\n\n{table(('', 'value', ''), rows)}"


def _classes(value: dict[str, Any]) -> str:
    keys = ("precision", "recall", "f1", "roc_auc", "average_precision")
    rows = [
        [shortened(one["class"]), one["support"], *(_number(one[key]) for key in keys)]
        for one in value["per_class"]
    ]
    heads = ("class", "photos", "precision", "recall", "F1", "ROC AUC", "average precision")
    return table(heads, rows)


def _confusion(value: dict[str, Any]) -> str:
    names = list(map(shortened, value["classes"]))
    rows = [[name, *row] for name, row in zip(names, value["confusion"], strict=True)]
    return table(("true class \\ predicted", *names), rows)


def _calibration(value: dict[str, Any]) -> str:
    after = value["calibrated"]
    rows = [
        [label, _number(value[key]), _number(after[key]) if after else "-"]
        for label, key in (
            ("log loss", "log_loss"),
            ("Brier score", "brier"),
            ("expected calibration error", "ece"),
        )
    ]
    second = f"temperature {after['temperature']:.3f}" if after else "calibrated"
    found = table(("probabilities", "uncalibrated", second), rows)
    if after and value["split"] == "val":
        found += "\n\nThe temperature was fitted on these photos."
    if abstaining := value["abstaining"]:
        found += (
            f"\n\nunsure below {abstaining['probability']:.4f}: answers "
            f"{abstaining['coverage']:.1%} of the photos"
        )
        if abstaining["precision"] is not None:
            low, high = abstaining["precision_interval"]
            share = abstaining["precision"]
            found += f"; {share:.4f} of the answers are right ({low:.4f} to {high:.4f})"
    return found


def _mistakes(value: dict[str, Any]) -> str:
    rows = [
        [
            _number(one.get("calibrated", one["probability"])),
            shortened(one["predicted"]),
            shortened(one["label"]),
            one["path"],
        ]
        for one in value["mistakes"][:SHOWN]
    ]
    return table(("confidence", "predicted", "true class", "most confident mistakes"), rows)


def warn(value: dict[str, Any]) -> None:
    """Say on stderr what makes the numbers worth less."""
    if value.get("tta"):
        console.note("--tta: not calibrated, and nothing of it is kept in the run")
    seen = value["seen_in_training"]
    if value["split"] == "train":
        console.warn(
            "the model was trained on these photos: the numbers say nothing about new ones"
        )
    elif seen:
        photos = f"{seen:,} of {counted(value['n'], 'photo')}"
        console.warn(f"the model was trained on {photos}: the numbers are better than for new ones")


def compared(value: dict[str, Any]) -> str:
    """The numbers of `compare` as a table and a verdict."""
    return "\n".join(_compared(value))


def _compared(value: dict[str, Any]) -> Iterator[str]:
    level = f"{value['level']:.0%}"
    yield f"{value['split']}: {counted(value['n'], 'photo')} that both runs have"
    yield ""
    rows = []
    for one in value["runs"]:
        low, high = one["accuracy_interval"]
        rows.append([one["run"], _number(one["accuracy"]), f"{low:.4f} to {high:.4f}",
                     _number(one["log_loss"]), _number(one["balanced_accuracy"])])  # fmt: skip
    heads = ("run", "accuracy", f"{level} interval", "log loss", "balanced accuracy")
    yield table(heads, rows)
    yield ""
    pairs, (first, second) = value["pairs"], (console.one_line(one["run"]) for one in value["runs"])
    yield (
        f"both right {pairs['both']:,}, only {first} {pairs['first_only']:,}, "
        f"only {second} {pairs['second_only']:,}, neither {pairs['neither']:,}"
    )
    low, high = value["difference_interval"]
    yield f"difference {value['difference']:+.4f}, {level} interval {low:+.4f} to {high:+.4f}"
    verdict = console.one_line(value["verdict"])
    yield f"{verdict} (McNemar, {value['test']['method']}, p = {value['test']['p']:.4g})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
