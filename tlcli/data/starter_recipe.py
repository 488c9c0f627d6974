"""`tlcli init`: write a starter recipe for a folder of photos."""

from __future__ import annotations

import os
from pathlib import Path

from tlcli.data import dataset
from tlcli.data.dataset import Index
from tlcli.errors import Problem, RecipeError
from tlcli.networks import bases
from tlcli.recipe.recipe import plain_name
from tlcli.recipe.settings import Data
from tlcli.system.console import one_line
from tlcli.system.files import write_text
from tlcli.system.yamlfile import quote_scalar

#: With more training photos than this, views of them buy little and cost as much as ever.
ENOUGH_PHOTOS = 5_000


def write_starter(
    folder: Path, *, out: Path | None = None, base: str = "VGG16", force: bool = False
) -> Path:
    """Write a commented recipe for the photos in `folder`; returns its path.

    Raises `DataError` for a folder that cannot be trained on, and `RecipeError` where the file is
    there already or the base is unknown.
    """
    row = bases.lookup(base)
    if row is None:
        raise RecipeError(bases.unknown_base(base, "--base"))
    index = dataset.read_index(Data(dir=folder.absolute()))
    name = plain_name(folder.absolute().name)
    path = out or Path(f"{name}.yaml")
    if path.exists() and not force:
        raise RecipeError(Problem(str(path), "exists", "name another with --out, or use --force"))
    write_text(path, _text(index, row, name, path))
    return path


def _text(index: Index, row: bases.PretrainedBase, name: str, path: Path) -> str:
    counts = index.counts()
    photos = {split: sum(by_class.values()) for split, by_class in counts.items()}
    # Relative to the recipe where that is short, so that folder and recipe can move together.
    relative = os.path.relpath(index.root, path.absolute().parent)
    folder = str(index.root) if relative.startswith("../../..") else relative
    classes = ", ".join(index.classes[:6]) + (", ..." if len(index.classes) > 6 else "")
    views = 0 if photos["train"] > ENOUGH_PHOTOS else 3
    lines = [
        f"# {len(index.classes)} classes ({_comment(classes)}): {photos['train']:,} photos to "
        f"train on, {photos['val']:,} to validate, {photos['test']:,} to test.",
        f"# Check:  tlcli check --config {_comment(path.name)}",
        f"# Train:  tlcli finetune --config {_comment(path.name)}",
        "",
        "seed: 0                     # of the head's weights, dropout and order",
        "data:",
        f"  dir: {quote_scalar(folder)}",
        "  split: {val: 0.15, test: 0.15}   # used if the folder has no val or test of its own",
        "  on_bad_image: error       # or skip: leave out unreadable photos and name them",
        "base:",
        f"  name: {row.name}",
        "  weights: imagenet         # or the path of a weights file",
        f"  image_size: {row.native_size}           # {row.smallest_size} or more",
        "  resize: squash            # or crop (cut the sides), pad (add borders)",
        "head:",
        "  pooling: avg              # or max, flatten",
        "  hidden: [256]             # units of each hidden layer; [] for none",
        "  dropout: 0.5",
        "augment:                    # random views of the training photos",
        f"  views: {views}                  # kept in the feature store; or live",
        "  rotation_range: 20        # degrees in both directions",
        "  width_shift_range: 0.1    # fraction of the width",
        "  height_shift_range: 0.1",
        "  zoom_range: 0.1",
        "  horizontal_flip: true     # not for letters, digits or left and right hands",
        "stages:",
        "  - {name: head, epochs: 30, learning_rate: 1.0e-3, early_stopping: 8}",
    ]
    if row.default_boundary:
        lines.append(
            f"  - {{name: fine-tune, freeze_until: {row.default_boundary}, epochs: 30, "
            "learning_rate: 1.0e-5, early_stopping: 8}"
        )
    return "\n".join([*lines, "batch_size: 32", ""])


def _comment(text: str) -> str:
    """Text that stays on its comment line."""
    return one_line(text)
