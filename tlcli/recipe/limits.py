"""The largest and smallest numbers that a recipe may hold.

They stand alone, because importing the blocks of a recipe takes longer than a prediction.
"""

from __future__ import annotations

#: The largest numbers that make sense; beyond them a recipe is a mistake or an attack. What the
#: machine has memory for is less, and `plan` says so.
MAX_UNITS, MAX_SIDE, MAX_EPOCHS = 1_000_000_000, 4_096, 100_000

#: Bits that a photo in a file of 16 may use.
MIN_DEPTH, MAX_DEPTH = 8, 16
