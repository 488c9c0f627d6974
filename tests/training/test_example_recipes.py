"""Example recipes whose pretrained weights were not at hand when their results were measured.

They train from random weights here: every stage, boundary, optimizer and schedule of theirs runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.recipe.load import load_recipe
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

EXAMPLES = Path(__file__).parents[2] / "examples/configs"

#: Each with the pixels of its input here.
SIZES = {"resnet50": 32, "inception_v3": 75, "plain_folder": 32}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_an_example_trains_from_random_weights(name: str, plain_photos: Path, tmp_path: Path):
    recipe = load_recipe(EXAMPLES / f"{name}.yaml")
    changes = {
        "data.dir": str(plain_photos), "data.split.file": str(tmp_path / "split.csv"),
        "base.weights": "random", "base.image_size": SIZES[name], "augment.views": 1,
        **{f"stages.{number}.epochs": 2 for number in range(len(recipe.stages))},
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in changes.items()]
    plan = make_plan(preflight(load_recipe(EXAMPLES / f"{name}.yaml", words)))
    summary = train(plan).summary
    assert [stage.name for stage in summary.stages] == [stage.name for stage in recipe.stages]
    assert all(stage.epochs == 2 for stage in summary.stages)
