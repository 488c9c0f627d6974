"""What scripts ask of an evaluation: `accuracy>=0.95`, `recall[cats]>=0.9`; met, or missed.

A requirement is a number of the evaluation, an operator and a bound. Everything that can be wrong
with it is said before a photo is looked at; how it ends is known when the evaluation is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import Problem, RequirementError, TlcliError, suggestion
from tlcli.evaluation.intervals import Interval, wilson_interval
from tlcli.evaluation.named_scores import OF_ONE_CLASS, OVERALL, NamedScore, class_score
from tlcli.evaluation.predictions import RunProbabilities
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation
from tlcli.system import console

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
    "<=": lambda value, bound: value <= bound,
    "<": lambda value, bound: value < bound,
}

# The last operator counts, and the last bracket: names of classes may hold both.
_FORM = re.compile(r"(?P<name>.*?\S)\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>[^<>=]*)", re.S)
_OF_CLASS = re.compile(r"(?P<metric>[^\[]*)\[(?P<label>.*)\]", re.S)
_QUOTED = re.compile(r"""(["'])(?P<text>.*)\1""", re.S)
# Without quotes, a shell takes `>` for itself, and a file named `=0.95` appears.
_EXAMPLE = 'write it in quotes, as in "accuracy>=0.95" or "recall[cats]>=0.9"'


@dataclass(frozen=True)
class Requirement:
    """A bound on a number of an evaluation.

    Attributes:
        text: as the user wrote it.
        metric: the name of the number, as `evaluate` prints it.
        label: the class it is about; None for all together.
    """

    text: str
    metric: str
    label: str | None
    operator: str
    bound: float
    score: NamedScore


@dataclass(frozen=True)
class RequirementResult:
    """A requirement and what an evaluation says to it.

    Attributes:
        value: the number; None where it does not exist.
        interval: its confidence interval, of the level of the evaluation; None if it has none.
        compared: what was held against the bound: the value, or an end of the interval.
    """

    requirement: Requirement
    value: float | None
    interval: Interval | None
    compared: float | None
    level: float

    @property
    def met(self) -> bool:
        """Whether the requirement is met; a number that does not exist meets none."""
        compare = _OPERATORS[self.requirement.operator]
        return self.compared is not None and compare(self.compared, self.requirement.bound)

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `--json`."""
        return {
            "requirement": self.requirement.text,
            "metric": self.requirement.metric,
            "class": self.requirement.label,
            "operator": self.requirement.operator,
            "bound": self.requirement.bound,
            "value": self.value,
            "interval": self.interval,
            "compared": self.compared,
            "met": self.met,
        }

    def as_problem(self) -> Problem:
        """The line about a requirement that was missed."""
        where = f"--require {console.one_line(self.requirement.text)}"
        if self.value is None:
            return Problem(
                where, f"missed: it has no value, since {self.requirement.score.missing}"
            )
        message = f"missed: it is {self.value:.5g}"
        if self.interval is not None:
            low, high = self.interval
            message += f" ({self.level:.0%} interval {low:.4f} to {high:.4f})"
        if self.compared != self.value:
            end = "lower" if self.requirement.operator.startswith(">") else "upper"
            message += f", and --confident compares the {end} end"
        return Problem(where, message)


def read_requirements(
    texts: Iterable[str], classes: Sequence[str], *, confident: bool = False
) -> tuple[Requirement, ...]:
    """Requirements as users write them, checked against the classes of a run.

    With `confident` the unfavourable end of an interval will be compared, so every number must have
    one. Raises `TlcliError` with every problem.
    """
    requirements: list[Requirement] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            requirement = _read(text, classes)
            if confident and requirement.score.counts is None:
                raise TlcliError(_without_interval(requirement))
            requirements.append(requirement)
        except TlcliError as error:
            problems += error.problems
    if problems:
        raise TlcliError(problems)
    return tuple(requirements)


def check_requirements(
    requirements: Iterable[Requirement], evaluation: Evaluation, *, confident: bool = False
) -> tuple[RequirementResult, ...]:
    """What an evaluation says to each requirement; `confident` as in `read_requirements`."""
    results = []
    for requirement in requirements:
        score = requirement.score
        value = compared = score.value(evaluation)
        interval = None
        if value is not None and score.counts is not None:
            interval = wilson_interval(*score.counts(evaluation), evaluation.level)
            if confident:
                compared = interval[0 if requirement.operator.startswith(">") else 1]
        results.append(RequirementResult(requirement, value, interval, compared, evaluation.level))
    return tuple(results)


def as_dict(results: Sequence[RequirementResult]) -> dict[str, Any]:
    """What `--json` adds; nothing where nothing was required."""
    return {"requirements": [result.as_dict() for result in results]} if results else {}


def raise_if_missed(results: Iterable[RequirementResult]) -> None:
    """Raise `RequirementError` with a line for each requirement that is missed."""
    if problems := [result.as_problem() for result in results if not result.met]:
        raise RequirementError(problems)


def _read(text: str, classes: Sequence[str]) -> Requirement:
    where = f"--require {console.one_line(text)}"
    form = _FORM.fullmatch(text.strip())
    if form is None:
        message = f"needs a number of the evaluation and one of {', '.join(_OPERATORS)}"
        raise TlcliError(Problem(where, message, _EXAMPLE))
    of_class = _OF_CLASS.fullmatch(form["name"])
    if of_class:
        label = _find_class(of_class["label"], classes, where)
        metric = _find_metric(of_class["metric"], [*OF_ONE_CLASS], where, of_a_class=True)
        score = class_score(OF_ONE_CLASS[metric], label)
    else:
        label = None
        metric = _find_metric(form["name"], [*OVERALL], where)
        score = OVERALL[metric]
    bound = _read_bound(form["bound"], where, is_share=score.is_share)
    return Requirement(text, metric, label, form["operator"], bound, score)


def _find_class(written: str, classes: Sequence[str], where: str) -> str:
    """The class that is meant; quotes around its name may be left out, or belong to it."""
    quoted = _QUOTED.fullmatch(written.strip())
    for name in (written, written.strip(), quoted["text"] if quoted else written):
        if name in classes:
            return name
    shown = console.one_line(written.strip())
    message = f"'{shown}' is not a class of the run"
    raise TlcliError(Problem(where, message, suggestion(written, classes)))


def _find_metric(
    written: str, names: Sequence[str], where: str, *, of_a_class: bool = False
) -> str:
    """The name of a number by one of the ways to write it: log_loss, 'log loss', macro.f1."""
    by_words = {_words(name): name for name in names}
    if not of_a_class:
        by_words |= {alias: name for name in names for alias in OVERALL[name].aliases}
    if metric := by_words.get(_words(written)):
        return metric
    shown = console.one_line(written.strip())
    if of_a_class and _words(written) in {_words(name) for name in OVERALL}:
        message = f"there is no {shown} of one class"
    else:
        message = f"'{shown}' is no number of an evaluation"
    raise TlcliError(Problem(where, message, suggestion(written, names, most=len(names))))


def _words(name: str) -> str:
    return " ".join(re.split(r"[\s_.-]+", name.strip().casefold()))


def _read_bound(text: str, where: str, *, is_share: bool) -> float:
    """The number after the operator: 0.95, or 95%."""
    written = text.strip()
    try:
        bound = float(written.removesuffix("%")) / (100 if written.endswith("%") else 1)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        shown = f"'{console.one_line(written)}'" if written else "nothing"
        message = f"after the operator must be a number, found {shown}"
        raise TlcliError(Problem(where, message, _EXAMPLE))
    if is_share and not 0 <= bound <= 1:
        hint = f"write {bound / 100:g} or {bound:g}%" if 1 < bound <= 100 else "0 is none, 1 is all"
        message = "is a share, which lies between 0 and 1"
        raise TlcliError(Problem(where, message, hint))
    return bound


def _without_interval(requirement: Requirement) -> Problem:
    having = [name for name, score in OVERALL.items() if score.counts]
    having += ["precision[class]", "recall[class]"]
    return Problem(
        f"--require {console.one_line(requirement.text)}",
        f"--confident needs an interval, and {requirement.metric} has none",
        f"leave --confident out, or ask for one of {', '.join(having)}",
    )


def read_run_requirements(
    texts: Sequence[str], run: Run, *, confident: bool = False
) -> tuple[Requirement, ...]:
    """`read_requirements` with the classes of a run; a run is not looked at where there are none.

    Raises what that raises.
    """
    if not texts:
        return ()
    return read_requirements(texts, RunProbabilities(run).classes, confident=confident)
