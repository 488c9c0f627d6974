"""What the tests of the feature store share."""

from __future__ import annotations

import pytest
from builders.stores import OPENED


@pytest.fixture(autouse=True)
def close_opened():
    """Close what a test leaves open; closing twice is fine."""
    yield
    while OPENED:
        OPENED.pop().close()
