"""Labels in the names of photos: `cat.0.jpg`, `Abyssinian_12.jpg`, `0001-dog.png`."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.data.findings import group_alike
from tlcli.data.folder_words import holds_annotations, split_of_folder
from tlcli.data.folders import expect_folder, list_folder, list_tree
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem
from tlcli.system.console import counted

# The label with a number after it, and with a number before it.
_PATTERNS = (
    re.compile(r"(?P<label>.*?[^\W\d_].*?)[\s._-]*[(\[]?\d+[)\]]?"),
    re.compile(r"\d+[\s._-]+(?P<label>.*[^\W\d_].*)"),
)

# What cameras, phones and programs begin the names of photos with.
_CAMERA = re.compile(
    r"(imag?e?s?|img|dscn?|dscf|pxl|photos?|pic(ture)?s?|frames?|scans?|files?|screenshots?|mvi|"
    r"gopr|cam(era)?|wp|p|sample|untitled|download|signal|whatsapp|copy|train|test|val)",
    re.IGNORECASE,
)

#: The share of photos whose names must have a label, and how many photos a label needs.
_MOST, _EACH = 0.9, 3


def labels_in_names(photos: Sequence[Path]) -> dict[Path, str]:
    """The label of each photo whose name shows one; none if their names do not look like labels."""
    for pattern in _PATTERNS:
        labels = {
            path: label
            for path in photos
            if (match := pattern.fullmatch(path.stem)) and _is_label(label := match["label"])
        }
        different = len(set(labels.values()))
        if different > 1 and len(labels) >= max(_MOST * len(photos), _EACH * different):
            return labels
    return {}


def _is_label(text: str) -> bool:
    first = re.split(r"[\W\d_]", text, maxsplit=1)[0]
    return not _CAMERA.fullmatch(first)


@dataclass(frozen=True)
class NamedPhotos:
    """Photos whose names show labels: path, label and split, which is empty without splits.

    `others` are photos beside them whose names show none.
    """

    rows: Sequence[tuple[Path, str, SplitName | Literal[""]]]
    others: Sequence[Path]


def read_names(folder: Path) -> NamedPhotos:
    """The labels in the names of all photos under a folder; folders of splits give their split.

    Folders that are named like those of annotations are left out. Raises DataError where fewer
    than two labels are found.
    """
    expect_folder(folder)
    tree = list_tree(folder)
    if errors := [problem for problem in tree.problems if problem.severity == "error"]:
        raise DataError(finding.as_problem(folder) for finding in group_alike(errors, "name"))
    groups: dict[SplitName | Literal[""], list[Path]] = defaultdict(list)
    for path in tree.photos:
        above = path.relative_to(folder).parts[:-1]
        if not any(map(holds_annotations, above)):
            groups[next(filter(None, map(split_of_folder, above)), "")].append(path)
    labels = {split: labels_in_names(photos) for split, photos in groups.items()}
    labelled = [split for split in groups if labels[split]]
    others = [
        path for split, photos in groups.items() for path in photos if path not in labels[split]
    ]
    if not labelled:
        raise DataError(_no_labels(folder, others))
    alone = len(labelled) == 1
    rows = [
        (path, label, "" if alone else split or "train")
        for split in labelled
        for path, label in labels[split].items()
    ]
    return NamedPhotos(sorted(rows), others)


def _no_labels(folder: Path, photos: Sequence[Path]) -> Problem:
    if not photos:
        return Problem(str(folder), "no photos in this folder", "name the folder of the photos")
    what = f"the names of its {counted(len(photos), 'photo')}, such as {photos[0].name}, show no "
    hint = "names like cat.1.jpg or dog_2.jpg do; or write a table (data.csv) with a line for each"
    return Problem(str(folder), what + "labels", hint)


def how_to_label(data: Path, photos_in: Path, tables_in: Iterable[Path] = ()) -> str:
    """What to do about photos that lie in no class folders, or an empty text if nothing is known.

    Args:
        data: the folder that a command would name.
        photos_in: the folder of the photos, whose names may show labels.
        tables_in: folders in which there may be a table of labels.
    """
    labels = [*dict.fromkeys(labels_in_names(list_tree(photos_in).photos).values())]
    if labels:
        shown = ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")
        command = f"tlcli init {shlex.quote(str(data))} --labels-from-names"
        return f"if the names of photos tell their labels ({shown}), `{command}` writes a table"
    tables = [
        path
        for folder in tables_in
        for path in list_folder(folder).others
        if path.suffix.lower() in (".csv", ".tsv") and "submission" not in path.name.lower()
    ]
    if tables:
        table = min(tables, key=lambda path: not re.search("label|train", path.name.lower()))
        command = f"tlcli init {shlex.quote(str(table))}"
        return f"if {table.name} lists their labels, use data.csv={table}, or `{command}`"
    return ""
