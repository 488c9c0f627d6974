"""The shares that val and test get of photos whose split the data leave open, and notes on that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data.findings import Finding
from tlcli.data.layout import Layout
from tlcli.data.splits import SplitName
from tlcli.errors import Problem, Severity
from tlcli.system.console import counted

if TYPE_CHECKING:
    from tlcli.recipe.settings import Split

#: Photos by split and class.
SplitCounts = Mapping[SplitName, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Shares:
    """What val and test get of the photos of train; 0 where the data say which are theirs."""

    val: float
    test: float


def find_shares(layout: Layout, split: Split) -> Shares:
    """The shares that a recipe asks for, as far as the data leave them open."""
    return Shares(
        0.0 if "val" in layout.parts else split.val,
        0.0 if "test" in layout.parts else split.test_share(unsplit=layout.is_unsplit),
    )


def find_thin_classes(counts: SplitCounts, layout: Layout, shares: Shares) -> Iterator[Finding]:
    """Classes with too few photos, or groups, for every split that gets a share."""
    splits = 1 + (shares.val > 0) + (shares.test > 0)
    number = {1: "one", 2: "two", 3: "three"}[splits]
    more = f"add photos: a class needs {number}, or groups, to be in every split"
    filled: tuple[tuple[SplitName, bool, str, Severity], ...] = (
        ("train", True, "add photos, or give some of them to train", "error"),
        ("val", shares.val > 0, more, "warning"),
        ("test", shares.test > 0, more, "warning"),
    )
    names = layout.classes
    totals = {
        name: sum(counts[split][name] for split, used, _, _ in filled if used) for name in names
    }
    for split, used, hint, severity in filled:
        thin = [name for name in names if totals[name] and not counts[split][name]]
        if used and thin:
            what = f"no photo is left for {split}"
            details = tuple(f"{counted(totals[name], 'photo')} in all" for name in thin)
            finding = Finding(f"class without {split}", severity, what, hint, details=details)
            yield layout.class_finding(finding, [("train", name) for name in thin])


def find_split_notes(layout: Layout, shares: Shares) -> Iterator[Problem]:
    """What is taken from train, and splits without photos."""
    where, unsplit = str(layout.table or layout.root), layout.is_unsplit
    kind = "rows" if layout.table else "folder"
    if "val" not in layout.parts and not shares.val:
        what = "no val photos, so the best epoch cannot be chosen"
        yield Problem("data.split.val", what, "set it above 0", "warning")
    for split, share in (("val", shares.val), ("test", shares.test)):
        if share and not unsplit:
            what = f"no {split} {kind}: {share:.0%} of every class in train is taken as {split}"
            yield Problem(where, what, severity="note")
    if "test" not in layout.parts and not shares.test:
        what = "no test split" if unsplit else f"no test {kind}, so no test split"
        hint = "" if unsplit else "to take one out of train, set data.split.test=0.15"
        yield Problem(where, what, hint, severity="note")


def find_share_differences(
    now: Mapping[SplitName, int], asked: Mapping[SplitName, int], classes: int, file: Path | None
) -> Iterator[Problem]:
    """Where a split file has other shares than the recipe asks for.

    `now` are the photos of each split, and `asked` how many there would be without the file.
    """
    photos = sum(now.values())
    for split in ("val", "test"):
        has, wants = now.get(split, 0), asked.get(split, 0)
        # Classes that grew may each be off by a photo, and some photos be moved by hand.
        if abs(has - wants) > 1 + classes / 2:
            what = f"has {has / photos:.1%} of the photos in {split}; data.split.{split} asks for "
            what += f"{wants / photos:.1%}, and no photo in the file is moved"
            hint = (
                f"set data.split.{split}={has / photos:.2f} if that is meant, or rename the file "
            )
            hint += "to divide all photos anew"
            yield Problem(str(file), what, hint, "warning")
