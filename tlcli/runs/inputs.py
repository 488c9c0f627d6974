"""The photos of a run as it records them: `split.csv`, written and read back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data.findings import relative_name
from tlcli.data.layout import SPLITS
from tlcli.data.split_file import KnownSplits
from tlcli.errors import Problem, RecipeError, RunError, reason
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files
from tlcli.system.object_stores import store_address, written

if TYPE_CHECKING:
    from tlcli.recipe.recipe import Recipe

_COLUMNS = ("path", "label", "split", "sha256")


@dataclass(frozen=True, slots=True)
class RecordedPhoto:
    """One photo of a run: `path` as written, relative to the data folder or absolute."""

    path: Path
    label: str
    split: str
    sha256: str

    def path_below(self, root: Path) -> Path:
        """Where the photo is, if the data folder is `root`."""
        return self.path if store_address(self.path) else root / self.path


def read_split(run: Run) -> tuple[RecordedPhoto, ...]:
    """Every photo of a run, in the order of the file. Raises `RunError` where it is damaged."""
    path = run.file(directory.SPLIT)
    try:
        with files.open_text(path) as file:
            lines = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
            if missing:
                raise RunError(Problem(str(path), f"has no column {', '.join(missing)}"))
            return tuple(_row(line, path, lines.line_num) for line in lines)
    except FileNotFoundError:
        hint = "name a run that `tlcli finetune` has written"
        raise RunError(Problem(str(run.path), f"has no {directory.SPLIT}", hint)) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error


def read_known_splits(which: Run | str, where: str = "") -> KnownSplits:
    """The split that a run has recorded; a name is looked up, and `where` names it in problems."""
    run = which if isinstance(which, Run) else directory.run_named(which, where=where)
    root = read_recipe(run).data.root
    return KnownSplits(
        (row.sha256, relative_name(row.path, root), row.split)
        for row in read_split(run)
        if row.split in SPLITS
    )


def write_split(run: Run, rows: Iterable[RecordedPhoto]) -> None:
    """Record the photos of a run."""
    table = ((written(row.path), row.label, row.split, row.sha256) for row in rows)
    files.write_table(run.file(directory.SPLIT), _COLUMNS, table)


def _row(line: dict[str, str | None], path: Path, number: int) -> RecordedPhoto:
    values = [line[name] for name in _COLUMNS]
    if not all(values):
        raise RunError(Problem(f"{path}:{number}", "the line is not complete"))
    name, label, split, sha256 = map(str, values)
    label.encode()  # a folder may have a name that is no UTF-8, a class has not
    return RecordedPhoto(Path(name), label, split, sha256)


def read_recipe(run: Run, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a run has kept; its problems name the run."""
    # Imported here, since a prediction has no use for it and would wait.
    from tlcli.recipe.load import load_recipe

    with problems_naming_the_run(run):
        return load_recipe(run.file(directory.RECIPE), overrides)


@contextmanager
def problems_naming_the_run(run: Run) -> Iterator[None]:
    """Have the problems of a run's recipe say of which run: `recipe.yaml` are all of them."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(
            replace(problem, where=f"{run.path}/{problem.where}")
            if problem.where.startswith(directory.RECIPE)
            else problem
            for problem in error.problems
        ) from error
