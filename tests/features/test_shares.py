"""Shares of the views: each batch of them is in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.features.shares import WHOLE, Share, parse_share
from tlcli.images.loader import View


def views(count: int) -> list[View]:
    return [View(Path(f"{number}.jpg")) for number in range(count)]


@pytest.mark.parametrize("total", [0, 1, 32, 33, 1000, 4096])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_every_batch_is_in_one_share(count: int, total: int):
    listed = views(total)
    batches = [listed[start : start + 32] for start in range(0, total, 32)]
    shares = [Share(number, count).select(listed) for number in range(1, count + 1)]
    assert [view for share in shares for view in share] == listed
    cut = [share[start : start + 32] for share in shares for start in range(0, len(share), 32)]
    assert cut == batches
    sizes = [-(-len(share) // 32) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_parts_of_shares_overlap_where_their_views_do():
    assert WHOLE.parts == range(2**32)
    halves, third = [Share(1, 2), Share(2, 2)], Share(2, 3)
    assert halves[0].parts.stop == halves[1].parts.start
    assert third.parts.start < halves[0].parts.stop < third.parts.stop


def test_a_share_is_read_as_it_is_written():
    assert parse_share("3/16") == Share(3, 16)
    assert str(parse_share(" 1/1 ")) == "1/1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b", "'a/b' is no share; write the third of sixteen as 3/16"),
        ("3", "'3' is no share; write the third of sixteen as 3/16"),
        ("-1/4", "'-1/4' is no share; write the third of sixteen as 3/16"),
        ("0/4", "shares of 4 are numbered from 1 to 4"),
        ("5/4", "shares of 4 are numbered from 1 to 4"),
        ("1/0", "there can be 1 to 100,000 shares, not 0"),
    ],
)
def test_what_is_no_share(text: str, message: str):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")) as raised:
        parse_share(text)
    assert str(raised.value) == message
