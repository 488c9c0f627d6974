"""The contact sheet of an audit: each suspect beside the photos that are most like it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tlcli.audits.label_audit import LabelAudit
from tlcli.data.dataset import Item
from tlcli.images import contact_sheet
from tlcli.images.bit_depth import Depth
from tlcli.images.contact_sheet import SheetRow
from tlcli.images.loader import View
from tlcli.images.small_pictures import small_pictures
from tlcli.runs.label_audit_record import LabelAuditRecord, Suspect

#: Suspects on a sheet at most, pixels of a side of each picture, and neighbours of each kind.
MAX_ROWS, CELL, NEIGHBOURS = 40, 112, 2


def draw_suspects(audit: LabelAudit, depth: Depth | None) -> Image.Image | None:
    """The first suspects, a row each, before photos of their label and of the likelier class.

    None where there is no suspect. `depth` is the recipe's `data.depth`.
    """
    shown = audit.record.suspects[:MAX_ROWS]
    if not shown:
        return None
    names = [name for suspect in shown for name in (suspect.path, *_beside(suspect))]
    items = [audit.photos[name] for name in dict.fromkeys(names)]
    pictures = small_pictures((View(i.file, i.digest) for i in items), CELL, depth)
    rows = [
        SheetRow(_text(number, suspect), _row(suspect, audit.photos, pictures))
        for number, suspect in enumerate(shown, 1)
    ]
    columns = ["suspect", *["its label"] * NEIGHBOURS, *["likelier class"] * NEIGHBOURS]
    return contact_sheet.lay_out_rows(
        rows, columns, title=f"{audit.record.recipe}: suspect labels", lines=_lines(audit.record)
    )


def _lines(record: LabelAuditRecord) -> list[str]:
    number = len(record.suspects)
    first = f"the first {MAX_ROWS} of {number:,}" if number > MAX_ROWS else f"{number:,}"
    return [
        f"{first}, the likeliest to be wrong first; beside each, the photos most like it",
        f"false alarms to expect: {record.false_alarms:,} of {number:,}",
    ]


def _text(number: int, suspect: Suspect) -> str:
    name = f"{number}. {suspect.path}: labelled {suspect.label}"
    return f"{name}, likelier {suspect.suggested} (by {suspect.score:.2f})"


def _beside(suspect: Suspect) -> list[str]:
    """The paths of the neighbours that are shown: of its label, then of the likelier class."""
    own = [near.path for near in suspect.neighbours if near.label == suspect.label]
    other = [near.path for near in suspect.neighbours if near.label == suspect.suggested]
    return [*own[:NEIGHBOURS], *other[:NEIGHBOURS]]


def _row(
    suspect: Suspect, photos: Mapping[str, Item], pictures: Mapping[Path, Image.Image]
) -> list[Image.Image]:
    """The suspect, and its neighbours in their columns; blank where there is none to show."""
    blank = Image.new("RGB", (CELL, CELL), contact_sheet.PAPER)
    cells = [suspect.path]
    for label in (suspect.label, suspect.suggested):
        near = [entry.path for entry in suspect.neighbours if entry.label == label]
        cells += [*near[:NEIGHBOURS], *[""] * (NEIGHBOURS - len(near))]
    return [pictures.get(photos[name].path, blank) if name else blank for name in cells]
