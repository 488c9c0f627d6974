"""What identifies a run, its recipe and its photos, and how others differ from them."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from tlcli.data.dataset import Index
from tlcli.errors import Problem, RunError, TlcliError
from tlcli.networks.precision import Precision
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import TEST_SHARE
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto, problems_naming_the_run, read_split, write_split
from tlcli.runs.parent_record import PARENT, describe_parent, model_fingerprint, read_parent
from tlcli.runs.run_settings import flatten, is_place, short_text
from tlcli.system import console, files
from tlcli.system.yamlfile import read_yaml

_KEYS = ("recipe_fingerprint", "dataset_fingerprint", "photo_order")

#: Differences that are named one by one.
NAMED = 5


def compute_fingerprints(recipe: Recipe, index: Index) -> dict[str, str]:
    """What must be equal for a run to be resumed: recipe, photos, and the order of their paths."""
    order = hashlib.sha256("".join(item.digest for item in index.items).encode())
    values = recipe.fingerprint(), index.fingerprint, order.hexdigest()
    return dict(zip(_KEYS, values, strict=True))


def _parent_difference(run: Run, recipe: Recipe) -> Iterator[str]:
    """A line where the run that this one started from has another model now, or is another."""
    then, now = read_parent(run), recipe.start_from
    if then is not None and now is not None and then.model != model_fingerprint(Run(now)):
        yield f"it started from {then.run} with another model than {now} has now"


def recorded_fingerprints(run: Run) -> dict[str, Any]:
    """The fingerprints that a run began with. Raises `RunError` for a damaged record."""
    record = run.record()
    return {key: record.get(key) for key in _KEYS}


def differences(run: Run, recipe: Recipe, index: Index) -> list[str]:
    """How recipe and photos differ from those of a run, a line each; [] if they do not.

    Where the recipe leaves its precision to the machine, that of the run is no difference.
    """
    recipe = in_precision_of(run, recipe)
    lines = [*_parent_difference(run, recipe)]
    if recorded_fingerprints(run) == compute_fingerprints(recipe, index):
        return lines
    lines += [*_recipe_differences(run, recipe), *_photo_differences(run, recipe, index)]
    return lines or ["another version of tlcli started it"]


def in_precision_of(run: Run, recipe: Recipe) -> Recipe:
    """The recipe; where its precision is left to the machine, with the one that a run began with.

    Raises a `TlcliError` where the recipe of the run cannot be read.
    """
    if not recipe.chooses_precision:
        return recipe
    with problems_naming_the_run(run):
        values = read_yaml(run.file(directory.RECIPE)).value
    begun = values.get("precision") if isinstance(values, dict) else None
    for precision in get_args(Precision):
        if begun == precision:
            return recipe.with_precision(precision)
    return recipe


def differences_or_damage(run: Run, recipe: Recipe, index: Index) -> list[str]:
    """As `differences`; a run whose record is damaged differs in that."""
    try:
        return differences(run, recipe, index)
    except TlcliError as error:
        places = (problem.where.removeprefix(f"{run.path}/") for problem in error.problems)
        return [
            f"{place}: {problem.message}" if place != str(run.path) else problem.message
            for place, problem in zip(places, error.problems, strict=True)
        ]


def describe_not_resumed(run: Run, different: list[str]) -> str:
    """The line about a stopped run that is left alone."""
    line = f"{run.path} was stopped and is not resumed: {'; '.join(different)}"
    return f"note: {console.one_line(line)}"


def _recipe_differences(run: Run, recipe: Recipe) -> Iterator[str]:
    with problems_naming_the_run(run):
        then = flatten(read_yaml(run.file(directory.RECIPE)).value)
    now = flatten(recipe.resolved())
    for values in (then, now):
        if values.get("data.split.test") is None:
            values["data.split.test"] = TEST_SHARE
        values.setdefault("head.normalize", False)  # which the recipes of version 0.1.0 lack
    changed = sorted(
        key
        for key in then.keys() | now.keys()
        if then.get(key) != now.get(key) and not is_place(key)
    )
    for key in changed[:NAMED]:
        yield f"{key} was {short_text(then.get(key))}, is now {short_text(now.get(key))}"
    if len(changed) > NAMED:
        yield f"{console.counted(len(changed) - NAMED, 'more setting')} changed"


def _photo_differences(run: Run, recipe: Recipe, index: Index) -> Iterator[str]:
    changed = list(_changed_photos(run, index))
    yield from changed
    record = run.record()
    if (
        not changed
        and record.get("photo_order") != compute_fingerprints(recipe, index)["photo_order"]
    ):
        yield "photos were renamed, which changes their order"


def _changed_photos(run: Run, index: Index) -> Iterator[str]:
    try:
        then = Counter((row.sha256, row.label, row.split) for row in read_split(run))
    except RunError:
        yield f"its {directory.SPLIT} cannot be read"
        return
    now = Counter((item.digest, index.classes[item.label], str(item.split)) for item in index.items)
    gone, new = then - now, now - then
    moved = {key[0] for key in gone} & {key[0] for key in new}
    counts = {
        "gone": sum(n for key, n in gone.items() if key[0] not in moved),
        "new": sum(n for key, n in new.items() if key[0] not in moved),
        "in another class or split": len(moved),
    }
    for what, count in counts.items():
        if count:
            verb = "is" if count == 1 else "are"
            yield f"{console.counted(count, 'photo')} {verb} {what}"


def record_inputs(run: Run, recipe: Recipe, index: Index) -> None:
    """Write the recipe, the photos and their fingerprints into a new run."""
    files.write_text(run.file(directory.RECIPE), recipe.as_yaml())
    _write_split(run, index)
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "base": recipe.base.name,
        "seed": recipe.seed,
        "precision": recipe.precision,
        **compute_fingerprints(recipe, index),
        "classes": list(index.classes),
        "photos": index.counts(),
        **({PARENT: parent.model_dump()} if (parent := describe_parent(recipe)) else {}),
    }
    files.write_json(run.file(directory.RECORD), record)


def check_same_photos(run: Run, index: Index) -> None:
    """Check that a resumed run reads the same photos as when it began.

    A run that has not trained an epoch yet begins with those of `index`. Raises `RunError` for a
    difference in any other run.
    """
    different = list(_changed_photos(run, index))
    if not different:
        return
    if not run.has_checkpoints:
        record_readable_photos(run, index)
        return
    hint = "make the same photos readable again, or start a new run with --fresh"
    raise RunError([Problem(str(run.path), line, hint) for line in different])


def update_paths(run: Run, recipe: Recipe, index: Index) -> None:
    """Record where recipe and photos are now, if they were moved while the run was stopped."""
    path, text, known = run.file(directory.RECIPE), recipe.as_yaml(), ""
    with suppress(OSError, ValueError):
        known = path.read_text(encoding="utf-8")
    if known != text:
        files.write_text(path, text)
    if [row.path for row in read_split(run)] != [item.path for item in index.items]:
        _write_split(run, index)


def record_readable_photos(run: Run, index: Index) -> None:
    """Record that only these photos are left to train and test on: the others cannot be read."""
    _write_split(run, index)
    record = {**run.record(), "photos": index.counts()}
    files.write_json(run.file(directory.RECORD), record)


def _write_split(run: Run, index: Index) -> None:
    rows = (
        RecordedPhoto(item.path, index.classes[item.label], item.split, item.digest)
        for item in index.items
    )
    write_split(run, rows)
