"""What a column of a table is probably for, by its name and by its values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tlcli.data.folders import is_photo
from tlcli.data.splits import SplitName, split_values, words_of
from tlcli.errors import nearest

# Other names of the columns, in lower case and without anything but letters and digits.
_ALIASES = {
    "path": frozenset(
        {"paths", "file", "files", "filename", "filenames", "filepath", "fname", "name", "names"}
        | {"image", "images", "imagefile", "imagefilename", "imagename", "imagepath", "imageid"}
        | {"img", "imgid", "imgname", "imgpath", "photo", "photos", "photoid", "photopath"}
        | {"picture", "id", "ids", "fileid"}
    ),
    "label": frozenset(
        {"labels", "labelname", "class", "classes", "classname", "category", "target", "targets"}
        | {"breed", "species", "diagnosis", "dx", "tags", "groundtruth"}
    ),
    "split": frozenset(
        {"splits", "subset", "set", "partition", "fold", "folds", "kfold", "phase", "usage"}
        | {"datasplit", "splitset", "setid"}
    ),
    "group": frozenset({"groups"}),
}

# Words in the name of a column whose photos belong together if they have the same value.
_GROUP_WORDS = frozenset(
    {"group", "groups", "patient", "subject", "person", "participant", "individual", "identity"}
    | {"animal", "case", "study", "series", "session", "sequence", "seq", "video", "clip", "burst"}
    | {"scene", "event", "visit", "track", "tracklet", "specimen", "slide", "lesion", "donor"}
    | {"owner", "family", "cluster", "recording"}
)

# How near to a column's name a misspelt one is; at less, 'site' would be near to 'split'.
_NEAR = 0.75

# Of a column that may be a group by its values alone: so many values, of so few photos each.
_MANY_VALUES, _FEW_PHOTOS = 10, 20


def likely_use(name: str, uses: Sequence[str]) -> str | None:
    """Which of `uses` (path, label, split, group) a column is for, by its name; None if none."""
    word = _letters(name)
    alias = next((use for use in uses if word in _ALIASES[use]), None)
    if not alias and "group" in uses and _names_group(name):
        return "group"
    return alias or (nearest(word, uses, cutoff=_NEAR) if word else None)


def has_column_words(names: Sequence[str]) -> bool:
    """Whether one of the names is a common one of a column of paths or labels."""
    words = set(map(_letters, names))
    return not words.isdisjoint({"label"} | _ALIASES["path"] | _ALIASES["label"])


def _letters(name: str) -> str:
    """'Group ID', 'group_id' and 'groupId' alike: groupid."""
    return "".join(filter(str.isalnum, name)).lower()


def _names_group(name: str) -> bool:
    words = words_of(name)
    words += [word.removesuffix("id") for word in words]  # patientid
    return not _GROUP_WORDS.isdisjoint(words)


def _names_identity(name: str) -> bool:
    """Whether the name is that of numbers of things: `dog_id`, `houseID`, `uuid`."""
    return re.search(r"(?<![A-Za-z])u?u?ids?$|[a-z]ID$", name.lower()) is not None


def guess_columns(columns: Mapping[str, Sequence[str]], uses: Sequence[str]) -> dict[str, str]:
    """The names of columns by what they are for: path, label and split, as far as can be told.

    Args:
        columns: the values of each column, by its name.
        uses: what is looked for.
    """
    guesses: dict[str, str] = {}
    left = dict(columns)
    for use in uses:
        likely = [name for name in left if likely_use(name, [use]) and use != "split"]
        likely += [name for name, values in left.items() if _suits(use, name, values)]
        if not likely and use != "split" and len(left) == 1:
            likely = [*left]
        if likely:
            guesses[use] = likely[0]
            del left[likely[0]]
    return guesses


def _suits(use: str, name: str, values: Sequence[str]) -> bool:
    """Whether a column is one of paths, labels or splits by its values."""
    if use == "path":
        return sum(is_photo(Path(value)) for value in values) > len(values) / 2
    if use == "label":
        return 0 < len(set(values)) <= len(values) / 2 and not count_splits(name, values)
    return use == "split" and bool(count_splits(name, values))


def count_splits(name: str, values: Sequence[str]) -> dict[SplitName, int]:
    """The lines of each split, if the values of a column name two or more; {} otherwise."""
    meanings = split_values(name)
    counts: Counter[SplitName] = Counter()
    numbers = Counter(value.strip().lower() for value in values)
    for value, number in numbers.items():
        if value in meanings:
            counts[meanings[value]] += number
    filled = numbers.total() - numbers[""]
    return dict(counts) if len(counts) > 1 and counts.total() > filled / 2 else {}


def shared_values(name: str, values: Sequence[str], labels: Sequence[str]) -> set[str]:
    """The values that several photos share, if a column looks like a group; none otherwise.

    One that is named after people, animals, films and the like does, and one of other name if its
    many values are of a few photos each, which always have the same label. A column that follows
    from the label does not: it is another name of the class, or a coarser one.
    """
    numbers = Counter(value for value in values if value)
    shared = {value for value, number in numbers.items() if number > 1}
    if len(numbers) < 2 or not shared:
        return set()
    labels_of, values_of = defaultdict(set), defaultdict(set)
    for value, label in zip(values, labels, strict=True):
        labels_of[value].add(label)
        values_of[label].add(value)
    if all(len(several) == 1 for several in values_of.values()):
        return set()
    if likely_use(name, ["group"]):
        return shared
    mostly = sum(numbers[value] for value in shared) >= numbers.total() / 2
    if mostly and _names_identity(name):
        return shared
    few = median(numbers[value] for value in shared) <= _FEW_PHOTOS
    many = len(shared) >= max(_MANY_VALUES, 2 * len(values_of))
    pure = all(len(labels_of[value]) == 1 for value in shared)
    return shared if mostly and few and many and pure else set()
