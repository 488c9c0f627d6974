"""Labels that are no names of one class each: several in one, and numbers to predict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from tlcli.data.findings import Finding
from tlcli.system.console import counted

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)

# What stands between several labels and in no name, and what may stand in a name as well.
_SEPARATORS, _DOUBTFUL = ("|", ";", "\n"), (",", "/", "+", "&", " and ")

# Words between spaces are taken for labels only where so many labels have half as many words.
_COMBINATIONS = 20

# Numbers are taken for names of classes if there are fewer, or, whole ones, with more photos each.
_MEASURES, _WHOLE_MEASURES, _FEW_PHOTOS = 5, 20, 10

# Photos that a class needs, one for each split.
_CLASS = 3


def find_unclear_labels(counts: Mapping[str, int], where: str, noun: str) -> Iterator[Finding]:
    """A finding for labels that look like several in one, and one for numbers to predict.

    Args:
        counts: the photos of each class.
        where: the folder of the class folders, or the table.
        noun: what the labels are names of, `class folder` or `label`.
    """
    if _are_measures(counts):
        some = ", ".join(f"'{label}'" for label in sorted(counts)[:3])
        what = f"{counted(len(counts), noun)} look like numbers to predict ({some}, ...), but "
        what += "tlcli takes each for a class of its own and does not know which are near to each "
        what += "other"
        hint = "put them into a few ranges with names, such as low and high: tlcli does no "
        hint += "regression"
        # With so few photos each they cannot be classes, and an error says why no run starts.
        few = sum(counts.values()) < _CLASS * len(counts)
        yield Finding("numbers to predict", "error" if few else "warning", what, hint, where=where)
    elif several := _find_several(counts):
        what = "looks like several labels in one, but tlcli gives each photo one class"
        hint = "it is a class of its own, apart from its parts; write the one label that matters"
        yield Finding(
            "several labels", "warning", what, hint,
            details=tuple(counted(counts[label], "photo") for label in several),
            noun=noun,
            names=tuple(f"'{label}'" for label in several),
            where=where,
        )  # fmt: skip


def _are_measures(counts: Mapping[str, int]) -> bool:
    """Whether the labels are numbers of which a network should tell which is larger.

    Fractions are, and whole numbers with gaps between them and few photos each: those of classes
    mostly follow each other.
    """
    # A comma stands for the decimal point in all labels or in none.
    by_comma = all("," in label for label in counts)
    numbers = [
        _value(label)
        for label in counts
        if _NUMBER.fullmatch(label.strip()) and (by_comma or "," not in label)
    ]
    if len(numbers) < _MEASURES or len(numbers) < 0.95 * len(counts):
        return False
    if any(number % 1 for number in numbers):
        return True
    photos = sum(counts.values()) / len(counts)
    apart = (max(numbers) - min(numbers) + 1) / len(set(numbers))
    return len(numbers) >= _WHOLE_MEASURES and photos < _FEW_PHOTOS and apart > 2


def _value(label: str) -> float:
    return float(label.strip().replace(",", "."))


def _parts(label: str, separators: Sequence[str]) -> list[str]:
    for separator in separators:
        label = label.replace(separator, "\n")
    parts = (part.strip(" []{}'\"").casefold() for part in label.split("\n"))
    return [part for part in parts if part]


def _is_list(label: str) -> bool:
    """Whether a label is written as a program writes a list: `['cat', 'dog']`."""
    text = label.strip()
    return len(text) > 2 and (text[0] + text[-1]) in ("[]", "{}")


def _combinations(labels: Collection[str]) -> set[str]:
    """Labels of several words, where all labels are made of few: `clear primary road`.

    Names of two words each, such as `red apple` and `green pear`, are not taken for that.
    """
    words = {label: set(_parts(label, " ")) for label in labels}
    vocabulary = {word for several in words.values() for word in several}
    numbers = set(map(len, words.values()))
    if len(words) < _COMBINATIONS or 2 * len(vocabulary) > len(words) or len(numbers) < 3:
        return set()
    return {label for label, several in words.items() if len(several) > 1}


def _find_several(labels: Collection[str]) -> list[str]:
    """The labels that look like several in one, sorted: `cat|indoor`, `['cat', 'dog']`.

    Commas and the like are in names too: there each part must be, or be in, another label.
    """
    parts = {label: _parts(label, _SEPARATORS) for label in labels}
    several = {label for label, words in parts.items() if len(words) > 1 or _is_list(label)}
    for separator in _DOUBTFUL:
        parts = {label: _parts(label, (separator,)) for label in labels}
        owners = Counter(word for words in parts.values() for word in set(words))
        several |= {
            label
            for label, words in parts.items()
            if len(words) > 1 and all(owners[word] > 1 for word in words)
        }
    return sorted(several or _combinations(labels))
