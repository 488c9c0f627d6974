"""`tlcli check`: the recipe and every photo, before anything is spent."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import audit, findings, plan, survey
from tlcli.audit_cache import AuditCache
from tlcli.errors import DataError, Problem, TlcliError
from tlcli.findings import Finding
from tlcli.passed_over import FIX_LIST_TITLE
from tlcli.recipe.load import load_recipe
from tlcli.system import files


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        plan: what a run would do; None where errors are in the way.
        problems: of recipe, machine and layout of the data.
        findings: about photos.
        root: the folder of the data.
        images: how many photos there are of each split and class, unreadable ones left out.
    """

    plan: plan.Plan | None
    problems: tuple[Problem, ...]
    images: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    root: Path = Path()

    @property
    def passed(self) -> bool:
        """Whether a run could start."""
        return not any(problem.severity == "error" for problem in self.told())

    def told(self, *, every: bool = False) -> tuple[Problem, ...]:
        """Everything in lines: of each kind of finding one, or with `every` one for each file."""
        lines = [*self.problems]
        for finding in self.findings:
            whole = every and finding.paths
            lines += finding.as_problems() if whole else [finding.as_problem(self.root)]
        return tuple(lines)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "problems": [problem.as_dict() for problem in self.problems],
            "findings": [finding.as_dict(self.root) for finding in self.findings],
            "images": self.images,
        }


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for reference cycles, of which a check makes none worth the time: going
    through what is known of 100,000 photos again and again takes a fifth of a second check."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_uncollected()
def check(path: Path, overrides: Sequence[str] = (), *, cache: Path | None = None) -> Checked:
    """Load a recipe, plan its run and decode every photo; problems are returned, not raised."""
    try:
        chosen = load_recipe(path, overrides)
        with AuditCache(files.cache_folder(cache)) as memory:
            found = survey.survey(
                chosen,
                cache=cache,
                examine=lambda index: audit.audit(index, chosen, memory),
                memory=memory,
            )
    except TlcliError as error:
        return Checked(None, error.problems, {})
    counts = {"counts": found.index.counts()} if found.index else {}
    root = found.index.root if found.index else Path()
    made: plan.Plan | None = None
    more: tuple[Problem, ...] = ()
    if not found.errors:
        try:
            made = plan.make(found)
            more = made.problems[len(found.told) :]
        except TlcliError as error:
            more = error.problems
    problems = (*found.problems, *more)
    return Checked(made, problems, counts, found.findings, root)


def write_fix_list(checked: Checked, path: Path) -> tuple[int, int]:
    """Add the files to exclude to a list for `data.exclude`.

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
    for file, why in findings.to_exclude(checked.findings).items():
        name = findings.shown(file, checked.root)
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
