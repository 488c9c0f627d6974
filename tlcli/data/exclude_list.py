"""Leaving photos out: the list that `data.exclude` names.

`check --fix-list` writes such a list, or a user does. A line is the path of a photo, or of a
folder, relative to the data; lines that begin with # are comments.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tlcli.data import findings
from tlcli.data.findings import MAX_NAMED, Finding, relative_name
from tlcli.data.ignored_files import FIX_LIST_TITLE
from tlcli.data.layout import Layout
from tlcli.errors import DataError, Problem, Severity, nearest, reason
from tlcli.system import files
from tlcli.system.console import counted

# Photos of a folder that a misspelt name is compared with, as each takes a while, and how near one
# must be: names of photos are mostly numbers, of which any two look alike.
_COMPARED, _NEAR = 1_000, 0.85


def exclude_listed(found: Layout, fix_list: Path) -> Iterator[Problem]:
    """Take the photos of a fix list out of `found`, and tell of its lines."""
    where = f"data.exclude: {fix_list}"
    try:
        lines = files.read_lines(fix_list)
    except (OSError, ValueError) as error:
        hint = "check the path; `tlcli check --fix-list FILE` writes such a list"
        yield Problem(where, f"cannot be read: {reason(error)}", hint)
        return
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    photos = frozenset(path for paths in found.photos.values() for path in paths)
    out, unknown = _looked_up(lines, found.root, photos, found.rest.dangling)
    yield from _take_out(found, out)
    if known := photos & out:
        what = f"{counted(len(known), 'photo')} excluded by {fix_list.name}"
        yield Problem(str(found.root), what, severity="note")
    if unknown:
        named = [f"'{line}'{_guess(line, found.root, photos)}" for line in unknown[:MAX_NAMED]]
        more = f" and {len(unknown) - MAX_NAMED:,} more" if len(unknown) > MAX_NAMED else ""
        what = f"{counted(len(unknown), 'line')} without a matching photo in the data: "
        yield Problem(where, f"{what}{', '.join(named)}{more}", "check the paths", "warning")


def _looked_up(
    lines: Iterable[str], root: Path, photos: Collection[Path], dangling: Collection[Path]
) -> tuple[set[Path], list[str]]:
    """The files that the lines name, and the lines that name none."""
    known = {*photos, *dangling}
    out = {root / line for line in lines} & known
    left = [line for line in dict.fromkeys(lines) if root / line not in known]
    if not left:
        return out, []
    # Other ways to write a path cost a look at every photo, which few lists need.
    by_place = {_place(path): path for path in known}
    inside = _by_folder(by_place, {_place(root / name) for line in left for name in _ways(line)})
    unknown = []
    for line in left:
        places = [_place(root / name) for name in _ways(line)]
        meant = [path for place in places for path in inside.get(place, ())]
        out.update(meant)
        if not meant:
            unknown.append(line)
    return out, unknown


def _ways(line: str) -> Iterator[str]:
    """A name may begin or end with spaces, but mostly it is the editor of a list who left them."""
    yield line
    if line.strip() != line:
        yield line.strip()


def _place(path: Path) -> str:
    """The absolute path without `.`, `..` and double slashes; links are not followed."""
    return os.path.abspath(path)  # noqa: PTH100 - which leaves `..` where it is


def _by_folder(by_place: Mapping[str, Path], wanted: Collection[str]) -> dict[str, list[Path]]:
    """The files at each of the wanted places, or anywhere under it."""
    found = defaultdict(list)
    for place, path in by_place.items():
        above = place
        while True:
            if above in wanted:
                found[above].append(path)
            above, below = os.path.dirname(above), above  # noqa: PTH120 - of many, much faster
            if above == below:
                break
    return found


def _take_out(found: Layout, out: Collection[Path]) -> Iterator[Problem]:
    for key, paths in found.photos.items():
        found.photos[key] = [path for path in paths if path not in out]
        if paths and not found.photos[key]:
            severity: Severity = "error" if key[0] == "train" else "warning"
            what = "all of its photos are excluded"
            yield Problem(found.place(*key), what, "exclude fewer", severity)
    found.rest.dangling = [path for path in found.rest.dangling if path not in out]


def _guess(line: str, root: Path, photos: Iterable[Path]) -> str:
    """The photo that a line may mean: of the same name elsewhere, or of nearly the same path."""
    path = root / line.strip()
    alike = sorted(photo for photo in photos if photo.name.lower() == path.name.lower())
    beside = [photo for photo in photos if photo.parent == path.parent][:_COMPARED]
    names = [relative_name(photo, root) for photo in alike or sorted(beside)]
    guess = nearest(line.strip(), names[:_COMPARED], cutoff=_NEAR)
    if len(alike) == 1:
        guess = names[0]
    return f" (did you mean '{guess}'?)" if guess else ""


def write_fix_list(found: Iterable[Finding], root: Path, path: Path) -> tuple[int, int]:
    """Add the files to exclude to a list for `data.exclude`; `root` is the folder of the data.

    A path a line, relative to the data where it lies there; lines that begin with # are comments.
    A name with a line break in it cannot be listed, and is left out. What a list says already, by
    an earlier check or by hand, stays.

    Returns how many files are listed now, and how many have such a name. Raises `DataError` for a
    file that is no such list.
    """
    kept = _listed(path)
    known = frozenset(kept)
    by_reason: dict[str, list[str]] = {}
    broken = 0
    for file, why in findings.files_to_exclude(found).items():
        name = findings.relative_name(file, root)
        if "\r" in name or "\n" in name:
            broken += 1
        else:
            by_reason.setdefault(why, []).append(f"./{name}" if name[0] == "#" else name)
    lines = kept or [FIX_LIST_TITLE]
    for why, names in by_reason.items():
        new = [name for name in names if name not in known]
        lines += [f"# {why}", *new] if new else []
    files.write_text(path, "\n".join(lines) + "\n")
    return sum(bool(line) and line[0] != "#" for line in lines), broken


def expect_fix_list(path: Path) -> None:
    """Raise `DataError` where no fix list can be written, before anything is spent."""
    if not path.parent.is_dir():
        message = "its folder does not exist"
        raise DataError(Problem(f"--fix-list {path}", message, "make it, or name another"))
    _listed(path)


def _listed(path: Path) -> list[str]:
    """The lines of the list that is at `path`, if one is."""
    try:
        lines = files.read_lines(path)
        while lines[-1:] == [""]:
            lines.pop()
    except FileNotFoundError:
        return []
    except ValueError:
        lines = []
    if lines[:1] != [FIX_LIST_TITLE]:
        message = "exists and is not a list that tlcli has written"
        raise DataError(Problem(f"--fix-list {path}", message, "name another file"))
    return lines
