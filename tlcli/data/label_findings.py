"""Names of classes that may not mean what they say: words for 'no label', and names alike.

They are names of class folders or labels of a table; nothing here looks at photos.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping

from tlcli.data.findings import Finding
from tlcli.data.unclear_labels import find_unclear_labels
from tlcli.system.console import counted

# Words for 'no label', in lower case and without anything but letters.
_NO_LABEL = frozenset(
    {"na", "nan", "none", "null", "nil", "nolabel", "nolabels", "noclass", "unlabeled"}
    | {"unlabelled", "notlabeled", "notlabelled", "unlabel", "unannotated", "unassigned"}
    | {"unclassified", "uncategorized", "uncategorised", "unsorted", "unspecified", "unknown"}
    | {"undefined", "missing", "notavailable", "notapplicable", "tbd", "todo"}
    | {"misc", "miscellaneous"}
)

_NO_LABEL_SIGNS = frozenset({"-", "--", "---", "?", "??", "???", ".", "..."})

# A name is taken for a misspelt one only if it is that long and that much rarer than the other.
_SPELT, _RARER = 5, 20

_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\s_.-]+(?=\d)")
_BETWEEN_WORDS = re.compile(r"(?<=[^\W\d_])[\s_.-]+(?=[^\W_])|(?<=[^\W_])[\s_.-]+(?=[^\W\d_])")
_ACCENTS = re.compile("[\u0300-\u036f]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)


def find_label_flaws(counts: Mapping[str, int], where: str, noun: str) -> Iterator[Finding]:
    """A finding for each kind of doubtful name.

    Args:
        counts: the photos of each class.
        where: the folder of the class folders, or the table.
        noun: what the names are names of, `class folder` or `label`.
    """
    same = _pair(counts, lambda name: [_fold(name)])
    if same:
        what = "has the name of another but for letter case, spaces or accent encoding"
        yield _pairs(same, Finding("same name", "error", what, "merge or rename them"), where, noun)
    different = {name: number for name, number in counts.items() if name not in same}
    alike = {**_misspelt(different), **_pair(different, _likenesses)}
    if alike:
        what = "looks like the name of another, but tlcli does not merge them"
        hint = "if they are one class, give them one name"
        yield _pairs(alike, Finding("similar name", "warning", what, hint), where, noun)
    if empty := [name for name in sorted(counts) if _means_no_label(name, counts)]:
        what = "looks like a word for 'no label', but tlcli does not leave it out"
        yield Finding(
            "no label",
            "warning",
            what,
            "it is a class like any other, unless you remove its photos from the data",
            details=tuple(counted(counts[name], "photo") for name in empty),
            noun=noun,
            names=tuple(f"'{name}'" for name in empty),
            where=where,
        )
    yield from find_unclear_labels(counts, where, noun)
    yield from _number_order(sorted(counts), where)


def _pairs(alike: Mapping[str, str], finding: Finding, where: str, noun: str) -> Finding:
    """The finding about names that are each like another."""
    return Finding(
        finding.kind, finding.severity, finding.message, finding.hint,
        details=tuple(f"like '{alike[name]}'" for name in sorted(alike)),
        noun=noun,
        names=tuple(f"'{name}'" for name in sorted(alike)),
        where=where,
    )  # fmt: skip


def _pair(
    counts: Mapping[str, int], keys: Callable[[str], Collection[str]], rarer: int = 1
) -> dict[str, str]:
    """Every name that shares a key with one of at least `rarer` times as many photos, with that."""
    owners: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        for key in keys(name):
            owner = owners.setdefault(key, name)
            if owner != name and counts[owner] >= rarer * counts[name]:
                pairs.setdefault(name, owner)
    return pairs


def _fold(name: str) -> str:
    """The name without letter case, outer and repeated spaces, and characters without a shape."""
    shown = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
    return " ".join(unicodedata.normalize("NFC", shown).casefold().split())


def _likenesses(name: str) -> set[str]:
    """Keys that a name shares with those that a person takes for the same.

    `golden-retriever` and `Golden_retriever`, `cafe` and `café`, `cat` and `cats`, `1` and `01`.
    """
    folded = _fold(name)
    if _NUMBER.fullmatch(folded):
        return {"number " + (folded.partition(".")[0].lstrip("+0") or "0") + _decimals(folded)}
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", folded))
    word = _BETWEEN_WORDS.sub("", _BETWEEN_DIGITS.sub("-", plain))
    keys = {word}
    if word[:-1].isalpha() and len(word) > 3:
        keys |= {word.removesuffix("s"), word.removesuffix("es")}
        keys |= {word.removesuffix("ies") + "y"} if word.endswith("ies") else set()
    return keys


def _decimals(number: str) -> str:
    decimals = number.partition(".")[2].rstrip("0")
    return f".{decimals}" if decimals else ""


def _misspelt(counts: Mapping[str, int]) -> dict[str, str]:
    """Rare names that differ from a frequent one in a single letter, left out, added or other."""
    long = {name: number for name, number in counts.items() if len(name) >= _SPELT}
    return _pair(
        {name: number for name, number in long.items() if not any(map(str.isdigit, name))},
        lambda name: {name[:cut] + name[cut + 1 :] for cut in range(len(name))} | {name},
        _RARER,
    )


def _means_no_label(name: str, names: Collection[str]) -> bool:
    if name.strip() in _NO_LABEL_SIGNS:
        return "+" not in names  # where the classes are + and -
    return "".join(filter(str.isalnum, name)).casefold() in _NO_LABEL


def _number_order(names: Collection[str], where: str) -> Iterator[Finding]:
    """A note where names that are numbers are not sorted by their value."""
    numeric = [name for name in names if name.isdecimal()]
    by_value = sorted(numeric, key=_value)
    first = next((pair for pair in zip(numeric, by_value, strict=True) if pair[0] != pair[1]), None)
    if first:
        what = f"numeric class names are sorted as text: '{first[0]}' comes before '{first[1]}'"
        hint = "pad them with zeros to sort them by value"
        yield Finding("number order", "note", what, hint, where=where)


def _value(name: str) -> tuple[int, str]:
    """A key that sorts digits of any script by value; `int` takes at most 4,300 digits."""
    digits = "".join(str(unicodedata.decimal(digit)) for digit in name).lstrip("0")
    return len(digits), digits
