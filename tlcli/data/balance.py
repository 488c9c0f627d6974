"""Classes of different sizes: what always answering with the largest scores, and which are rare.

A class cannot be judged by a handful of photos: even where all of them are answered rightly, the
interval of its accuracy (Wilson, JASA 22, 1927) reaches far down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from tlcli.data.findings import MAX_NAMED, Finding
from tlcli.data.splits import SplitName
from tlcli.errors import Severity

#: From this many photos of the largest class for one of the smallest, imbalance is worth a note,
#: and a warning.
UNEQUAL, IMBALANCED = 1.5, 10

#: A class with fewer photos to score cannot be judged: ten of ten may still mean 72%.
JUDGED = 10


@dataclass(frozen=True)
class Imbalance:
    """How the classes differ in size.

    Attributes:
        largest, smallest: the classes with the most and the fewest training photos, with these.
        split: the split that is scored.
        majority: its most frequent class and that one's share; None where it has no photos.
        rare: the classes with fewer than `JUDGED` photos to score, with their numbers.
    """

    largest: tuple[str, int]
    smallest: tuple[str, int]
    split: SplitName
    majority: tuple[str, float] | None
    rare: tuple[tuple[str, int], ...]

    @property
    def ratio(self) -> float:
        """Training photos of the largest class for one of the smallest."""
        return self.largest[1] / self.smallest[1]

    def sizes(self) -> str:
        """The largest class beside the smallest."""
        (most, many), (least, few) = self.largest, self.smallest
        times = f"{most} has {self.ratio:.1f} times as many training photos as {least}"
        return f"{times} ({many:,} and {few:,})"

    def message(self) -> str:
        """The classes in words, with the score of the majority and what cannot be judged."""
        text = self.sizes()
        if self.majority:
            name, share = self.majority
            text += f"; always answering {name} is right for {share:.1%} of {self.split}"
        return f"{text}; {self.rare_classes()}" if self.rare else text

    def rare_classes(self) -> str:
        """Which classes cannot be judged, and why."""
        named = [f"{name} ({number:,})" for name, number in self.rare[:MAX_NAMED]]
        more = f" and {len(self.rare) - MAX_NAMED:,} more" if len(self.rare) > MAX_NAMED else ""
        name, fewest = self.rare[0]
        why = f"there is nothing to score {name} by"
        if fewest:
            right = f"all {fewest:,} right" if fewest > 1 else "one right of one"
            why = f"for {name}, {right} may mean anything from {_least(fewest):.0%}"
        kind = "test" if self.split == "test" else "validation"
        photos = f"fewer than {JUDGED} {kind} photos"
        return f"with {photos}, {', '.join(named)}{more} cannot be judged: {why}"

    def hint(self) -> str:
        """What class weights would change."""
        return (
            f"with class_weights: balanced, a photo of {self.smallest[0]} counts {self.ratio:.1f} "
            f"times as much as one of {self.largest[0]}; look at balanced accuracy, not at "
            "accuracy alone"
        )

    def as_finding(self) -> Finding:
        """What `check` and `init` print, and a run records."""
        severity: Severity = "warning" if self.ratio >= IMBALANCED else "note"
        return Finding("imbalance", severity, self.message(), self.hint())


def measure_imbalance(counts: Mapping[SplitName, Mapping[str, int]]) -> Imbalance | None:
    """How the classes differ in size, from photos by split and class; None where hardly."""
    trained = {name: number for name, number in counts["train"].items() if number}
    if len(trained) < 2 or max(trained.values()) < UNEQUAL * min(trained.values()):
        return None
    split: SplitName = "test" if any(counts["test"].values()) else "val"
    scored = {name: counts[split].get(name, 0) for name in trained}
    total = sum(scored.values())
    majority = max(scored, key=lambda name: scored[name])
    rare = [(name, number) for name, number in scored.items() if number < JUDGED]
    return Imbalance(
        largest=max(trained.items(), key=lambda pair: pair[1]),
        smallest=min(trained.items(), key=lambda pair: pair[1]),
        split=split,
        majority=(majority, scored[majority] / total) if total else None,
        rare=tuple(sorted(rare, key=lambda pair: pair[1])) if total else (),
    )


def _least(number: int) -> float:
    """The lower end of the 95% interval of a share, where all of so many photos are right."""
    z = NormalDist().inv_cdf(0.975)
    return number / (number + z * z)
