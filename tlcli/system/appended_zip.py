"""A zip archive at the end of another file, as LiteRT's files carry what belongs to them.

Readers of the file itself stop before the archive; readers of archives begin at its end.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping


def append_members(content: bytes, members: Mapping[str, str]) -> bytes:
    """The content with an archive of these texts, by name, behind it."""
    file = io.BytesIO(content)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file.getvalue()
