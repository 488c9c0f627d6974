"""Findings: which files a fix list names, and why."""

from __future__ import annotations

from pathlib import Path

from tlcli.data.findings import Finding, files_to_exclude


def test_the_fix_list_has_every_reason_once():
    near = Finding("near-duplicate across splits", "warning", "y", paths=(Path("b"), Path("c")))
    flat = Finding("flat", "warning", "x", paths=(Path("a"), Path("b")))
    turned = Finding("turned", "note", "z", paths=(Path("d"),))
    assert files_to_exclude([near, flat, turned]) == {
        Path("a"): "flat",
        Path("b"): "flat",
        Path("c"): "near-duplicate across splits",
    }
