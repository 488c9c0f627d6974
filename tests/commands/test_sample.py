"""`tlcli sample`: how many photos it wrote."""

from __future__ import annotations


def test_sample(cli):
    assert cli("sample", "digits").stdout == "1,797 photos in digits\n"
