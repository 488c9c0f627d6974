"""What the name of a folder says: that of a split, of all photos, of what was drawn on photos.

People name the same thing in many ways: `train`, `Training_Set`, `seg_train`, `train2017`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from tlcli.data.splits import SPLIT_WORDS, SplitName

_LETTERS = re.compile(r"[^\W\d_]+")

# Words beside that of a split which say nothing more.
_FILLER = (
    "sets?|data|datasets?|images?|imgs?|photos?|pictures?|pics?|folders?|dir|splits?|parts?|"
    "seg|cropped|crops?|resized|original|raw|full|jpe?g|png|the|my|v"
)
_SPLIT = re.compile(
    f"(?:{_FILLER})*({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?:{_FILLER})*"
)

# Of a folder that holds the photos of a whole data set.
_PHOTOS = re.compile(
    "(all|raw|rgb|colou?r|original|jpe?g|png|input)?(images?|imgs?|photos?|pictures?|pics?|frames?)"
    "|jpe?gs?|data|datasets?|rgb|inputs?"
)

# Of a folder that holds what is known of each photo: masks, boxes, lists.
_ANNOTATIONS = re.compile(
    ".*(annotations?|annots?|masks?|trimaps?|groundtruths?|bbox(es)?|boundingbox(es)?)"
    "|.*segmentations?|segmentation(class|object)|imagesets?|gts?|xmls?|jsons?|labels?|keypoints?"
    "|meta|metadata|imdb|attributes?|parts|targets?|outputs?"
)

# Those of them that hardly anything else is called.
_ONLY_ANNOTATIONS = re.compile(
    ".*annotations?|.*annots?|trimaps?|groundtruths?|bbox(es)?|boundingbox(es)?|imagesets?|xmls?"
    "|jsons?|.*segmentations?|segmentation(class|object)|metadata|imdb"
)

# Of one of several portions of a whole, such as those of a large archive.
_PORTION = re.compile(
    r"(.*[\W_])?(part|batch|chunk|fold|shard|vol|volume|disk|archive|data|images?|imgs?|photos?)"
    r"[\W_]*\d+",
    re.IGNORECASE,
)


def _letters(name: str) -> str:
    """The letters of a name, in lower case: 'Train_2017' gives 'train'."""
    return "".join(_LETTERS.findall(name)).lower()


def split_of_folder(name: str) -> SplitName | None:
    """The split that a folder is named after: `Training`, `test_set`, `seg_train`, `val2017`."""
    match = _SPLIT.fullmatch(_letters(name))
    return SPLIT_WORDS[match[1]] if match else None


def is_split_word(name: str) -> bool:
    """Whether a folder's name is one of the words for splits and nothing more."""
    return name.lower() in SPLIT_WORDS


def splits_of_siblings(names: Sequence[str]) -> dict[str, SplitName]:
    """The splits of folders beside each other, as far as names tell.

    Beside `split_of_folder`, names count that differ in the word for a split alone, if one of them
    is for training: `pets_train` and `pets_test`.
    """
    splits = {name: split for name in names if (split := split_of_folder(name))}
    alike: dict[str, dict[str, SplitName]] = defaultdict(dict)
    for name in names:
        words = [word.lower() for word in _LETTERS.findall(name)]
        spoken = [word for word in words if word in SPLIT_WORDS]
        if name not in splits and len(spoken) == 1:
            rest = " ".join(word for word in words if word not in spoken)
            alike[rest][name] = SPLIT_WORDS[spoken[0]]
    for several in alike.values():
        their_splits = list(several.values())
        if "train" in their_splits and len(their_splits) == len(set(their_splits)) > 1:
            splits |= several
    return splits


def holds_photos(name: str) -> bool:
    """Whether a folder is named as one for all photos of a data set: `images`, `JPEGImages`."""
    return _PHOTOS.fullmatch(_letters(name)) is not None


def holds_annotations(name: str) -> bool:
    """Whether a folder is named as one for what is known of photos: `masks`, `Annotations`."""
    return _ANNOTATIONS.fullmatch(_letters(name)) is not None


def names_annotations(name: str) -> bool:
    """Whether a folder's name can hardly be anything but that of annotations: `bboxes`."""
    return _ONLY_ANNOTATIONS.fullmatch(_letters(name)) is not None


def is_portion(name: str) -> bool:
    """Whether a folder is named as a portion of a whole: `images_part_1`, `batch-2`."""
    return _PORTION.fullmatch(name) is not None
