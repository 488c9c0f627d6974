"""Flaws of labelled photos: one finding for each kind, with the files or labels that have it.

`check`, `finetune` and the report of a run show findings alike: grouped, counted, the first few
files or labels named. The JSON form is that of `as_dict` and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tlcli.errors import Problem, Severity
from tlcli.images.decode_errors import FOREIGN
from tlcli.system.console import counted
from tlcli.system.object_stores import written

#: Files that a line of text names, and that the record of a run lists.
MAX_NAMED, MAX_LISTED = 3, 20

#: Kinds of files that cannot be decoded.
UNUSABLE = frozenset({"unreadable", "unsupported"})

#: Kinds whose files a fix list names: without them the data are sound.
EXCLUDABLE = UNUSABLE | frozenset(
    {"cut short", "flat", "label conflict"}
    | {"duplicate across splits", "near-duplicate across splits", "group across splits"}
)


@dataclass(frozen=True)
class Finding:
    """One kind of flaw, and where it was found.

    Attributes:
        kind: a short name that stays the same from version to version.
        severity: an error keeps a run from starting; a note asks for nothing.
        message: what was found. Of one file it follows the file's name, of several their number:
            'is 3 x 4 pixels' would be odd of ten, so it must fit both.
        hint: what to do about it.
        paths: the files or folders, those to exclude where some of a pair could be; of very many,
            a `PathList`.
        details: about each of them, in their order; empty where there is nothing to add.
        noun: what they are called, counted.
        names: in place of paths, labels or other things that are no files, as they are shown.
        where: the place of the names, if it is not the folder of the data.
    """

    kind: str
    severity: Severity
    message: str
    hint: str = ""
    paths: Sequence[Path] = ()
    details: tuple[str, ...] = ()
    noun: str = "photo"
    names: tuple[str, ...] = ()
    where: str = ""

    def as_problem(self, root: Path) -> Problem:
        """The finding in one line: what is the only one by its name, several by count and names."""
        number = len(self.paths or self.names)
        if number == 1:
            return self.as_problems(root)[0]
        message = self.message
        if number:
            named = [
                name + (f" ({detail})" if detail else "")
                for name, detail in islice(self._named(root), MAX_NAMED)
            ]
            more = f" and {number - MAX_NAMED:,} more" if number > MAX_NAMED else ""
            message = f"{counted(number, self.noun)}: {message}: {', '.join(named)}{more}"
        return Problem(self.where or str(root), message, self.hint, self.severity)

    def _named(self, root: Path) -> Iterator[tuple[str, str]]:
        """The name and the detail of everything that it is about."""
        names = [relative_name(path, root) for path in self.paths[:MAX_NAMED]] or self.names
        return zip(names, self._every_detail(), strict=False)

    def _every_detail(self) -> Sequence[str]:
        return self.details or ("",) * len(self.paths or self.names)

    def as_problems(self, root: Path) -> list[Problem]:
        """A line for each file, folder or name."""
        where = self.where or str(root)
        places = [(str(path), "") for path in self.paths]
        places += [(where, f"{self.noun} {name}: ") for name in self.names]
        return [
            Problem(
                place,
                f"{prefix}{self.message}" + (f": {detail}" if detail else ""),
                self.hint,
                self.severity,
            )
            for (place, prefix), detail in zip(places, self._every_detail(), strict=True)
        ]

    def as_dict(self, root: Path, *, most: int | None = None) -> dict[str, Any]:
        """The form of `check --json` and, with `most` paths, of a run's record."""
        listed: dict[str, Any] = {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "count": len(self.paths or self.names),
            "noun": self.noun,
            "paths": [relative_name(path, root) for path in self.paths[:most]],
        }
        if self.names:
            listed["names"] = list(self.names[:most])
        if self.details:
            listed["details"] = list(self.details[:most])
        return listed


class IndexWithFindings(Protocol):
    """The part of `dataset.Index` that a record needs."""

    @property
    def root(self) -> Path:
        """The folder that names are relative to."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with its photos."""

    def counts(self) -> dict[Any, dict[str, int]]:
        """Photos by split and class."""


