"""`tlcli preview`: a contact sheet of photos and their views, to look at before training."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tlcli.data import dataset
from tlcli.data.dataset import Index, Item
from tlcli.errors import DataError, Problem
from tlcli.images import contact_sheet, loader
from tlcli.images.contact_sheet import SheetRow, sheet_path
from tlcli.images.loader import PixelSettings, View
from tlcli.system import console, files

if TYPE_CHECKING:
    from tlcli.recipe.recipe import Recipe

#: Rows of a sheet at most, and pixels of a side of a picture at most.
MAX_ROWS, CELL = 48, 160

#: Keeps a setting on one line.
_TOGETHER = "\u00a0"

#: Photos of a class that cannot be read before it is given up.
SPARE = 8


@dataclass(frozen=True)
class Sheet:
    """What was written.

    Attributes:
        rows: photos shown.
        each: photos of a class that there was room for.
        views: augmented views of each photo.
        left_out: classes of which no photo is shown.
    """

    path: Path
    rows: int
    each: int
    views: int
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `preview --json` prints."""
        return {
            "path": str(self.path),
            "photos": self.rows,
            "photos_of_each_class": self.each,
            "views": self.views,
            "classes_left_out": list(self.left_out),
        }

    def shortfalls(self, number: int, views: int | None) -> Iterator[str]:
        """Where it has less than was asked for: photos of each class, and views of each photo."""
        if self.left_out:
            yield f"no photo of {console.counted(len(self.left_out), 'class')}"
        if self.each < number:
            rows = f"a sheet has {MAX_ROWS} rows at most"
            yield f"{rows}: {console.counted(self.each, 'photo')} of each class"
        if views is not None and self.views < views:
            yield "no setting of `augment` changes a photo, so there are no views to show"


def preview(
    recipe: Recipe,
    *,
    number: int = 2,
    views: int | None = None,
    out: Path | None = None,
    force: bool = False,
) -> Sheet:
    """Write the sheet of a recipe's training photos, by default as `NAME-views.png`.

    Raises a `TlcliError` where the photos cannot be used or no PNG may be written there.
    """
    path = sheet_path(out, f"{recipe.name}-views.png", force=force)
    if problems := files.check_writable(path.parent):
        raise DataError(problems)
    return write_sheet(recipe, dataset.read_index(recipe.data), path, number=number, views=views)


def write_sheet(
    recipe: Recipe,
    index: Index,
    path: Path,
    *,
    number: int = 2,
    views: int | None = None,
    most: int | None = None,
) -> Sheet:
    """Write a PNG: for each class `number` training photos, a row each, the photo before its views.

    The views are those of training: numbers 1, 2, ... of the store, or of the first epochs where
    they are live. `views` is how many are shown; by default those that training shows, 6 at most.
    There are at most `most` rows, by default `MAX_ROWS`.
    """
    most = most or MAX_ROWS
    if views is None:
        views = 6 if recipe.augment.views == "live" else min(recipe.augment.kept_views, 6)
    if not recipe.augment.changes_pixels:
        views = 0
    labels = range(min(len(index.classes), most))
    number = max(1, min(number, most // max(len(labels), 1)))
    shown = [row for label in labels for row in _rows(recipe, index, label, number, views)]
    if not shown:
        raise DataError(Problem(str(index.root), "no training photo can be shown"))
    contact_sheet.save_sheet(_draw(recipe, index, shown, views), path)
    left_out = set(range(len(index.classes))) - {item.label for item, _ in shown}
    names = tuple(index.classes[label] for label in sorted(left_out))
    return Sheet(path, len(shown), number, views, names)


def _rows(
    recipe: Recipe, index: Index, label: int, number: int, views: int
) -> Iterator[tuple[Item, list[Image.Image]]]:
    """The first `number` different photos of a class that can be read, with their pictures.

    First by content hash, so that a sheet does not show photos that were taken in a row.
    """
    different = {item.digest: item for item in index.of("train") if item.label == label}
    items = [different[digest] for digest in sorted(different)][: number + SPARE]
    chunks = ([View(item.file, item.digest, n) for n in range(views + 1)] for item in items)
    count = 0
    with closing(loader.load_batches(chunks, PixelSettings.from_recipe(recipe))) as batches:
        for item, batch in zip(items, batches, strict=False):
            for problem in batch.errors.values():
                console.warn(f"{problem}; left out")
            if batch.readable:
                pixels = np.rint(np.asarray(batch.pixels)).astype(np.uint8)
                yield item, [_small(Image.fromarray(picture)) for picture in pixels]
                count += 1
            if count == number:
                return


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return picture


def _draw(
    recipe: Recipe, index: Index, rows: Sequence[tuple[Item, list[Image.Image]]], views: int
) -> Image.Image:
    """The sheet: the recipe's name and settings above the photos with their views."""
    columns = ["photo", *(f"view {number}" for number in range(1, views + 1))]
    labelled = [
        SheetRow(f"{index.classes[item.label]}: {item.path.name}", pictures)
        for item, pictures in rows
    ]
    width = contact_sheet.row_width(labelled)
    return contact_sheet.lay_out_rows(
        labelled, columns, title=recipe.name, lines=list(_caption(recipe, views, width))
    )


def _caption(recipe: Recipe, views: int, across: int) -> Iterator[str]:
    """What the views are made with, in lines that fit."""
    settings = (f"{name}: {value}" for name, value in describe_settings(recipe).items())
    text = "  ".join(setting.replace(" ", _TOGETHER) for setting in settings)
    if not recipe.augment.changes_pixels:
        text = "no setting changes a photo  " + text
    elif not views:
        text = "no views are kept: training shows the photos alone  " + text
    lines = textwrap.wrap(text, max(across // 7, 20), break_on_hyphens=False)
    yield from (line.replace(_TOGETHER, " ") for line in lines)
    if recipe.augment.mixup or recipe.augment.cutmix:
        yield "mixup and cutmix mix the photos of a batch in training and are not shown"


def describe_settings(recipe: Recipe) -> dict[str, str]:
    """The settings of `augment` that are not at their default, as text."""
    shown = {}
    for name, value in recipe.augment.model_dump(mode="json").items():
        field = type(recipe.augment).model_fields[name]
        if name == "views" or getattr(recipe.augment, name) != field.default:
            shown[name] = _short(value)
    return shown


def _short(value: Any) -> str:
    """A setting as people write it: [0.75, 1.333]."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
