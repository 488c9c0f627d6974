"""Shares of the photos: each photo is in one of them, by its hash alone."""

from __future__ import annotations

import hashlib

import pytest

from tlcli.features.shares import HASHES, WHOLE, Share, parse_share
from tlcli.images.loader import View

DIGESTS = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(2000)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_every_photo_is_in_one_share(count: int):
    shares = [Share(number, count) for number in range(1, count + 1)]
    edges = [share.hashes.start for share in shares] + [HASHES]
    assert [share.hashes.stop for share in shares] == edges[1:]
    assert edges[0] == 0
    sizes = [sum(map(share.has, DIGESTS)) for share in shares]
    assert sum(sizes) == 2000
    assert all(sum(share.has(digest) for share in shares) == 1 for digest in DIGESTS)
    assert max(sizes) < 1.4 * 2000 / count  # 4 standard deviations for 16 shares


def test_the_ends_of_the_hashes_are_in_the_first_and_the_last_share():
    assert Share(1, 3).has("0" * 64)
    assert Share(3, 3).has("f" * 64)


def test_views_of_a_share_keep_their_order():
    views = [View(d, d, n) for d in DIGESTS[:50] for n in (0, 1)]
    halves = [Share(1, 2).select(views), Share(2, 2).select(views)]
    assert sorted(halves[0] + halves[1], key=views.index) == views
    assert halves[0] == [view for view in views if int(view.digest[0], 16) < 8]
    assert WHOLE.select(views) == views


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
