"""Whatever is in a recipe file, it loads or its problems are told by line and key."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcli.errors import RecipeError
from tlcli.recipe.augment import Augment
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import Base, Data, Head
from tlcli.recipe.stage_settings import Stage
from tlcli.system import files

WORDS = sorted(
    {*Recipe.model_fields}
    | {*Data.model_fields, *Base.model_fields, *Head.model_fields}
    | {*Augment.model_fields, *Stage.model_fields}
    | {"patience", "val", "test", "decay", "warmup_epochs", "momentum", "min_delta"}
)  # fmt: skip
MEANT = [
    "VGG16",
    "imagenet",
    "random",
    "block4_pool",
    "avg",
    "live",
    "adam",
    "cosine",
    "balanced",
    "head",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(MEANT),
    st.integers(-(10**4_000), 10**4_000),
)
keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=8), st.integers(), st.none())
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=25,
)

PROPER = {
    "data": {"dir": "photos"},
    "base": {"name": "VGG16", "weights": "random", "image_size": 64},
    "head": {"hidden": [8]},
    "augment": {"views": 2, "rotation_range": 20},
    "stages": [
        {"name": "head", "epochs": 2, "optimizer": {"name": "sgd", "momentum": 0.9}},
        {"name": "top", "freeze_until": "block4_pool", "schedule": "cosine", "early_stopping": 3},
    ],
}


@st.composite
def nearly_proper(draw: st.DrawFn) -> Any:
    """A recipe with some of its values, somewhere, replaced."""
    made = yaml.safe_load(yaml.safe_dump(PROPER))
    for _ in range(draw(st.integers(1, 3))):
        target: Any = made
        while True:
            places = list(target) if isinstance(target, dict) else list(range(len(target)))
            if isinstance(target, dict) and draw(st.integers(0, 5)) == 0:
                places.append(draw(keys))
            if not places:
                break
            place = draw(st.sampled_from(places))
            inner = target.get(place) if isinstance(target, dict) else target[place]
            if isinstance(inner, dict | list) and draw(st.booleans()):
                target = inner
                continue
            target[place] = draw(trees)
            break
    return made


def check(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    try:
        loaded = load_recipe(path)
        again = path.with_name("again.yaml")
        files.write_text(again, loaded.as_yaml())
        reloaded = load_recipe(again)
        assert reloaded.resolved() == loaded.resolved()
        assert reloaded.fingerprint() == loaded.fingerprint()
    except RecipeError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.where.startswith(path.name), problem
            assert problem.message
            assert "\n" not in str(problem)
            assert "Traceback" not in str(problem)


def as_text(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


@given(tree=st.one_of(trees, nearly_proper(), nearly_proper()))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_random_trees(tree: Any, tmp_path: Path):
    check(tmp_path / "fuzz.yaml", as_text(tree))


@pytest.mark.slow
@given(tree=st.one_of(trees, nearly_proper(), nearly_proper()))
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_random_trees(tree: Any, tmp_path: Path):
    check(tmp_path / "fuzz.yaml", as_text(tree))


@pytest.mark.parametrize("count", [300, pytest.param(5_000, marks=pytest.mark.slow)])
def test_mutilated_text(tmp_path: Path, count: int):
    """Bytes of a proper recipe dropped, doubled, swapped and replaced."""
    proper = as_text(PROPER)
    draw = random.Random(1)
    for _ in range(count):
        text = bytearray(proper)
        for _ in range(draw.randint(1, 6)):
            at, end = sorted(draw.randrange(len(text)) for _ in range(2))
            end = min(end, at + 12)
            match draw.randrange(4):
                case 0:
                    del text[at:end]
                case 1:
                    text[at:at] = text[at:end] * draw.randint(1, 3)
                case 2:
                    text[at : at + 1] = draw.choice(
                        [b"&a ", b"*a", b"!!x", b"\t", b"{", b"]", b": ", b"!!int 0x", b"\xc2\x85"]
                    )
                case _:
                    text[at:end] = draw.randbytes(end - at)
            text = text or bytearray(b"x")
        check(tmp_path / "fuzz.yaml", bytes(text))


@pytest.mark.parametrize("depth", [50, 5_000, 100_000])
def test_deep_nesting(tmp_path: Path, depth: int):
    check(tmp_path / "fuzz.yaml", b"data: " + b"[" * depth + b"]" * depth)
    check(tmp_path / "fuzz.yaml", b"".join(b" " * n + b"a:\n" for n in range(min(depth, 400))))


def test_aliases_that_explode(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 12)]
    check(tmp_path / "fuzz.yaml", "\n".join(lines).encode())
    check(tmp_path / "fuzz.yaml", b"data: &d\n  dir: *d\n")


TAGGED = ["!!int 0x" + "f" * 5_000, "!!int 0b" + "1" * 20_000, "!!int 1" + ":1" * 5_000,
          "!!float 1" + ":1" * 5_000, "!!int " + "9" * 4_000, "9" * 4_000, "1" + "_1" * 4_000,
          "!!binary aaaa", "!!set {a}", "!!timestamp 2000-01-01", "1e999", "-1e999"]  # fmt: skip
PLACES = [
    "seed: @", "batch_size: @", "name: @", "head: {l2: @}", "head: {hidden: [@]}",
    "augment: {views: @}", "augment: {rotation_range: @, views: 1}",
    "stages: [{name: head, epochs: @}]", "stages: [{name: head, class_weights: {a: @}}]",
    "stages: [{name: head, schedule: {name: plateau, patience: @}}]",
    "stages: [{name: head, early_stopping: {patience: 3, min_delta: @}}]",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_number_is_too_large_for_what_follows(tmp_path: Path, place: str):
    """Not for the fingerprint, the file in the run, or the message that refuses it."""
    for written in TAGGED:
        text = f"data: {{dir: x}}\nbase: {{name: VGG16}}\n{place.replace('@', written)}\n"
        check(tmp_path / "fuzz.yaml", text.encode())


@pytest.mark.parametrize("place", ["head", "stages", "data", "augment.rotation_range", "name"])
def test_long_text_that_is_repeated_takes_no_memory(tmp_path: Path, place: str):
    text = "x: &a " + "x" * 60_000 + "\n" + place + ": [" + ", ".join(["*a"] * 2_500) + "]\n"
    tracemalloc.start()
    try:
        check(tmp_path / "fuzz.yaml", text.encode())
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "count", [1_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (9_900, 9_950)), 9_999]
)
def test_what_loads_is_kept_in_a_form_that_loads(tmp_path: Path, count: int):
    weights = "".join(f"      c{number}: 1\n" for number in range(count))
    text = (
        "data: {dir: photos}\nbase: {name: VGG16, weights: random}\n"
        f"stages:\n  - name: head\n    class_weights:\n{weights}"
    )
    check(tmp_path / "fuzz.yaml", text.encode())
    if count == 1_000:
        assert load_recipe(tmp_path / "fuzz.yaml")
