"""`tlcli init`: write a starter recipe for a folder of photos, or for a table of them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlcli.data import dataset
from tlcli.data.balance import Imbalance, measure_imbalance
from tlcli.data.dataset import Index
from tlcli.data.findings import relative_name
from tlcli.data.folders import is_folder
from tlcli.data.labels_in_names import read_names
from tlcli.data.layout import SPLITS
from tlcli.data.splits import SplitName
from tlcli.data.table_columns import recipe_line
from tlcli.data.tables import guess_columns
from tlcli.errors import Problem, RecipeError
from tlcli.networks import bases
from tlcli.networks.scratch import OwnHead
from tlcli.recipe.recipe import plain_name
from tlcli.recipe.settings import TEST_SHARE, Columns, Data, Split
from tlcli.system import console
from tlcli.system.console import one_line
from tlcli.system.files import write_table, write_text
from tlcli.system.yamlfile import quote_scalar

_POOLINGS = {"avg", "max", "flatten"}

#: Of a table that has the usual names.
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})

#: With fewer training photos than this an epoch has few steps, so that 30 are too few for a head,
#: and the loss of few validation photos is unsteady: measured in docs/choosing.md.
FEW_PHOTOS = 1_000

#: With more training photos than this, views of them buy little and cost as much as ever.
ENOUGH_PHOTOS = 5_000


@dataclass(frozen=True)
class Starter:
    """A recipe that was written, and what photos it is for, by split."""

    path: Path
    classes: int
    photos: Mapping[SplitName, int]

    def sentence(self) -> str:
        """What was found, in a line."""
        train, val, test = (self.photos[name] for name in SPLITS)
        return (
            f"{console.counted(self.classes, 'class')}: {console.counted(train, 'photo')} to train "
            f"on, {_count(val)} to validate, {_count(test)} to test"
        )

    def as_json(self) -> dict[str, Any]:
        """What `tlcli init --json` prints."""
        return {"recipe": str(self.path), "classes": self.classes, "photos": dict(self.photos)}


def write_starter(
    source: Path,
    *,
    out: Path | None = None,
    base: str = "VGG16",
    force: bool = False,
    labels_from_names: bool = False,
    columns: Mapping[str, str] = NO_COLUMNS,
) -> Starter:
    """Write a commented recipe for a folder of photos or a table of them.

    With `labels_from_names` the names of the photos tell their labels (`cat.1.jpg`): they are
    written to a table beside the recipe. `columns` are names of columns of a table, by what they
    are for; others are guessed where it has not the usual ones. Prints warnings and notes. Raises
    `DataError` for photos that cannot be trained on, and `RecipeError` where a file is there
    already or the base is unknown.
    """
    row = bases.lookup(base)
    if row is None:
        raise RecipeError(bases.unknown_base(base, "--base"))
    source = source.absolute()
    is_table = source.suffix.lower() in (".csv", ".tsv") and not is_folder(source)
    if columns and not is_table:
        hint = "leave it out, or name the table"
        raise RecipeError(Problem("--column", f"{source.name} is no table", hint))
    if is_table and labels_from_names:
        hint = "leave it out, or name the folder of the photos"
        raise RecipeError(Problem("--labels-from-names", f"{source.name} is a table", hint))
    name = plain_name(source.stem if is_table else source.name)
    path = out or Path(f"{name}.yaml")
    table = source if is_table else path.with_suffix(".csv")
    for new in (path, *([table] if labels_from_names else ())):
        if new.exists() and not force:
            hint = "name another with --out, or use --force"
            raise RecipeError(Problem(str(new), "exists", hint))
    if labels_from_names:
        _write_table(source, table)
    kept = path.absolute().with_name(_split_file(path))
    split = Split(file=kept if kept.exists() else None)
    if is_table or labels_from_names:
        named = Columns(**(_find_columns(table, columns) if is_table else {}))
        data = Data(csv=table.absolute(), split=split, columns=named)
    else:
        data = Data(dir=source, split=split)
    index = dataset.read_index(data)
    imbalance = measure_imbalance(index.counts())
    for problem in index.notes:
        console.print_problem(problem)
    if imbalance:
        console.print_problem(imbalance.as_finding().as_problem(index.root))
    write_text(path, _text(index, data, row, path))
    return Starter(path, len(index.classes), {name: len(index.of(name)) for name in SPLITS})


def _find_columns(table: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The names of a table's columns: those that the user gives, and guesses of others."""
    guesses = {use: name for use, name in guess_columns(table).items() if use not in given}
    if guesses:
        taken = ", ".join(f"'{name}' as {use}" for use, name in guesses.items())
        hint = "name others with --column, as in --column label=class"
        console.print_problem(Problem(str(table), f"took {taken}", hint, "note"))
    return {**guesses, **given}


def _write_table(folder: Path, table: Path) -> None:
    """Write a table of the photos under a folder with the labels in their names."""
    named = read_names(folder)
    is_split = any(split for _, _, split in named.rows)
    columns = ("path", "label", "split") if is_split else ("path", "label")
    rows = [
        (os.path.relpath(path, table.absolute().parent), label, split)[: len(columns)]
        for path, label, split in named.rows
    ]
    write_table(table, columns, rows)
    labels = len({label for _, label, _ in named.rows})
    photos = console.counted(len(rows), "photo")
    console.note(f"{table}: {photos} with {console.counted(labels, 'label')} from their names")
    if named.others:
        lost = console.counted(len(named.others), "photo")
        first = relative_name(named.others[0], folder)
        what = f"left out {lost} whose names show no label, such as {first}"
        console.warn(str(Problem(str(folder), what)))


