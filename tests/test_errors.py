"""The exception tree, and how problems are worded."""

from __future__ import annotations

import pytest

from tlcli import errors
from tlcli.errors import DataError, Problem, RecipeError, TlcliError, nearest, reason, suggestion


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("seed", "found 'x'"), "seed: found 'x'"),
        (Problem("seed", "found 'x'", "must be a number"), "seed: found 'x'; must be a number"),
        (Problem("", "no place"), "no place"),
        (Problem("a\nb.jpg", "bad\r\nfile"), "a\\nb.jpg: bad\\r\\nfile"),
        (
            Problem("s3:/b/a.jpg", "like gs:/b/c", "see 's3:/d'"),
            "s3://b/a.jpg: like gs://b/c; see 's3://d'",
        ),
        (Problem("s3://b", "is C:/b, /bin:/lib, its3:/b"), "s3://b: is C:/b, /bin:/lib, its3:/b"),
    ],
)
def test_a_problem_is_one_line(problem: Problem, line: str):
    assert str(problem) == line


def test_a_problem_as_json():
    assert Problem("here", "found", "do", "warning").as_dict() == {
        "severity": "warning",
        "where": "here",
        "message": "found",
        "hint": "do",
    }


def test_an_error_tells_all_its_problems():
    error = RecipeError(Problem(key, "wrong") for key in ("a", "b"))
    assert str(error) == "a: wrong\nb: wrong"
    assert [problem.where for problem in error.problems] == ["a", "b"]
    assert RecipeError(Problem("a", "wrong")).problems == (Problem("a", "wrong"),)


def test_the_tree_is_the_one_drawn_at_the_top():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    own = {kind for kind in kinds if issubclass(kind, Exception)}
    assert {kind.__name__: kind.__bases__[0].__name__ for kind in own} == {
        "TlcliError": "Exception",
        "RecipeError": "TlcliError",
        "DataError": "TlcliError",
        "ImageError": "DataError",
        "WeightsError": "TlcliError",
        "BoundaryError": "TlcliError",
        "StoreError": "TlcliError",
        "RunError": "TlcliError",
        "RequirementError": "TlcliError",
    }
    assert all(f" {kind.__name__} " in str(errors.__doc__) for kind in own)
    assert issubclass(DataError, TlcliError)


@pytest.mark.parametrize(
    ("name", "allowed", "expected"),
    [
        ("resnet50", ["VGG16", "ResNet50"], "ResNet50"),
        ("droput", ["hidden", "dropout"], "dropout"),
        ("xyz", ["hidden", "dropout"], None),
        ("", ["a"], None),
        ("a", [], None),
    ],
)
def test_nearest(name: str, allowed: list[str], expected: str | None):
    assert nearest(name, allowed) == expected


def test_suggestion():
    allowed = ["alpha", "beta", "gamma"]
    assert suggestion("betta", allowed) == "did you mean 'beta'? (allowed: alpha, beta, gamma)"
    assert suggestion("xyz", allowed) == "allowed: alpha, beta, gamma"
    assert suggestion("xyz", allowed, most=2) == "allowed: alpha, beta, ..."


def test_reason_is_one_line():
    assert reason(FileNotFoundError(2, "No such file or directory", "a")) == (
        "no such file or directory"
    )
    assert reason(ValueError("two\n  lines")) == "two lines"
    assert reason(KeyError()) == "KeyError"
    assert reason(OSError("plain words")) == "plain words"
