"""The colours of charts, the same in pictures and on pages, and one for each series."""

from __future__ import annotations

from typing import NamedTuple


class ChartColour(NamedTuple):
    """A colour as `#rrggbb`: on white paper, and on a page in a dark colour scheme."""

    light: str
    dark: str


#: Okabe and Ito's blue and vermilion, which everybody can tell apart, and a green.
BLUE = ChartColour("#0072b2", "#86b6f5")
ORANGE = ChartColour("#d55e00", "#f0a272")
GREEN = ChartColour("#24705a", "#7fcbb0")

#: The colour of each kind of `chart_data.Series`.
SERIES = {"train": BLUE, "val": ORANGE, "rate": GREEN}
