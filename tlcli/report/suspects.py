"""Photos of a page whose labels may be wrong, each beside the photos that are most like it."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.audits.verdict import judge_labels
from tlcli.report.html import sentence
from tlcli.report.thumbnails import PhotoThumbnails, Thumbnail
from tlcli.runs.label_audit_record import LabelAuditRecord, Suspect

#: Suspects shown, and pixels of the longer side of their thumbnails.
MOST, SIDE = 12, 160


@dataclass(frozen=True)
class SuspectExample:
    """A suspect with its picture, and the nearest photo of its label and of the likelier class.

    None for a picture that cannot be shown, or where there is no such photo.
    """

    suspect: Suspect
    picture: Thumbnail | None
    own: Thumbnail | None
    likelier: Thumbnail | None


@dataclass(frozen=True)
class SuspectLabels:
    """What the page shows of an audit of the labels that a run was trained on."""

    record: LabelAuditRecord
    sentences: tuple[str, ...]
    examples: tuple[SuspectExample, ...]


def show_suspects(
    record: LabelAuditRecord | None, thumbnails: PhotoThumbnails
) -> SuspectLabels | None:
    """The first suspects of an audit with their pictures; None without an audit."""
    if record is None:
        return None
    shown = record.suspects[:MOST]
    names = [name for suspect in shown for name in (suspect.path, *_nearest(suspect)) if name]
    pictures = thumbnails.pictures(names, SIDE)
    examples = [
        SuspectExample(
            suspect, *(pictures.get(name) for name in (suspect.path, *_nearest(suspect)))
        )
        for suspect in shown
    ]
    words = tuple(f"{sentence(line)}." for line in judge_labels(record))
    return SuspectLabels(record, words, tuple(examples))


def _nearest(suspect: Suspect) -> tuple[str, str]:
    """The nearest photo of its label, and of the likelier class; empty where there is none."""
    names = []
    for label in (suspect.label, suspect.suggested):
        near = [entry.path for entry in suspect.neighbours if entry.label == label]
        names.append(near[0] if near else "")
    return names[0], names[1]
