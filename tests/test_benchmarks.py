"""The arithmetic of the benchmarks: rounds, ratios, resuming, scaling."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tlcli.recipe.load import load_recipe

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import harness

    return harness


def test_sides_take_turns_and_a_stopped_benchmark_goes_on(harness, tmp_path: Path):
    options = harness.parser(None, rounds=3)
    arguments = options.parse_args(["--results", str(tmp_path)])
    turns: list[str] = []

    def side(name: str, *seconds: float):
        left = iter(seconds)

        def measure():
            turns.append(name)
            return {"s": next(left)}

        return measure

    bench = harness.Bench.open("demo", {"size": 1}, arguments)
    with pytest.raises(StopIteration):  # the third turn of `slow` fails
        bench.run({"fast": side("fast", 1, 2, 4), "slow": side("slow", 4, 6)}, 3)
    assert turns == ["fast", "slow", "slow", "fast", "fast", "slow"]

    again = harness.Bench.open("demo", {"size": 1}, arguments)
    again.run({"fast": side("fast"), "slow": side("slow", 8)}, 3)
    assert again.values("slow", "s") == [4, 6, 8]
    ratio = again.ratio("s", "slow", "fast")
    assert (ratio.value, ratio.pairs) == (3.0, [4.0, 3.0, 2.0])
    assert str(ratio) == "3.00 (2.00 to 4.00)"

    assert harness.Bench.open("demo", {"size": 2}, arguments).rounds == []
    assert json.loads((tmp_path / "demo.json").read_text())["settings"] == {"size": 1}


def test_a_turn_of_tlcli_has_a_recipe(harness, tmp_path: Path):
    from versus_keras import recipe_text

    path = tmp_path / "recipe.yaml"
    text = recipe_text(
        data=tmp_path, base="VGG16", weights="random", size=64, hidden="256, 128", dropout=0.5,
        views=2, stages="  - {name: head, epochs: 3}",
    )  # fmt: skip
    path.write_text(text)
    recipe = load_recipe(path)
    assert (recipe.precision, recipe.head.hidden, recipe.augment.views) == ("auto", (256, 128), 2)
    assert [stage.name for stage in recipe.stages] == ["head"]


def test_a_child_that_fails_ends_the_benchmark_with_its_words(harness):
    ran = harness.child([sys.executable, "-c", "print(6 * 7)"])
    assert ran.stdout == "42\n" and ran.seconds > 0 and ran.peak > 1_000_000
    with pytest.raises(SystemExit, match="no such thing"):
        harness.child([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_photos_are_taken_in_proportion(harness, tmp_path: Path):
    for split, number in (("train", 20), ("val", 8), ("test", 4)):
        for name in ("cats", "dogs"):
            (tmp_path / "all" / split / name).mkdir(parents=True)
            for i in range(number):
                (tmp_path / "all" / split / name / f"{i}.jpg").touch()
    take = harness.some_photos
    assert take(tmp_path / "all", tmp_path / "half", 20) == {"train": 20, "val": 8, "test": 4}
    assert take(tmp_path / "all", tmp_path / "whole", 0) == {"train": 40, "val": 16, "test": 8}


def test_scaling_multiplies_what_photos_and_epochs_cost_and_nothing_else(harness):
    from versus_keras import scaled

    measured = {
        "setup": 7.0, "extract": 10.0, "head first": 5.0, "head epoch": 2.0,
        "tune first": 9.0, "tune epoch": 6.0,
    }  # fmt: skip
    head = 7 + 4 * 10 + (5 - 2) + 30 * 4 * 2
    tune = (9 - 6) + 30 * 4 * 6
    assert scaled(measured, 4.0, 30) == {"head": head, "tune": tune, "both": head + tune}
