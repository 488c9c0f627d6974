"""Leaving photos out: the list that `data.exclude` names.

`check --fix-list` writes such a list, or a user does. A line is the path of a photo, or of a
folder, relative to the data; lines that begin with # are comments.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlcli.data import findings
from tlcli.data.findings import MAX_NAMED, Finding, relative_name
from tlcli.data.ignored_files import FIX_LIST_TITLE
from tlcli.data.layout import Layout
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem, Severity, nearest, reason
from tlcli.system import files
from tlcli.system.console import counted
from tlcli.system.path_list import PathList, files_in

# Photos of a folder that a misspelt name is compared with, as each takes a while, and how near one
# must be: names of photos are mostly numbers, of which any two look alike.
_COMPARED, _NEAR = 1_000, 0.85


def exclude_listed(layout: Layout, fix_list: Path) -> Layout:
    """The layout without the photos of a fix list, with what is wrong with the list."""
    where = f"data.exclude: {fix_list}"
    try:
        lines = files.read_lines(fix_list)
    except (OSError, ValueError) as error:
        hint = "check the path; `tlcli check --fix-list FILE` writes such a list"
        unreadable = Problem(where, f"cannot be read: {reason(error)}", hint)
        return replace(layout, problems=(*layout.problems, unreadable))
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    # As text: a path of each of very many photos takes several times as much memory.
    photos = {*layout.texts}
    listed, unknown = _find_listed(lines, layout.root, photos, map(str, layout.dangling))
    left = {
        key: PathList(text for text in paths.texts if text not in listed)
        for key, paths in layout.photos.items()
    }
    problems = [*layout.problems]
    if excluded := frozenset(map(Path, photos & listed)):
        what = f"{counted(len(excluded), 'photo')} excluded by {fix_list.name}"
        problems.append(Problem(str(layout.root), what, severity="note"))
    if unknown:
        problems.append(_unknown_lines(where, unknown, layout.root, photos))
    dangling = [path for path in layout.dangling if str(path) not in listed]
    return replace(
        layout,
        photos=left,
        dangling=dangling,
        excluded=excluded,
        problems=tuple(problems),
        findings=(*layout.findings, *_emptied_classes(layout, left)),
    )


def _find_listed(
    lines: Iterable[str], root: Path, photos: Collection[str], dangling: Iterable[str]
) -> tuple[set[str], list[str]]:
    """The files that the lines name, and the lines that name none."""
    known = {*photos, *dangling}
    listed = {str(root / line) for line in lines} & known
    left = [line for line in dict.fromkeys(lines) if str(root / line) not in known]
    if not left:
        return listed, []
    # To compare absolute paths takes a pass over every photo, which few lists need.
    by_absolute = {_absolute(path): path for path in known}
    folders = {_absolute(root / name) for line in left for name in _spellings(line)}
    by_folder = _group_by_folder(by_absolute, folders)
    unknown = []
    for line in left:
        folders_named = [_absolute(root / name) for name in _spellings(line)]
        matching = [path for folder in folders_named for path in by_folder.get(folder, ())]
        listed.update(matching)
        if not matching:
            unknown.append(line)
    return listed, unknown


def _spellings(line: str) -> Iterator[str]:
    """The line, and without spaces around: a name may have them, but mostly an editor left them."""
    yield line
    if line.strip() != line:
        yield line.strip()


def _absolute(path: Path | str) -> str:
    """The absolute path without `.`, `..` and double slashes; links are not followed."""
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute leaves `..` where it is


def _group_by_folder(
    by_absolute: Mapping[str, str], places: Collection[str]
) -> dict[str, list[str]]:
    """The files at each of some absolute paths, or anywhere under it."""
    groups = defaultdict(list)
    for absolute, path in by_absolute.items():
        above = absolute
        while True:
            if above in places:
                groups[above].append(path)
            above, below = os.path.dirname(above), above  # noqa: PTH120 - of many, much faster
            if above == below:
                break
    return groups


def _emptied_classes(
    layout: Layout, left: Mapping[tuple[SplitName, str], PathList]
) -> Iterator[Finding]:
    """Classes of a split that had photos before the list was read, and have none `left`."""
    emptied = [key for key, paths in layout.photos.items() if paths and not left[key]]
    severities: dict[Severity, list[tuple[SplitName, str]]] = {"error": [], "warning": []}
    for split, name in emptied:
        severities["error" if split == "train" else "warning"].append((split, name))
    for severity, keys in severities.items():
        what = "all of its photos are excluded"
        if keys:
            finding = Finding("excluded class", severity, what, "exclude fewer")
            yield layout.class_finding(finding, keys)


def _unknown_lines(
    where: str, lines: Sequence[str], root: Path, photos: Collection[str]
) -> Problem:
    named = [f"'{line}'{_guess(line, root, photos)}" for line in lines[:MAX_NAMED]]
    more = f" and {len(lines) - MAX_NAMED:,} more" if len(lines) > MAX_NAMED else ""
    what = f"{counted(len(lines), 'line')} without a matching photo in the data: "
    return Problem(where, f"{what}{', '.join(named)}{more}", "check the paths", "warning")


def _guess(line: str, root: Path, photos: Iterable[str]) -> str:
    """The photo that a line may mean: of the same name elsewhere, or of nearly the same path."""
    path = root / line.strip()
    alike = PathList(photo for photo in photos if _name(photo).lower() == path.name.lower())
    nearby = alike or files_in(path.parent, photos)[:_COMPARED]
    nearby.sort()
    names = [relative_name(photo, root) for photo in nearby]
    guess = nearest(line.strip(), names[:_COMPARED], cutoff=_NEAR)
    if len(alike) == 1:
        guess = names[0]
    return f" (did you mean '{guess}'?)" if guess else ""


def _name(file: str) -> str:
    return os.path.basename(file)  # noqa: PTH119 - of many, much faster


def write_fix_list(flaws: Iterable[Finding], root: Path, path: Path) -> tuple[int, int]:
    """Add the files to exclude to a list for `data.exclude`; `root` is the folder of the data.

    A path a line, relative to the data where it lies there; lines that begin with # are comments.
    A name with a line break in it cannot be listed, and is left out. The lines of a list that
    exists already, by an earlier check or by hand, stay.

    Returns how many files are listed now, and how many have such a name. Raises `DataError` for a
    file that is no such list.
    """
    lines = _read_fix_list(path) or [FIX_LIST_TITLE]
    listed = frozenset(lines)
    by_reason: dict[str, list[str]] = {}
    unlistable = 0
    for file, why in findings.files_to_exclude(flaws).items():
        name = findings.relative_name(file, root)
        if "\r" in name or "\n" in name:
            unlistable += 1
        else:
            by_reason.setdefault(why, []).append(f"./{name}" if name[0] == "#" else name)
    for why, names in by_reason.items():
        new = [name for name in names if name not in listed]
        lines += [f"# {why}", *new] if new else []
    files.write_text(path, "\n".join(lines) + "\n")
    return sum(bool(line) and line[0] != "#" for line in lines), unlistable


def expect_fix_list(path: Path) -> None:
    """Raise `DataError` where no fix list can be written, before anything is spent."""
    if not path.parent.is_dir():
        message = "its folder does not exist"
        raise DataError(Problem(f"--fix-list {path}", message, "make it, or name another"))
    _read_fix_list(path)


def _read_fix_list(path: Path) -> list[str]:
    """The lines of the list at `path`; none where there is no file."""
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
