"""Test-time augmentation: the views of a photo over which a run's probabilities are averaged.

They are those of the run's recipe: only its author knows which changes leave the class the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.errors import Problem, RunError
from tlcli.runs.directory import RECIPE, Run
from tlcli.runs.inputs import read_recipe

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment


def read_tta_settings(run: Path) -> Augment:
    """The augmentation of the recipe in a run's folder.

    Raises `RunError` where no recipe lies there, or its views do not differ from the photos.
    """
    path = run / RECIPE
    if not path.is_file():
        message = f"test-time augmentation needs the {RECIPE} of the run beside the model"
        hint = "name the run directory with --run, or leave --tta out"
        raise RunError(Problem(str(run), message, hint))
    augment = read_recipe(Run(run)).augment
    if not augment.changes_pixels:
        message = "no setting of `augment` changes a photo, so there are no views to average over"
        raise RunError(Problem(str(path), message, "leave --tta out"))
    return augment
