"""A cheap check of everything that a run needs, before anything is spent: all problems at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from tlcli.data import audit_cache, dataset, findings, leakage
from tlcli.data.dataset import Index
from tlcli.data.findings import Finding
from tlcli.data.hashing import DigestCache
from tlcli.data.split_file import KnownSplits
from tlcli.data.unlabelled import index_unlabelled
from tlcli.errors import Problem, TlcliError, suggestion
from tlcli.images import decode
from tlcli.images.bit_depth import Depth
from tlcli.networks.bases import BASES
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weights import WeightSource, find_weights
from tlcli.recipe.advice import advise
from tlcli.recipe.problems import check_fine_tuning
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.create import check_output
from tlcli.system import files
from tlcli.training.parent import Parent, check_photos, find_parent

Value = TypeVar("Value")


@dataclass(frozen=True)
class Preflight:
    """The parts of a run, checked before anything is spent, and every problem with them.

    Attributes:
        cache: the folder of the feature store and of fetched weights.
        problems: those of the recipe, the machine and the layout of the data. What is wrong with
            photos is among the findings of the index.
        index: the photos; None where there are none to read.
        source: where the weights come from; None where they cannot be had.
        run_folder: where the run is going to be, or the folder above; None where none is made.
        parent: the run that training starts from, if it starts from one.
    """

    recipe: Recipe
    cache: Path
    problems: tuple[Problem, ...]
    index: Index | None
    source: WeightSource | None
    run_folder: Path | None = None
    parent: Parent | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with photos."""
        return self.index.findings if self.index else ()

    @property
    def all_problems(self) -> list[Problem]:
        """Problems and findings, each in a line."""
        root = self.index.root if self.index else self.recipe.data.source
        return [*self.problems, *(finding.as_problem(root) for finding in self.findings)]

    @property
    def errors(self) -> list[Problem]:
        """The problems and findings that keep a run from starting."""
        return [problem for problem in self.all_problems if problem.severity == "error"]


def preflight(
    recipe: Recipe,
    *,
    cache: Path | None = None,
    access: WeightsAccess | None = None,
    out: Path | None = None,
    force: bool = False,
    examine: Callable[[Index], Index] | None = None,
    digests: DigestCache | None = None,
    unlabelled: Path | None = None,
    run: bool = True,
    repeated: bool = False,
    recorded: KnownSplits | None = None,
) -> Preflight:
    """Collect every problem of data, weights, settings and folders; raises none of them.

    Of each photo the header is read; `examine` looks closer, returning the index without photos
    that cannot be used and with its findings. `digests` has the hashes of files that have not
    changed. `unlabelled` is a folder of photos to take instead of the recipe's, for extraction
    alone. `out` and `force` are those of a run; without `run` none is going to be made, and
    `start_from` does not count; `repeated` is one from the record of another. `recorded` are splits
    that photos have had in a run, and keep. Without `access` the environment says how weights may
    be had.
    """
    folder = files.cache_folder(cache)
    problems = [*advise(recipe)]
    place = (out or directory.runs_root()) if run else None
    problems += check_output(out, force=force) if run else ()
    problems += check_fine_tuning(recipe) if run and not repeated else ()
    problems += _check_cache(folder)
    if not run and recipe.start_from is not None:
        problems.append(_begins_with_base(recipe))
        recipe = recipe.from_base()
    parent = _attempt(lambda: find_parent(recipe))
    earlier = parent.value.known if parent.value and recorded is None else None
    headers = decode.HeaderCheck()
    look = None if examine else headers
    index = _attempt(
        lambda: (
            index_unlabelled(unlabelled, look)
            if unlabelled is not None
            else dataset.build_index(recipe.data, digests, recorded, earlier, look)
        )
    )
    source = _attempt(lambda: _find_weights(recipe, folder, access, parent.value))
    problems += [*parent.problems, *index.problems, *source.problems]
    problems += source.value.notes if source.value else ()
    if index.value is None:
        return Preflight(recipe, folder, tuple(problems), None, source.value, place)
    named = _gather_names(index.value, skip=_skips_unusable(recipe))
    flawed = headers.problems
    usable = examine(named) if examine else _without_unusable(named, flawed, recipe, folder)
    problems += named.notes
    if not unlabelled:
        usable = leakage.resolve_copies(usable, recipe.data.duplicates)
        problems += [*_check_class_weights(recipe, usable), *check_validation(recipe, usable)]
        lost = check_classes(named, usable)
        usable = replace(usable, findings=(*usable.findings, *lost))
        problems += check_photos(parent.value, recipe, usable) if parent.value else ()
    return Preflight(recipe, folder, tuple(problems), usable, source.value, place, parent.value)


def _begins_with_base(recipe: Recipe) -> Problem:
    """The note that a command which makes no run does not start from another.

    A network that has seen the photos would tell more of them than it may know.
    """
    what = "is not used here, where everything begins with the base"
    return Problem(recipe.where("start_from"), what, severity="note")


