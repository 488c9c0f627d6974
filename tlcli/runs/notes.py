"""What a user says of a run: a text that is kept beside its files."""

from __future__ import annotations

from tlcli.errors import Problem, RunError, reason
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console, files

#: Bytes of the longest note.
MOST_BYTES = 10_000


def read_note(run: Run) -> str:
    """The note on a run, or an empty text; one that cannot be read is a warning."""
    path = run.file(directory.NOTE)
    try:
        return files.read_bytes(path, MOST_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        console.warn(str(Problem(str(path), f"cannot be read: {reason(error)}")))
        return ""


def write_note(run: Run, text: str) -> None:
    """Keep a note on a run, in the place of the last one; an empty text removes it.

    Raises `RunError` for one that is too long.
    """
    path, text = run.file(directory.NOTE), text.strip()
    if len(text.encode()) >= MOST_BYTES:
        message = f"a note has {MOST_BYTES:,} bytes at most"
        raise RunError(Problem(str(run.path), message, "keep longer texts in a file of your own"))
    if text:
        files.write_text(path, text + "\n")
    else:
        path.unlink(missing_ok=True)
