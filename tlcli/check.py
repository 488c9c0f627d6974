"""`tlcli check`: the recipe and every photo, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli import images, plan, recipe, survey
from tlcli.errors import Problem, TlcliError


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        plan: what a run would do; None where errors are in the way.
        images: how many photos there are of each split and class, and how many cannot be read.
    """

    plan: plan.Plan | None
    problems: tuple[Problem, ...]
    images: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether a run could start."""
        return not any(problem.severity == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"problems": [p.as_dict() for p in self.problems], "images": self.images}


def check(path: Path, overrides: Sequence[str] = (), *, cache: Path | None = None) -> Checked:
    """Load a recipe, plan its run and decode every photo; problems are returned, not raised."""
    try:
        chosen = recipe.load(path, overrides)
    except TlcliError as error:
        return Checked(None, error.problems, {})
    found = survey.survey(chosen, cache=cache, look=images.verify)
    counts = {"counts": found.index.counts()} if found.index else {}
    if found.errors:
        return Checked(None, tuple(found.problems), counts)
    made = plan.make(found)
    return Checked(made, made.problems, counts)
