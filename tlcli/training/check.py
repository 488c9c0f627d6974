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
    """What a check has brought to light.

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
        return not any(problem.severity == "error" for problem in self.all_problems())

    def all_problems(self, *, each_file: bool = False) -> tuple[Problem, ...]:
        """Problems, and a line for each kind of finding, or with `each_file` for each file."""
        problems = [*self.problems]
        for finding in self.findings:
            if each_file and (finding.paths or finding.names):
                problems += finding.as_problems(self.root)
            else:
                problems.append(finding.as_problem(self.root))
        return tuple(problems)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "problems": [problem.as_dict() for problem in self.problems],
            "findings": [finding.as_dict(self.root) for finding in self.findings],
            "images": self.images,
        }


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Switch Python's search for reference cycles off until the block ends.

    A check makes hardly any cycles, and the search through what is known of 100,000 photos takes a
    fifth of the time of a second check.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_garbage_collection()
def check_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    cache: Path | None = None,
    access: WeightsAccess | None = None,
) -> CheckResult:
    """Load a recipe, plan its run and decode every photo; problems are returned, not raised."""
    try:
        recipe = load_recipe(path, overrides)
        with AuditCache(files.cache_folder(cache), recipe.data.depth) as audit_cache:
            checked = preflight(
                recipe,
                cache=cache,
                access=access,
                examine=lambda index: audit.audit_photos(index, recipe, audit_cache),
                digests=audit_cache,
            )
    except TlcliError as error:
        return CheckResult(None, error.problems, {})
    counts = {"counts": checked.index.counts()} if checked.index else {}
    root = checked.index.root if checked.index else Path()
    plan: Plan | None = None
    more: tuple[Problem, ...] = ()
    if not checked.errors:
        try:
            plan = make_plan(checked)
            more = plan.problems[len(checked.all_problems) :]
        except TlcliError as error:
            more = error.problems
    problems = (*checked.problems, *more)
    return CheckResult(plan, problems, counts, checked.findings, root)
