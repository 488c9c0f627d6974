"""Copies within and across splits and labels, on indices made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.data import leakage
from tlcli.data.dataset import Index, Item

ROOT = Path("/data")


def index(*photos: str) -> Index:
    """'train/a/x.jpg=1': split, class and content."""
    items = []
    for photo in photos:
        name, content = photo.split("=")
        split, label, _ = name.split("/")
        items.append(Item(str(ROOT / name), "ab".index(label), split, content))  # type: ignore[arg-type]
    return Index(ROOT, ("a", "b"), tuple(items))


def lines(resolved: Index) -> list[str]:
    problems = [(finding.severity, finding.as_problem(ROOT)) for finding in resolved.findings]
    return [f"{severity}: {problem}" for severity, problem in problems]


LEAKY = index("train/a/1=x", "train/a/2=y", "val/a/3=x", "test/a/4=x", "test/b/5=z", "train/b/6=z")


def test_a_photo_in_two_splits_is_an_error():
    resolved = leakage.resolve_copies(LEAKY, "error")
    assert resolved.items == LEAKY.items
    assert lines(resolved) == [
        "error: /data: 3 photos: the same photo is in another split: train/a/1 (also test/a/4), "
        "val/a/3 (also test/a/4), train/b/6 (also test/b/5); "
        "delete one of each, or set data.duplicates=drop to train without them",
        "note: /data: a has 2.0 times as many training photos as b (2 and 1); "
        "always answering a is right for 50.0% of test; "
        "with fewer than 10 test photos, a (1), b (1) cannot be judged: for a, one right of "
        "one may mean anything from 21%; with class_weights: balanced, a photo of b counts 2.0 "
        "times as much as one of a; look at balanced accuracy, not at accuracy alone",
    ]


def test_copies_are_dropped_from_the_training_side():
    resolved = leakage.resolve_copies(LEAKY, "drop")
    assert [item.path.name for item in resolved.items] == ["2", "4", "5"]
    assert [finding.severity for finding in resolved.findings] == ["warning"]
    assert "and is dropped from this one: train/a/1 (also test/a/4)" in lines(resolved)[0]


@pytest.mark.parametrize("policy", ["error", "drop", "allow"])
def test_what_is_kept_is_what_settling_leaves(policy: leakage.Policy):
    kept = leakage.drop_copies(LEAKY, policy)
    assert kept.items == leakage.resolve_copies(LEAKY, policy).items
    assert kept.findings == ()


def test_copies_may_be_allowed():
    resolved = leakage.resolve_copies(LEAKY, "allow")
    assert resolved.items == LEAKY.items
    assert lines(resolved)[0].startswith("warning: /data: 3 photos: the same photo is in another")
    assert resolved.findings[0].paths == leakage.resolve_copies(LEAKY, "error").findings[0].paths


def test_one_photo_under_two_labels():
    resolved = leakage.resolve_copies(
        index("train/a/1=x", "train/b/2=x", "train/b/3=y", "test/a/4=z"), "error"
    )
    assert lines(resolved)[0] == (
        "warning: /data: 2 photos: the same photo has another label elsewhere: "
        "train/a/1 (also train/b/2), train/b/2 (also train/a/1); keep it only under the right one"
    )


def test_copies_in_one_class():
    resolved = leakage.resolve_copies(
        index("train/a/1=x", "train/a/2=x", "train/a/3=x", "train/b/4=y"), "drop"
    )
    assert len(resolved.items) == 4
    assert lines(resolved)[0] == (
        "note: /data: 2 photos: the same photo is in its class twice: "
        "train/a/2 (as train/a/1), train/a/3 (as train/a/1); "
        "copies count twice in training and in scores"
    )


@pytest.mark.parametrize(
    ("sizes", "severity"),
    [((10, 10), None), ((14, 10), None), ((15, 10), "note"), ((99, 10), "note"),
     ((100, 10), "warning")],
)  # fmt: skip
def test_imbalance(sizes: tuple[int, int], severity: str | None):
    photos = [
        f"train/{name}/{n}={name}{n}"
        for name, size in zip("ab", sizes, strict=True)
        for n in range(size)
    ]
    findings = leakage.resolve_copies(
        index(*photos, "val/b/1=v", "val/b/2=w", "val/a/3=u"), "error"
    ).findings
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    if severity:
        assert "always answering b is right for 66.7% of val" in findings[0].message


def test_nothing_is_found_in_sound_data():
    assert (
        leakage.resolve_copies(index("train/a/1=x", "train/b/2=y", "test/a/3=z"), "error").findings
        == ()
    )