def check_classes(before: Index, after: Index) -> list[Finding]:
    """Classes that have lost all their photos of a split to unreadable or dropped ones.

    Without training photos that is an error, and a warning in a split that others still fill. A
    class that had none before is not among them: that was said when the photos were indexed.
    """
    lost, counts_before = [], before.counts()
    for split, left in after.counts().items():
        names = [name for name in after.classes if counts_before[split][name] and not left[name]]
        finding = Finding(
            "lost class", "warning", f"no photo left in {split}, so no score covers it",
            "add some, or repair them", noun="class", names=tuple(f"'{name}'" for name in names),
        )  # fmt: skip
        if split == "train":
            what = "no readable training photo"
            finding = replace(finding, severity="error", message=what, hint="repair some")
        if names and (split == "train" or any(left.values())):
            lost.append(finding)
    return lost


@dataclass(frozen=True)
class _Attempt(Generic[Value]):
    """The value of a piece of work, or the problems that kept it from having one."""

    value: Value | None
    problems: tuple[Problem, ...] = ()


def _attempt(work: Callable[[], Value]) -> _Attempt[Value]:
    try:
        return _Attempt(work())
    except TlcliError as error:
        return _Attempt(None, tuple(error.problems))


def _find_weights(
    recipe: Recipe, cache: Path, access: WeightsAccess | None, parent: Parent | None
) -> WeightSource | None:
    if recipe.start_from is not None:
        return parent.weights() if parent else None
    base, where = recipe.base, recipe.where("base", "weights")
    access = access or WeightsAccess.from_options()
    return find_weights(BASES[base.name], base.weights, where, access, cache)


def _skips_unusable(recipe: Recipe) -> bool:
    return recipe.data.on_bad_image == "skip"


def _without_unusable(
    index: Index, flawed: Mapping[Path, Problem], recipe: Recipe, cache: Path
) -> Index:
    unusable = _unusable_photos(index, flawed, cache, recipe.data.depth)
    return dataset.drop_unusable(index, unusable, skip=_skips_unusable(recipe))


def _unusable_photos(
    index: Index, flawed: Mapping[Path, Problem], cache: Path, depth: Depth | None
) -> list[tuple[Path, Problem]]:
    """Photos whose header is damaged, and those that an earlier `check` could not decode."""
    # Few photos have a flaw, and to make a path of each of a million takes seconds.
    places = set(map(str, flawed))
    problems = {item.path: flawed[item.path] for item in index.items if item.file in places}
    known = audit_cache.load_unusable(cache, depth)
    for item in index.items:
        if (inspection := known.get(item.digest)) and item.path not in problems:
            problems[item.path] = inspection.problem(item.path)
    return [*problems.items()]


def _gather_names(index: Index, *, skip: bool) -> Index:
    """The index with one finding about files whose names are no text, instead of a note each."""
    notes, misnamed = findings.separate_misnamed(index.notes, skip=skip)
    return replace(index, notes=tuple(notes), findings=(*index.findings, *misnamed))


def _check_class_weights(recipe: Recipe, index: Index) -> Iterator[Problem]:
    for number, stage in enumerate(recipe.stages):
        if not isinstance(stage.class_weights, dict):
            continue
        where = recipe.where("stages", number, "class_weights")
        if unknown := [name for name in stage.class_weights if name not in index.classes]:
            what = "is not a class" if len(unknown) == 1 else "are no classes"
            hint = suggestion(unknown[0], index.classes)
            yield Problem(where, f"{_quote(unknown)} {what}", hint)
        missing = [name for name in index.classes if name not in stage.class_weights]
        if missing:
            yield Problem(where, f"no weight for {_quote(missing)}", "name every class")


def _quote(names: Sequence[str]) -> str:
    """The first of some names in quotes, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[: findings.MAX_NAMED])
    more = len(names) - findings.MAX_NAMED
    return shown + (f" and {more:,} more" if more > 0 else "")


def check_validation(recipe: Recipe, index: Index) -> Iterator[Problem]:
    """Settings that watch the validation photos where there are none."""
    if index.of("val"):
        return
    for number, stage in enumerate(recipe.stages):
        if stage.early_stopping:
            where = recipe.where("stages", number, "early_stopping")
            yield Problem(where, "there are no validation photos to watch", "set data.split.val")
        if stage.average:
            where = recipe.where("stages", number, "average")
            yield Problem(where, "there are no validation photos to judge by", "set data.split.val")
        if stage.schedule.name == "plateau":
            where = recipe.where("stages", number, "schedule")
            yield Problem(where, "there are no validation photos to watch", "set data.split.val")


def _check_cache(folder: Path) -> list[Problem]:
    folder = files.nearest_existing(folder)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    hint = "name another folder with --cache-dir or TLCLI_CACHE"
    return [Problem(str(folder), "the feature store cannot be written here", hint)]
