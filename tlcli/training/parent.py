"""Starting from the network of an earlier run: for more photos, and for more classes.

The base has the weights that the run has left, and of the head all but what new classes need. A
photo that the run had stays in its split, so that no score is of photos that were learned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlcli.data.dataset import Index
from tlcli.data.findings import relative_name
from tlcli.data.split_file import KnownSplits, read_split_file
from tlcli.errors import Problem, RunError, nearest
from tlcli.networks.bases import BASES
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weights import WeightSource
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto, read_known_splits, read_recipe, read_split
from tlcli.runs.model_file import open_model, read_card
from tlcli.system.console import counted, one_line

if TYPE_CHECKING:
    from tlcli.networks.network import Network

Array = npt.NDArray[Any]

#: Settings that decide the shapes of a network and the pixels it takes.
_SAME = (
    ("base", "name"),
    ("base", "image_size"),
    ("base", "resize"),
    ("head", "pooling"),
    ("head", "hidden"),
    ("head", "multi_layer"),
)

_WITHOUT = "leave --from out to begin with the base"


@dataclass(frozen=True)
class Parent:
    """A finished run that training starts from.

    Attributes:
        classes: that its model knows, in the order of the outputs.
        photos: that it was trained and tested on.
        known: their splits.
    """

    run: Run
    recipe: Recipe
    classes: tuple[str, ...]
    photos: tuple[RecordedPhoto, ...]
    known: KnownSplits

    @property
    def name(self) -> str:
        """Of the run."""
        return one_line(self.run.path.resolve().name)

    def weights(self) -> WeightSource:
        """Its model as the source of the weights of the base; a `WeightsError` if it is damaged."""
        path = self.run.file(directory.MODEL)
        row = BASES[self.recipe.base.name]
        read_weights(path, row, str(path), f"{self.name} has")
        return WeightSource("file", path)

    def growth(self, index: Index) -> Growth:
        """How the photos of an index differ from those of the run."""
        then = {photo.sha256: photo.label for photo in self.photos}
        now = {item.digest: index.classes[item.label] for item in index.items}
        return Growth(
            self.name,
            self.classes,
            tuple(name for name in index.classes if name not in self.classes),
            sum(item.digest not in then for item in index.items),
            len(then.keys() - now.keys()),
            sum(then.get(digest, label) != label for digest, label in now.items()),
        )


@dataclass(frozen=True)
class Growth:
    """What has come to the photos of a run since.

    Attributes:
        run: its name.
        classes, new_classes: those that it knows, and others.
        new: photos that it has not had.
        gone: photos that it had, which are there no more.
        relabelled: photos that it had, with another label now.
    """

    run: str
    classes: tuple[str, ...]
    new_classes: tuple[str, ...]
    new: int
    gone: int
    relabelled: int

    def text(self) -> str:
        """A line of a plan."""
        parts = [f"{counted(self.new, 'new photo')}"]
        parts += [f"{self.gone:,} gone"] if self.gone else []
        parts += [f"{self.relabelled:,} with another label"] if self.relabelled else []
        named = ", ".join(map(one_line, self.new_classes[:8]))
        named += ", ..." if len(self.new_classes) > 8 else ""
        parts += [f"new classes: {named}"] if self.new_classes else []
        return f"starts from: {self.run}; {', '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """The form in `finetune --dry-run --json`."""
        return {
            "run": self.run,
            "new_classes": list(self.new_classes),
            "photos": {"new": self.new, "gone": self.gone, "relabelled": self.relabelled},
        }


def find_parent(recipe: Recipe) -> Parent | None:
    """The run that a recipe starts from, if it starts from one.

    Raises a `TlcliError` where there is no finished run, or where it has another base, head or size
    than the recipe: all that differ.
    """
    if recipe.start_from is None:
        return None
    where = recipe.where("start_from")
    if not directory.is_run(recipe.start_from):
        hint = "bring it back, or name another run"
        raise RunError(Problem(where, f"no such run: {recipe.start_from}", hint))
    run = Run(recipe.start_from)
    if not run.finished:
        hint = "finish it, or name another run"
        raise RunError(Problem(where, f"the run {run.path} did not finish", hint))
    own = read_recipe(run)
    classes = tuple(map(str, read_card(run.file(directory.MODEL))["classes"]))
    parent = Parent(run, own, classes, read_split(run), read_known_splits(run))
    if problems := [*_different_settings(parent, recipe)]:
        raise RunError(problems)
    return parent


def _different_settings(parent: Parent, recipe: Recipe) -> Iterator[Problem]:
    for block, key in _SAME:
        then, now = (getattr(getattr(each, block), key) for each in (parent.recipe, recipe))
        if then != now:
            what = f"is {_shown(now)}, and of the run that training starts from {_shown(then)}"
            hint = f"set {block}.{key}={_shown(then)}, or {_WITHOUT}"
            yield Problem(recipe.where(block, key), what, hint)


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def check_photos(parent: Parent, recipe: Recipe, index: Index) -> Iterator[Problem]:
    """Problems of the photos: classes that are lost, and photos that have changed their split."""
    yield from _lost_classes(parent, recipe, index)
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in parent.photos:
        splits[photo.sha256].add(photo.split)
    moved: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for item in index.items:
        then = splits.get(item.digest, {item.split})
        if item.split not in then:
            moved[min(then), item.split].append(item.path)
    for (before, now), paths in moved.items():
        number, name = counted(len(paths), "photo"), relative_name(paths[0], index.root)
        what = f"{number} of {before} of {parent.name} in {now} now, such as {name}"
        hint = "a photo stays in its split, or scores would be of photos that were learned: put "
        hint += f"them back, or {_WITHOUT}"
        yield Problem(str(index.root), what, hint)
    yield from _other_split_file(parent, recipe, index)


def _lost_classes(parent: Parent, recipe: Recipe, index: Index) -> Iterator[Problem]:
    new = [name for name in index.classes if name not in parent.classes]
    for name in parent.classes:
        if name in index.classes:
            continue
        what = f"there is no class '{name}' any more, which {parent.name} knows"
        renamed = nearest(name, new) or (new[0] if len(new) == 1 else None)
        hint = f"if '{renamed}' is its new name, give it the old one" if renamed else ""
        hint = f"{hint}; otherwise {_WITHOUT}" if hint else f"bring its photos back, or {_WITHOUT}"
        yield Problem(str(index.root), one_line(what), one_line(hint))


def _other_split_file(parent: Parent, recipe: Recipe, index: Index) -> Iterator[Problem]:
    """A problem where the split file contradicts the run, whose split counts."""
    file = recipe.data.split.file
    if file is None or not file.is_file():
        return
    known = read_split_file(file).known
    differing = [
        name
        for item in index.items
        if item.divided
        and (name := relative_name(item.path, index.root))
        and known.find(item.digest, name) not in (None, item.split)
    ]
    if differing:
        photos = counted(len(differing), "photo")
        what = f"{photos} in another split than in {parent.name}, such as {differing[0]}"
        yield Problem(str(file), what, f"undo the change, or {_WITHOUT}")


def continue_head(network: Network, parent: Parent, classes: Sequence[str]) -> None:
    """Give the head of a network the weights of the run's, and columns of their own to new classes.

    An output belongs to a class by its name. New classes keep what a new head is drawn with.
    """
    from tlcli.networks.heads import LOGITS, NORMALIZED

    path = parent.run.file(directory.MODEL)
    saved = open_model(path, read_card(path))
    for layer in network.head.layers:
        if not layer.weights or layer.name == NORMALIZED:
            continue
        values = saved.get_layer(layer.name).get_weights()
        if layer.name == LOGITS:
            values = [
                carry_columns(old, new, parent.classes, classes)
                for old, new in zip(values, layer.get_weights(), strict=True)
            ]
        layer.set_weights(values)


def carry_columns(old: Array, new: Array, before: Sequence[str], after: Sequence[str]) -> Array:
    """The columns of an output layer, (..., outputs): those of `old` for classes that it knows.

    `before` are the classes of `old`, `after` those of `new`; none of `before` is missing there.
    Two classes have one output z, the logit of the second: a softmax of -z/2 and z/2 is the same.
    """
    if len(after) == 2:
        return old if list(before) == list(after) else -old
    if len(before) == 2:
        old = np.concatenate([-old / 2, old / 2], axis=-1)
    carried = new.copy()
    for number, name in enumerate(before):
        carried[..., after.index(name)] = old[..., number]
    return carried
