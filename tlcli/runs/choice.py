"""How the plan of a run was chosen: what was measured on the same photos and base.

None of it is part of a run. A probe, an advice and a range test of rates belong to it where they
measured its training photos, with the same classes, at the same size and by the same base; a search
where, besides, the run has the settings that it found. They lie beside the run or under
`directory.runs_root()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import setting
from tlcli.runs import directory
from tlcli.runs.advice_record import ADVICE, AdviceRecord, read_advice
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto
from tlcli.runs.probe_record import PROBE, PROBES, ProbeRecord, fingerprint_photos, read_probe
from tlcli.runs.rate_record import RATE_TEST, RATES, RateTestRecord, read_rate_test
from tlcli.runs.tuning_record import TuningRecord, read_tuning
from tlcli.system.yamlfile import parse_key


@dataclass(frozen=True)
class TestedRate:
    """A stage of a run whose rate was looked for: the test, and the rate that the run had."""

    test: RateTestRecord
    used: float


@dataclass(frozen=True)
class MeasuredChoice:
    """What was measured before a run; one thing of it at least is there."""

    probe: ProbeRecord | None
    advice: AdviceRecord | None
    rates: tuple[TestedRate, ...]
    tuning: TuningRecord | None


def find_choice(run: Run, recipe: Recipe, photos: Sequence[RecordedPhoto]) -> MeasuredChoice | None:
    """What was measured on the training photos of a run, if anything.

    Raises `RunError` where such a record is damaged.
    """
    data = fingerprint_photos(
        (photo.sha256, photo.label) for photo in photos if photo.split == "train"
    )
    finder = _Finder(run, recipe, data)
    probe, advice = finder.probe()
    choice = MeasuredChoice(probe, advice, finder.rates(), finder.tuning())
    return choice if probe or choice.rates or choice.tuning else None


class _Finder:
    """Looks for the records that belong to a run."""

    def __init__(self, run: Run, recipe: Recipe, data: str) -> None:
        self._recipe, self._data = recipe, data
        self._roots = dict.fromkeys((run.path.parent, directory.runs_root()))

    def probe(self) -> tuple[ProbeRecord | None, AdviceRecord | None]:
        """The first probe of the same photos, and the advice that rests on it."""
        for folder in self._folders(f"{PROBES}/*/{PROBE}"):
            record = read_probe(folder)
            if not self._fits(record):
                continue
            advice = read_advice(folder) if (folder / ADVICE).is_file() else None
            matches = advice is not None and advice.probe.data == self._data
            return record, advice if matches else None
        return None, None

    def rates(self) -> tuple[TestedRate, ...]:
        """The test of each stage of the run that was tested, in the order of the stages."""
        tests = [read_rate_test(folder) for folder in self._folders(f"{RATES}/*/{RATE_TEST}")]
        tests = [test for test in tests if self._fits(test)]
        tested = []
        for stage in self._recipe.stages:
            key = (stage.name, stage.freeze_until)
            test = next((test for test in tests if (test.stage, test.freeze_until) == key), None)
            if test is not None:
                tested.append(TestedRate(test, stage.learning_rate))
        return tuple(tested)

    def tuning(self) -> TuningRecord | None:
        """The first search whose winner the run has the settings of."""
        for pattern in (directory.TUNING, f"*/{directory.TUNING}"):
            for folder in self._folders(pattern):
                record = read_tuning(folder)
                if self._fits(record) and all(
                    setting(self._recipe, parse_key(name)) == value
                    for name, value in record.best.settings.items()
                ):
                    return record
        return None

    def _folders(self, pattern: str) -> Iterator[Path]:
        for root in self._roots:
            yield from (path.parent for path in sorted(root.glob(pattern)))

    def _fits(self, record: ProbeRecord | RateTestRecord | TuningRecord) -> bool:
        base = self._recipe.base
        return (record.base, record.image_size, record.data) == (
            base.name, base.image_size, self._data
        )  # fmt: skip
