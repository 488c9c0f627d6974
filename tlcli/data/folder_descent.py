"""The way down from a data folder to the folder in which classes or splits lie.

A download often has a single folder in another one (`data/PetImages`, `training_set/training_set`),
or one of photos beside what is known of them (`images` beside `annotations`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.data.findings import relative_name
from tlcli.data.folder_words import holds_annotations, holds_photos, split_of_folder
from tlcli.data.folders import FolderListing, list_folder, list_tree
from tlcli.data.labels_in_names import how_to_label
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem


@dataclass(frozen=True)
class Descent:
    """A folder that holds class folders or splits, and the way down to it.

    Attributes:
        listing: what the folder holds.
        passed: what the folders above it hold, from where the way begins.
        problems: notes and warnings on what was left aside.
    """

    folder: Path
    listing: FolderListing
    passed: Sequence[FolderListing] = ()
    problems: Sequence[Problem] = ()


def descend(start: Path, split: SplitName | None = None, classes: Collection[str] = ()) -> Descent:
    """Go down as long as a folder holds nothing but one folder with folders.

    Folders that are named as those of annotations do not count beside a folder named as that of
    the photos. Raises DataError where such photos are in no class folders.

    Args:
        start: where to begin.
        split: the split that `start` is the folder of, if it is.
        classes: names of folders that are classes, and are not entered.
    """
    here, seen = _list_without_runs(start), {start.resolve()}
    while (inner := _way_down(here, split, classes)) and inner.resolve() not in seen:
        seen.add(inner.resolve())
        below = _list_without_runs(inner)
        here = replace(
            below,
            passed=(*here.passed, here.listing),
            problems=(*here.problems, *_left_aside(here, inner), *below.problems),
        )
    return here


def _list_without_runs(folder: Path) -> Descent:
    """What a folder holds, without a folder `runs` in which tlcli has left its runs."""
    listing = list_folder(folder)
    runs = [
        path for path in listing.folders if path.name == "runs" and any(path.glob("*/run.json"))
    ]
    if not runs:
        return Descent(folder, listing)
    listing.folders.remove(runs[0])
    note = Problem(str(runs[0]), "ignored, as it holds runs of tlcli", severity="note")
    return Descent(folder, listing, problems=[note])


def _way_down(here: Descent, split: SplitName | None, classes: Collection[str]) -> Path | None:
    listing = here.listing
    if listing.photos or not listing.folders:
        return None
    annotations = [path for path in listing.folders if holds_annotations(path.name)]
    others = [path for path in listing.folders if path not in annotations]
    if annotations and len(others) == 1 and holds_photos(others[0].name):
        if not holds_only_folders(others[0]):
            raise DataError(photos_with_annotations(here.folder, others, annotations))
        return others[0]
    if len(listing.folders) > 1:
        return None
    inner = listing.folders[0]
    if inner.name in classes or split_of_folder(inner.name) not in (None, split):
        return None
    return inner if holds_only_folders(inner) else None


def _left_aside(here: Descent, inner: Path) -> Iterator[Problem]:
    """What is said of the folders beside `inner`."""
    beside = [path for path in here.listing.folders if path != inner]
    if not beside:
        return
    what = f"ignored beside {inner.name}, as named like annotations: "
    what += list_names(beside, here.folder)
    if any(list_tree(path).photos for path in beside):
        hint = f"if they are classes, move them into {inner.name}"
        yield Problem(str(here.folder), what, hint, "warning")
    else:
        yield Problem(str(here.folder), what, severity="note")


def photos_with_annotations(
    root: Path, photos: Sequence[Path], annotations: Iterable[Path]
) -> Problem:
    """What to say of photos that are in no class folders, but have annotations beside them."""
    names = list_names([*photos, *annotations], root)
    what = f"{names} are named like photos and their annotations, not like classes"
    hint = how_to_label(photos[0], photos[0], [root, *photos])
    hint = (
        hint or "sort the photos into a folder for each class, or list them in a table (data.csv)"
    )
    return Problem(str(root), what, hint)


def holds_only_folders(folder: Path) -> bool:
    """Whether there are folders in a folder, and no photos beside them."""
    inside = list_folder(folder)
    return bool(inside.folders and not inside.photos)


def list_names(paths: Sequence[Path], root: Path) -> str:
    """The first three of `paths` as seen from `root`, with dots for more."""
    return ", ".join(relative_name(path, root) for path in paths[:3]) + ", ..." * (len(paths) > 3)
