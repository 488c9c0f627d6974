"""Suggested photos as people read them: the table, the list, the sheet, the JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tlcli.audits.replay import Replay
from tlcli.audits.suggestion import Suggestion
from tlcli.images import contact_sheet
from tlcli.images.bit_depth import Depth
from tlcli.images.contact_sheet import SheetCell, lay_out_cells, save_sheet
from tlcli.images.loader import View
from tlcli.images.small_pictures import small_pictures
from tlcli.runs.create import result_folder
from tlcli.system import console, files

#: The folder of suggestions, beside the runs, and the files in the folder of each.
SUGGESTIONS = "suggestions"
LIST, SHEET = "suggestions.csv", "suggestions.png"

#: Photos that the table lists, unless all are asked for.
LISTED = 20

#: Photos on a sheet at most, in a row, and pixels of a side of each picture.
MAX_CELLS, COLUMNS, CELL = 100, 6, 160


def suggestion_folder(out: Path | None, recipe: str, base: str, *, force: bool) -> Path:
    """The folder that a suggestion is kept in: `out`, or one of the recipe's beside the runs.

    Raises `RunError` where it cannot be written, or holds other files of these names.
    """
    return result_folder(out, SUGGESTIONS, f"{recipe}-{base}", [SHEET], [LIST], force=force)


def keep_suggestion(folder: Path, suggestion: Suggestion, depth: Depth | None) -> Path:
    """Write the list and the sheet; returns the file of the sheet."""
    files.make_folder(folder)
    rows = [(photo.path, photo.reason, photo.like, *photo.between) for photo in suggestion.photos]
    heads = ("path", "reason", "like", "likeliest", "second")
    files.write_table(folder / LIST, heads, rows)
    save_sheet(draw_sheet(suggestion, depth), folder / SHEET)
    return folder / SHEET


def draw_sheet(suggestion: Suggestion, depth: Depth | None) -> Image.Image:
    """The first photos in the order of the list, each with its number and the reason."""
    shown = suggestion.photos[:MAX_CELLS]
    views = (View(str(photo.path), photo.digest) for photo in shown)
    pictures = small_pictures(views, CELL, depth)
    blank = Image.new("RGB", (CELL, CELL), contact_sheet.PAPER)
    cells = [
        SheetCell(
            [pictures.get(photo.path, blank)], [f"{number}. {photo.path.name}", *photo.reasons]
        )
        for number, photo in enumerate(shown, 1)
    ]
    total = len(suggestion.photos)
    first = f"the first {len(shown)} of {total:,} photos" if total > len(shown) else "photos"
    return lay_out_cells(cells, COLUMNS, title=f"{suggestion.recipe}: {first} to label next")


def suggestion_result(
    suggestion: Suggestion, folder: Path, *, every: bool
) -> tuple[str, dict[str, Any]]:
    """What the command prints, as text and for JSON; with `every`, the table has all photos."""
    candidates = suggestion.candidates
    value = {
        "photos": [
            {
                "path": str(photo.path), "reason": photo.reason, "like": photo.like,
                "between": list(photo.between), "unsure": photo.unsure,
            }
            for photo in suggestion.photos
        ],
        "gain": suggestion.gain.as_dict() if suggestion.gain else None,
        "labelled": suggestion.labelled,
        "found": candidates.found, "choice": len(candidates.items),
        "considered": suggestion.considered,
        "left_out": {
            "labelled": candidates.labelled, "alike": candidates.alike,
            "unreadable": candidates.unreadable,
        },
        "images": suggestion.images, "seconds": suggestion.seconds, "folder": str(folder),
    }  # fmt: skip
    return describe_suggestion(suggestion, folder, every=every), value


def describe_suggestion(suggestion: Suggestion, folder: Path, *, every: bool) -> str:
    """The table of photos, the gain to expect, and where both are kept."""
    shown = suggestion.photos if every else suggestion.photos[:LISTED]
    rows = [[str(n), str(photo.path), photo.reason] for n, photo in enumerate(shown, 1)]
    lines = [console.table(["", "label next", "reason"], rows)]
    if more := len(suggestion.photos) - len(shown):
        lines.append(f"and {more:,} more; --all lists them")
    times = suggestion.seconds
    lines += [
        "",
        *describe_gain(suggestion.gain),
        "",
        f"time: features {console.duration(times['features'])} ({suggestion.images:,} photos "
        f"through the network), choice {console.duration(times['choice'])}",
        f"kept in {folder}: {LIST}, {SHEET}",
    ]
    return "\n".join(lines)


def describe_gain(gain: Replay | None) -> list[str]:
    """What choosing gained among the labelled photos, in sentences."""
    if gain is None:
        return [
            "the gain to expect is unknown: there are too few labelled photos to hide some, choose "
            "among them and judge the choice on others"
        ]
    low, high = gain.interval
    rows = [
        [what, f"{labels:,}", f"{accuracy:.4f}"]
        for what, labels, accuracy in (
            ("labels", gain.labelled, gain.begin),
            ("with random ones", gain.labelled + gain.added, gain.random),
            ("with chosen ones", gain.labelled + gain.added, gain.chosen),
        )
    ]
    table = console.table(["tried on the labelled photos", "photos", "accuracy"], rows)
    points = f"{100 * gain.difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    verdict = f"chosen beside random: {points}"
    if low == high:
        verdict = "chosen beside random: no difference in any trial"
    elif low <= 0 <= high:
        verdict += "; that may be chance, so expect no more than from random ones"
    return [table, "", verdict]
