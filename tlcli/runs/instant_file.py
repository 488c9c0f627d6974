"""The file that a run answers from without TensorFlow: its network as LiteRT, with a record.

It is a flatbuffer that gives logits, followed by a zip archive with one member, the record, as
LiteRT's own files carry what belongs to them. So both appear, move and vanish as one.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt, StrictStr, ValidationError

from tlcli.errors import reason
from tlcli.runs.model_file import DAMAGED, archive_fingerprint
from tlcli.runs.records import RecordPart
from tlcli.system import files
from tlcli.system.appended_zip import append_members

#: The member of the archive that holds the record.
RECORD_MEMBER = "instant.json"

#: A record has a few numbers.
RECORD_BYTES = 100_000


class InstantFileError(Exception):
    """Why a run cannot answer from its instant file; the message completes "the file ..."."""


class Parity(RecordPart):
    """How far the answers of a converted network were from those of Keras, on so many photos.

    Attributes:
        photos: photos of the run's validation and test splits that were compared.
        largest: the largest difference of a probability.
        labels_changed: photos whose likeliest class was another one.
    """

    photos: PositiveInt
    largest: Annotated[float, Field(ge=0)]
    labels_changed: Annotated[int, Field(ge=0)]


class InstantRecord(RecordPart):
    """What an instant file says of itself.

    Attributes:
        tlcli: the version that wrote it.
        model: the fingerprint of the `model.keras` that it was converted from.
        sha256: of the flatbuffer.
        parity: the proof that it passed.
    """

    tlcli: StrictStr
    model: StrictStr
    sha256: StrictStr
    parity: Parity


def write_instant_file(path: Path, flatbuffer: bytes, record: InstantRecord) -> None:
    """Write the network of a run and its record as one file, whole or not at all."""
    text = files.json_text(record.model_dump())
    with files.replacing(path) as temporary:
        temporary.write_bytes(append_members(flatbuffer, {RECORD_MEMBER: text}))


def read_instant_file(path: Path, model: Path) -> bytes:
    """The flatbuffer of an instant file, if it was converted from this very model.

    Raises `FileNotFoundError` where there is none, and `InstantFileError` where it is damaged or
    belongs to another model.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = archive.getinfo(RECORD_MEMBER)
            if member.file_size > RECORD_BYTES:
                raise ValueError("its record is too large")
            record = _validated(archive.read(member))
            flatbuffer = content[: member.header_offset]
        current = archive_fingerprint(model)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, *DAMAGED) as error:
        raise InstantFileError(f"cannot be read: {reason(error)}") from error
    if record.model != current:
        raise InstantFileError(f"was made from another {model.name}")
    if hashlib.sha256(flatbuffer).hexdigest() != record.sha256:
        raise InstantFileError("is damaged: its contents are not those that were written")
    return flatbuffer


def _validated(content: bytes) -> InstantRecord:
    try:
        return InstantRecord.model_validate(files.parse_json(content))
    except ValidationError as error:
        raise ValueError("its record is not valid") from error
