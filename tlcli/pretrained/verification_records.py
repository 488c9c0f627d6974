"""What tlcli itself verified about pretrained weights, recorded outside of their files.

Anyone can write anything into a file, so what a weights file says of itself vouches for nothing.
When tlcli fetches or imports weights it leaves a record in its cache: where they came from, what
was compared, and when. A record is named after the fingerprint of the tensors. It speaks for these
numbers, in whatever file they are, and for no others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tlcli._version import __version__
from tlcli.system import files

#: The folder of records, inside the folder of weights.
RECORDS = "verified"

#: How tensors were verified: by their own fingerprint, by the hash that Keras or a mirror publishes
#: for their file, or not at all.
BY_FINGERPRINT, BY_HASH, BY_MIRROR, UNVERIFIED = "fingerprint", "published hash", "mirror hash", ""


@dataclass(frozen=True)
class Verification:
    """Where the file of some tensors came from, and what its bytes were compared with.

    Attributes:
        source: its address, the wheel that held it, or its name.
        verified: one of the `BY_...` above; empty where nothing is published to compare with.
        published: the hash or fingerprint that it has to have, in hex; may be empty.
    """

    source: str
    verified: str = UNVERIFIED
    published: str = ""


def write_record(folder: Path, base: str, fingerprint: str, verification: Verification) -> None:
    """Record in the folder of weights what was verified just now."""
    path = _path(folder, fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "base": base,
        "fingerprint": fingerprint,
        **asdict(verification),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tlcli": __version__,
    }
    files.write_json(path, record)


def read_record(folder: Path, base: str, fingerprint: str) -> Verification | None:
    """What was recorded about tensors of a base; None where nothing was, or it is damaged."""
    try:
        record = files.read_json(_path(folder, fingerprint))
        if (record["base"], record["fingerprint"]) != (base, fingerprint):
            return None
        values = [record[key] for key in ("source", "verified", "published")]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    known = (BY_FINGERPRINT, BY_HASH, BY_MIRROR, UNVERIFIED)
    if values[1] not in known or not all(isinstance(value, str) for value in values):
        return None
    return Verification(*values)


def _path(folder: Path, fingerprint: str) -> Path:
    return folder / RECORDS / f"{fingerprint}.json"