def audit_record(index: IndexWithFindings, problems: Iterable[Problem]) -> dict[str, Any]:
    """What a run records of the findings, and of the other problems of its plan."""
    root = index.root
    lines = {finding.as_problem(root) for finding in index.findings}
    listed = [finding.as_dict(root, most=MAX_LISTED) for finding in index.findings]
    listed += [
        Finding("other", problem.severity, f"{problem.where}: {problem.message}", problem.hint)
        .as_dict(root)
        for problem in problems
        if problem not in lines
    ]  # fmt: skip
    return {"findings": listed, "counts": index.counts()}


def group_unreadable(problems: Iterable[tuple[Path, Problem]], *, skip: bool) -> list[Finding]:
    """A finding for each reason why files cannot be read or decoded.

    With `skip` they are left out of a run, and are no more than a warning.
    """
    alike: dict[tuple[str, str, str], list[tuple[Path, str]]] = defaultdict(list)
    for path, problem in problems:
        kind = "unsupported" if problem.kind in FOREIGN else "unreadable"
        hint = "left out of the run" if skip else problem.hint
        alike[kind, problem.general, hint].append((path, problem.detail))
    severity: Severity = "warning" if skip else "error"
    return [
        Finding(
            kind, severity, message, hint,
            tuple(path for path, _ in files),
            tuple(detail for _, detail in files) if any(detail for _, detail in files) else (),
        )
        for (kind, message, hint), files in alike.items()
    ]  # fmt: skip


def unreadable_lines(
    problems: Mapping[Path, Problem], root: Path, *, skip: bool = False
) -> list[Problem]:
    """One line for each reason why files cannot be read or decoded, with the first of them.

    `root` is the folder that their names are relative to.
    """
    grouped = group_unreadable(problems.items(), skip=skip)
    return [finding.as_problem(root) for finding in grouped]


def group_alike(problems: Iterable[Problem], noun: str = "folder") -> list[Finding]:
    """A finding for all problems that say the same of several files or folders."""
    alike: dict[tuple[Severity, str, str], list[Path]] = defaultdict(list)
    for problem in problems:
        alike[problem.severity, problem.message, problem.hint].append(Path(problem.where))
    return [
        Finding("folder", severity, message, hint, tuple(paths), noun=noun)
        for (severity, message, hint), paths in alike.items()
    ]


def name_them_all(findings: Iterable[Finding], severity: Severity = "note") -> list[Problem]:
    """How to see everything that findings are about, if their lines do not name it all."""
    if all(len(finding.paths or finding.names) <= MAX_NAMED for finding in findings):
        return []
    what = f"of each kind, the first {MAX_NAMED} are named here"
    return [Problem("data", what, "`tlcli check --all` or `--json` names all", severity)]


def separate_misnamed(
    problems: Iterable[Problem], *, skip: bool
) -> tuple[list[Problem], list[Finding]]:
    """The problems that are not about names of files, and one finding for those that are.

    A file whose name is not UTF-8 cannot be opened or listed; with `skip` it is left out of a run.
    """
    others: list[Problem] = []
    names: list[Problem] = []
    for problem in problems:
        (names if problem.kind == "bad name" else others).append(problem)
    if not names:
        return others, []
    hint, severity = names[0].hint, names[0].severity
    if skip:
        hint, severity = "left out of the run", "warning"
    paths = tuple(Path(problem.where) for problem in names)
    what = "with a name that is not valid UTF-8"
    return others, [Finding("bad name", severity, what, hint, paths, noun="file")]


def files_to_exclude(findings: Iterable[Finding]) -> dict[Path, str]:
    """The files of a fix list, each with the first reason to exclude it.

    That it is nearly the same as another one is the last of reasons: a copy is listed as a copy.
    """
    reasons: dict[Path, str] = {}
    for finding in sorted(findings, key=lambda finding: finding.kind.startswith("near-")):
        if finding.kind in EXCLUDABLE:
            for path in finding.paths:
                reasons.setdefault(path, finding.kind)
    return reasons


def relative_name(path: Path, root: Path) -> str:
    """A path as seen from the data's folder; whole where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else written(path)
