"""`tlcli check`: the recipe and every photo, before anything is spent."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.data import audit
from tlcli.data.audit_cache import AuditCache
from tlcli.data.findings import Finding
from tlcli.errors import Problem, TlcliError
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.recipe.load import load_recipe
from tlcli.system import files
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight


@dataclass(frozen=True)
class CheckResult:
    """What a check has found.

    Attributes:
        plan: what a run would do; None where errors are in the way.
        problems: of recipe, machine and layout of the data.
        findings: about photos.
        root: the folder of the data.
        images: how many photos there are of each split and class, unreadable ones left out.
    """

    plan: Plan | None
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
def check_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    cache: Path | None = None,
    access: WeightsAccess | None = None,
) -> CheckResult:
    """Load a recipe, plan its run and decode every photo; problems are returned, not raised."""
    try:
        chosen = load_recipe(path, overrides)
        with AuditCache(files.cache_folder(cache)) as audit_cache:
            found = preflight(
                chosen,
                cache=cache,
                access=access,
                examine=lambda index: audit.audit_photos(index, chosen, audit_cache),
                digests=audit_cache,
            )
    except TlcliError as error:
        return CheckResult(None, error.problems, {})
    counts = {"counts": found.index.counts()} if found.index else {}
    root = found.index.root if found.index else Path()
    made: Plan | None = None
    more: tuple[Problem, ...] = ()
    if not found.errors:
        try:
            made = make_plan(found)
            more = made.problems[len(found.told) :]
        except TlcliError as error:
            more = error.problems
    problems = (*found.problems, *more)
    return CheckResult(made, problems, counts, found.findings, root)
