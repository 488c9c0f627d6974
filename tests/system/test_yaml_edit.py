"""One value of a YAML text changes, and no other character."""

from __future__ import annotations

import pytest

from tlcli.system.yaml_edit import set_value

KEY = ("stages", 1, "rate")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("stages:\n- {rate: 1}\n- {rate: 1e-3, b: 2}  # why\n",
         "stages:\n- {rate: 1}\n- {rate: 2.0e-05, b: 2}  # why\n"),
        ("# top\nstages:\n  - a: 1\n  - name: x   # the name\n    rate:   0.001   # old\n\nz: 1",
         "# top\nstages:\n  - a: 1\n  - name: x   # the name\n    rate:   2.0e-05   # old\n\nz: 1"),
        ("stages: [{a: 1}, {name: 'x, y', c: [1]}]",
         "stages: [{a: 1}, {name: 'x, y', rate: 2.0e-05, c: [1]}]"),
        ("stages:\n  - a: 1\n  - name: x  # why\n    # of b\n    b: 2\n",
         "stages:\n  - a: 1\n  - name: x  # why\n    rate: 2.0e-05\n    # of b\n    b: 2\n"),
        ("stages:\r\n  - a: 1\r\n  - name: x\r\n    b: 2\r\n",
         "stages:\r\n  - a: 1\r\n  - name: x\r\n    rate: 2.0e-05\r\n    b: 2\r\n"),
        ("stages:\n  - a: 1\n  - name: x", "stages:\n  - a: 1\n  - name: x\n    rate: 2.0e-05"),
        ("stages:\n  - a: 1\n  - rate:\n    b: 2\n",
         "stages:\n  - a: 1\n  - rate: 2.0e-05\n    b: 2\n"),
        ("stages:\n  - a: 1\n  - opt: {c: 1}\n    name: x\n",
         "stages:\n  - a: 1\n  - opt: {c: 1}\n    name: x\n    rate: 2.0e-05\n"),
        ("s: &n 1\nstages: [{a: 1}, {rate: '0.1', b: *n}]",
         "s: &n 1\nstages: [{a: 1}, {rate: 2.0e-05, b: *n}]"),
        ("é: ü\nstages: [{a: 1}, {ß: 'ñ', rate: 1}]",
         "é: ü\nstages: [{a: 1}, {ß: 'ñ', rate: 2.0e-05}]"),
    ],
)  # fmt: skip
def test_the_value_alone_changes(before: str, after: str):
    assert set_value(before, KEY, 2e-5) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: x\n",
        "stages: [{rate: 1}]\n",
        "stages: {1: {rate: 1}}\n",
        "s: &r 0.1\nstages: [{a: 1}, {rate: *r}]\n",
        "stages: [{a: 1}, {rate: &r 0.1}]\nother: *r\n",
        "stages: [&s {rate: 0.1}, *s]\n",
        "stages: [{a: 1}, &s {rate: 0.1}]\nother: *s\n",
        "stages: [{a: 1}, {rate: [1, 2]}]\n",
        "stages: [{a: 1}, {b: [1, 2]}]\n",
        "stages: [{a: 1}, {rate: 1}\n",
    ],
)
def test_what_would_change_more_is_left(text: str):
    assert set_value(text, KEY, 2e-5) is None
