"""A run that several processes train: they meet, compare what they were given, and train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlcli.cluster.addresses import Workers
from tlcli.cluster.group import Group
from tlcli.cluster.meeting import meet
from tlcli.errors import Problem, RunError
from tlcli.runs.directory import names_run, places_of
from tlcli.runs.fingerprints import compute_fingerprints
from tlcli.runs.run_settings import flatten, is_place, short_text
from tlcli.system import console, signals

if TYPE_CHECKING:
    from tlcli.training.plan import Plan

#: Settings that are named, of those that differ.
MOST_NAMED = 5


@contextmanager
def joined(workers: Workers) -> Iterator[Group]:
    """The group of the workers; what ends this one in the block, ends all.

    Raises what `meet` raises.
    """
    with signals.interruptible():
        group = meet(workers)
    with group:
        yield group


def find_run_on_all(group: Group, which: str | None) -> None:
    """Raise `RunError` on all workers unless each has the run of --resume, or none has the option.

    Every worker reads the splits of its photos from the run, of which it may have a copy.
    """
    problems = []
    everything = group.exchange([which, None if which is None else _look_for(which)])
    (first, _) = everything[0]
    for number, (other, looked) in enumerate(everything):
        if looked:
            what = f"has no run {looked}"
            hint = "copy the folder of the run to that machine, or give all workers a --runs-dir "
            hint += "that all can read"
            problems.append(Problem(group.name(number), what, hint))
        elif (other is None) != (first is None):
            what = f"has {_shown(other)}; worker 0 has {_shown(first)}"
            hint = "give --resume to all workers, or to none"
            problems.append(Problem(group.name(number), what, hint))
    if problems:
        raise RunError(problems)


def _look_for(which: str) -> str | None:
    """Where a run was looked for and is not; None where it is."""
    if names_run(which):
        return None
    looked = " and ".join(dict.fromkeys(str(path.absolute()) for path in places_of(which)))
    return f"{which} (looked for {looked})"


def _shown(which: str | None) -> str:
    return "no --resume" if which is None else f"--resume {which}"


def make_same_plan(group: Group, make: Callable[[], Plan]) -> Plan:
    """The plan of this worker, once all have made theirs.

    Raises `RunError` on all workers for recipes or photos that differ, and what `make` raises.
    """
    plan = make()
    recipe = plan.recipe
    if recipe.chooses_precision:  # worker 0 does; what this machine would choose is no difference
        recipe = recipe.with_precision("auto")
    prints = compute_fingerprints(recipe, plan.index)
    settings = flatten(recipe.resolved())
    identity = {
        "settings": {key: value for key, value in settings.items() if not is_place(key)},
        "photos": len(plan.index.items),
        **prints,
    }
    everything = group.exchange(identity)
    problems = [
        Problem(group.name(number), what, "all workers need the same recipe and photos")
        for number, other in enumerate(everything)
        for what in _differences(everything[0], other)
    ]
    if problems:
        raise RunError(problems)
    return plan


def _differences(first: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """How the recipe and the photos of a worker differ from those of worker 0."""
    wanted, given = first["settings"], other["settings"]
    changed = sorted(k for k in wanted.keys() | given.keys() if wanted.get(k) != given.get(k))
    for key in changed[:MOST_NAMED]:
        yield f"has {key} {short_text(given.get(key))}; worker 0 has {short_text(wanted.get(key))}"
    if len(changed) > MOST_NAMED:
        yield f"has {console.counted(len(changed) - MOST_NAMED, 'more setting')} of its own"
    if changed:
        return  # the split of the photos may follow from them
    if first["photos"] != other["photos"]:
        yield f"has {console.counted(other['photos'], 'photo')}; worker 0 has {first['photos']:,}"
    elif first["dataset_fingerprint"] != other["dataset_fingerprint"]:
        yield "has photos with other bytes, classes or splits than worker 0"
    elif first["photo_order"] != other["photo_order"]:
        yield "has photos with other names than worker 0, which puts them in another order"
    elif first["recipe_fingerprint"] != other["recipe_fingerprint"]:
        yield "has another recipe than worker 0"
