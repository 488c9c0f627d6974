"""A cheap look at everything a run needs, before anything is spent: every problem at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.data import audit, audit_cache, dataset, findings, leakage
from tlcli.data.dataset import Index
from tlcli.data.findings import Finding
from tlcli.data.hashing import DigestCache
from tlcli.errors import Problem, TlcliError, nearest
from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weights import WeightSource, find_weights
from tlcli.recipe.advice import advice
from tlcli.recipe.recipe import Recipe
from tlcli.runs.create import check_output
from tlcli.system import files


@dataclass
class Preflight:
    """What a cheap look at everything a run needs has found.

    `problems` are those of the recipe, the machine and the layout of the data; the findings of the
    index are about photos.
    """

    recipe: Recipe
    cache: Path
    problems: list[Problem]
    index: Index | None = None
    source: WeightSource | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with photos."""
        return self.index.findings if self.index else ()

    @property
    def told(self) -> list[Problem]:
        """Problems and findings, each in a line."""
        root = self.index.root if self.index else self.recipe.data.source
        return [*self.problems, *(finding.as_problem(root) for finding in self.findings)]

    @property
    def errors(self) -> list[Problem]:
        """The problems and findings that keep a run from starting."""
        return [problem for problem in self.told if problem.severity == "error"]


def preflight(
    chosen: Recipe,
    *,
    cache: Path | None = None,
    access: WeightsAccess | None = None,
    out: Path | None = None,
    force: bool = False,
    examine: Callable[[Index], Index] | None = None,
    digests: DigestCache | None = None,
    unlabelled: Path | None = None,
    run: bool = True,
) -> Preflight:
    """Collect every problem of data, weights, settings and folders; raises none of them.

    Of each photo the header is read; `examine` looks closer, returning the index without photos
    that cannot be used and with its findings. `digests` has the hashes of files that have not
    changed. `unlabelled` is a folder of photos to take instead of the recipe's, for extraction
    alone. `out` and `force` are those of a run; without `run` none is going to be made. Without
    `access` the environment says how weights may be had.
    """
    problems = advice(chosen)
    if run:
        problems += check_output(out, force=force)
    found = Preflight(chosen, files.cache_folder(cache), problems)
    problems += _check_cache(found.cache)
    if unlabelled is not None:
        found.index = _collect(problems, lambda: dataset.index_unlabelled(unlabelled))
    else:
        found.index = _collect(problems, lambda: dataset.build_index(chosen.data, digests))
    where = chosen.where("base", "weights")
    found.source = _collect(
        problems,
        lambda: find_weights(
            BASES[chosen.base.name],
            chosen.base.weights,
            where,
            access or WeightsAccess.from_options(),
            found.cache,
        ),
    )
    problems += found.source.notes if found.source else ()
    if found.index is not None:
        skip = chosen.data.on_bad_image == "skip"
        found.index = _gather_names(found.index, skip=skip)
        problems += found.index.notes
        gathered = found.index
        if examine is not None:
            found.index = examine(found.index)
        else:
            bad = _unusable(found.index, found.cache)
            found.index = dataset.drop_unusable(found.index, bad, skip=skip)
        if not unlabelled:
            found.index = leakage.resolve_copies(found.index, chosen.data.duplicates)
            problems += _check_class_weights(chosen, found.index)
            problems += check_validation(chosen, found.index)
            problems += check_classes(gathered, found.index)
    return found


def check_classes(before: Index, after: Index) -> list[Problem]:
    """Classes that have lost all their photos of a split to unreadable or dropped ones.

    Without training photos that is an error, and a warning in a split that others still fill. Of a
    class that had none before, whoever gathered them has told.
    """
    found, root = [], str(after.root)
    had = before.counts()
    for split, left in after.counts().items():
        for name in after.classes:
            if left[name] or not had[split][name]:
                continue
            if split == "train":
                what = f"class '{name}' has no readable training photo"
                found.append(Problem(root, what, "repair some"))
            elif any(left.values()):
                what = f"class '{name}' has no photo left in {split}, so no score covers it"
                found.append(Problem(root, what, "add some, or repair them", "warning"))
    return found


def _collect(problems: list[Problem], work: Callable[[], Any]) -> Any:
    try:
        return work()
    except TlcliError as error:
        problems += error.problems
        return None


def _unusable(index: Index, cache: Path) -> list[tuple[Path, Problem]]:
    """Photos whose header is damaged, and those that an earlier `check` could not decode."""
    bad = dict(audit.check_photos([item.path for item in index.items], decode.sniff))
    known = audit_cache.load_unusable(cache)
    for item in index.items:
        if item.path not in bad and (look := known.get(item.digest)):
            bad[item.path] = look.problem(item.path)
    return [*bad.items()]


def _gather_names(index: Index, *, skip: bool) -> Index:
    """The index with one finding about files whose names are no text, instead of a note each."""
    notes, found = findings.separate_misnamed(index.notes, skip=skip)
    return replace(index, notes=tuple(notes), findings=(*index.findings, *found))


def _check_class_weights(chosen: Recipe, index: Index) -> Iterator[Problem]:
    for number, stage in enumerate(chosen.stages):
        if not isinstance(stage.class_weights, dict):
            continue
        where = chosen.where("stages", number, "class_weights")
        for name in stage.class_weights:
            if name not in index.classes:
                near = nearest(name, index.classes)
                hint = f"did you mean '{near}'?" if near else f"classes: {', '.join(index.classes)}"
                yield Problem(where, f"'{name}' is not a class", hint)
        missing = [name for name in index.classes if name not in stage.class_weights]
        if missing:
            yield Problem(where, f"no weight for {', '.join(missing)}", "name every class")


def check_validation(chosen: Recipe, index: Index) -> Iterator[Problem]:
    """Settings that watch the validation photos where there are none."""
    if index.of("val"):
        return
    for number, stage in enumerate(chosen.stages):
        if stage.early_stopping:
            where = chosen.where("stages", number, "early_stopping")
            yield Problem(where, "there are no validation photos to watch", "set data.split.val")
        if stage.schedule.name == "plateau":
            where = chosen.where("stages", number, "schedule")
            yield Problem(where, "there are no validation photos to watch", "set data.split.val")


def _check_cache(folder: Path) -> list[Problem]:
    folder = files.nearest_existing(folder)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    hint = "name another folder with --cache-dir or TLCLI_CACHE"
    return [Problem(str(folder), "the feature store cannot be written here", hint)]