def _split_file(path: Path) -> str:
    """The name of the file that keeps the split, beside the recipe."""
    return f"{plain_name(path.stem)}-split.csv"


def _column_lines(data: Data) -> list[str]:
    """What the table calls its columns, if not path, label, split and group."""
    others = {use: name for use, name in data.columns.model_dump().items() if name and name != use}
    return [f"  {recipe_line(**others).removeprefix('data.')}"] if others else []


def _split_lines(index: Index, path: Path) -> list[str]:
    """The setting of the split, as far as folders or table leave it open."""
    if not index.is_divided:
        return []
    given = {item.split for item in index.items if not item.divided}
    val = () if "val" in given else (f"val: {Split().val}",)
    test = () if "test" in given else (f"test: {TEST_SHARE}",)
    file = (f"file: {_split_file(path)}",)
    lines = [
        f"  split: {{{', '.join([*val, *(test if index.of('test') else ()), *file])}}}",
        "                            # of every class; the file keeps it when photos are added",
    ]
    if index.of("test"):
        return lines
    return [
        *(lines if val else ()),
        "  # There are no test photos. The score of the validation photos is optimistic, since",
        "  # the best epoch is chosen on them. To take test photos out of those of train:",
        f"  # split: {{{', '.join([*val, *test, *file])}}}",
    ]


def _balance_lines(imbalance: Imbalance | None) -> list[str]:
    """What to know of classes of different sizes, as comments before the stages."""
    if imbalance is None:
        return []
    words = f"{imbalance.message()}. {imbalance.hint().capitalize()}."
    return [f"# {line}" for line in textwrap.wrap(_comment(words), 98)]


def _text(index: Index, data: Data, row: bases.PretrainedBase, path: Path) -> str:
    photos = {split: len(index.of(split)) for split in SPLITS}
    place = place_from(path, data.source)
    classes = ", ".join(index.classes[:6]) + (", ..." if len(index.classes) > 6 else "")
    views = 0 if photos["train"] > ENOUGH_PHOTOS else 3
    lines = [
        f"# {len(index.classes)} classes ({_comment(classes)}): {photos['train']:,} photos to "
        f"train on, {_count(photos['val'])} to validate, {_count(photos['test'])} to test.",
        f"# Check:  tlcli check --config {_comment(path.name)}",
        f"# Train:  tlcli finetune --config {_comment(path.name)}",
        "",
        "seed: 0                     # of the head's weights, dropout and order",
        "data:",
        f"  {'csv' if data.csv else 'dir'}: {quote_scalar(place)}",
        *_column_lines(data),
        *_split_lines(index, path),
        "  on_bad_image: error       # or skip: leave out unreadable photos and name them",
        "base:",
        f"  name: {row.name}",
        _weights_line(row),
        f"  image_size: {row.native_size:<14}# {row.smallest_size} or more",
        "  resize: squash            # or crop (cut the sides), pad (add borders)",
        *_head_lines(row.head or OwnHead("avg", (256,), 0.5)),
        "augment:                    # random views of the training photos",
        f"  views: {views}                  # kept in the feature store; or live",
        "  rotation_range: 20        # degrees in both directions",
        "  width_shift_range: 0.1    # fraction of the width",
        "  height_shift_range: 0.1",
        "  zoom_range: 0.1",
        "  horizontal_flip: true     # not for letters, digits or left and right hands",
        *_balance_lines(measure_imbalance(index.counts())),
        "stages:",
        *_stage_lines(row, photos["train"]),
    ]
    return "\n".join([*lines, "batch_size: 32", ""])


def _weights_line(row: bases.PretrainedBase) -> str:
    if row.pretrained:
        return "  weights: imagenet         # or the path of a weights file"
    return "  weights: random           # it is trained from scratch"


def _head_lines(head: OwnHead) -> list[str]:
    return [
        "head:",
        f"  pooling: {head.pooling:<17}# or {', '.join(sorted(_POOLINGS - {head.pooling}))}",
        f"  hidden: {list(head.hidden)!s:<18}# units of each hidden layer; [] for none",
        f"  dropout: {head.dropout:g}",
    ]


def _stage_lines(row: bases.PretrainedBase, photos: int) -> list[str]:
    if not row.pretrained:
        return [
            f"  - {{name: scratch, freeze_until: {row.default_boundary}, epochs: 60, "
            "learning_rate: 1.0e-3, early_stopping: 15}"
        ]
    epochs, patience = (100, 25) if photos < FEW_PHOTOS else (30, 8)
    lines = [
        f"  - {{name: head, epochs: {epochs}, learning_rate: 1.0e-3, early_stopping: {patience}}}"
    ]
    if row.default_boundary:
        lines.append(
            f"  - {{name: fine-tune, freeze_until: {row.default_boundary}, epochs: 30, "
            "learning_rate: 1.0e-5, early_stopping: 8}"
        )
    return lines


def place_from(recipe: Path, source: Path) -> str:
    """What a recipe calls a file or folder: relative to itself where that is short.

    So both can move together.
    """
    relative = os.path.relpath(source, recipe.absolute().parent)
    return str(source) if relative.startswith("../../..") else relative


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _comment(text: str) -> str:
    """Text that stays on its comment line."""
    return one_line(text)
