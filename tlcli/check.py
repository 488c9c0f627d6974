"""`tlcli check`: the recipe and every photo, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import audit, files, findings, plan, recipe, store, survey
from tlcli.audit_cache import AuditCache
from tlcli.errors import Problem, TlcliError
from tlcli.findings import Finding


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


def check(path: Path, overrides: Sequence[str] = (), *, cache: Path | None = None) -> Checked:
    """Load a recipe, plan its run and decode every photo; problems are returned, not raised."""
    try:
        chosen = recipe.load(path, overrides)
        with AuditCache(store.cache_folder(cache)) as memory:
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


def write_fix_list(checked: Checked, path: Path) -> int:
    """Write the files to exclude, for `data.exclude`; returns how many there are.

    A path a line, relative to the data where it lies there; lines that begin with # are comments.
    A name with a line break in it cannot be listed, and is left out.
    """
    by_reason: dict[str, list[str]] = {}
    for file, why in findings.to_exclude(checked.findings).items():
        name = findings.shown(file, checked.root)
        if not set("\r\n") & set(name):
            by_reason.setdefault(why, []).append(f"./{name}" if name[0] == "#" else name)
    lines = ["# Photos to leave out: data.exclude in a recipe names this file."]
    for why, names in by_reason.items():
        lines += [f"# {why}", *names]
    files.write_text(path, "\n".join(lines) + "\n")
    return sum(map(len, by_reason.values()))
