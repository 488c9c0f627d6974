"""The splits of photos, and the words that people use for them in tables and names of folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

SplitName = Literal["train", "val", "test"]

#: Words for the splits, in lower case.
SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}

_YES = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_NO = frozenset({"false", "f", "no", "n", "0", "0.0"})


def split_values(column: str) -> Mapping[str, SplitName]:
    """What the values of a column, in lower case, say of the split.

    In a column that is named after one split, such as `is_valid`, so do true and false. A photo
    that is not in val or test is in train; one that is not in train is in test, where it can do no
    harm.
    """
    words = dict(SPLIT_WORDS)
    words |= {f"{word}{gap}set": split for word, split in SPLIT_WORDS.items() for gap in "_- "}
    words |= {f"{word}set": split for word, split in SPLIT_WORDS.items()}
    if split := _split_of_flag(column):
        words |= dict.fromkeys(_YES, split)
        words |= dict.fromkeys(_NO, "test" if split == "train" else "train")
    return words


def is_yes_or_no(value: str) -> bool:
    """Whether a value, in lower case, is one of true and false, or one of 0 and 1."""
    return value in _YES or value in _NO


def read_yes_or_no(value: str) -> bool | None:
    """What a value, in lower case, says; None where it is neither yes nor no in any spelling."""
    return True if value in _YES else False if value in _NO else None


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `isTest` and `is_test` give is, test."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def _split_of_flag(column: str) -> SplitName | None:
    """The split that a column of true and false is named after: `is_valid`, `isTest`, `train`."""
    words = words_of(column)
    if len(words) == 1:  # isvalid
        words = [words[0].removeprefix("is").removeprefix("in")]
    splits = {SPLIT_WORDS[word.removesuffix("set")] for word in words
              if word.removesuffix("set") in SPLIT_WORDS}  # fmt: skip
    return splits.pop() if len(splits) == 1 else None
