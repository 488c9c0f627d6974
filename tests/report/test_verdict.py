"""Verdicts: the words follow from the counts, and the interval of the gain is never too narrow."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.runs import Stage, write_finished_run

from tlcli.data.balance import measure_imbalance
from tlcli.evaluation.intervals import PairedCounts
from tlcli.report import verdict
from tlcli.report.report import write_report
from tlcli.report.run_data import read_run_data
from tlcli.report.verdict import MeasuredAccuracy, Verdict, judge_run, widest_gain
from tlcli.runs.evaluation_records import MajorityBaseline


def majority(accuracy: float) -> MajorityBaseline:
    return MajorityBaseline.model_validate({"class": "cats", "accuracy": accuracy})


def judged(right: int, n: int, baseline: float, **settings) -> Verdict:
    network = MeasuredAccuracy("this network", right, n)
    return Verdict("test", network, majority(baseline), (), settings.pop("gain", None), **settings)


@pytest.mark.parametrize(("first", "second", "n"), [(293, 293, 302), (24, 28, 30), (3, 17, 20),
                                                    (0, 5, 9), (9, 9, 9), (12, 2, 14)])  # fmt: skip
def test_the_interval_of_a_gain_holds_that_of_every_table(first: int, second: int, n: int):
    gain = widest_gain("head", first, second, n)
    assert gain.difference == pytest.approx((second - first) / n)
    low, high = gain.interval
    widest = 0.0
    for both in range(max(0, first + second - n), min(first, second) + 1):
        table = PairedCounts(both, first - both, second - both, n - first - second + both)
        start, end = table.difference_interval()
        assert low <= start + 1e-12 and end <= high + 1e-12
        widest = max(widest, end - start)
    assert high - low == pytest.approx(widest), "and it is one of them"


def test_quality_and_baseline():
    # Wilson's interval of 81 out of 263 is a published example (Newcombe 1998, table I).
    assert judged(81, 263, 0.2).sentences() == [
        "It classifies 30.8% of 263 test photos correctly; for new photos like these, expect 25.5% "
        "to 36.6%.",
        "That is more than chance: always answering “cats” would be right for 20.0%.",
    ]
    assert judged(81, 263, 0.3).sentences()[1] == (
        "That cannot be distinguished from always answering “cats”, which would be right for "
        "30.0%: the network is of no use yet."
    )
    assert judged(81, 263, 0.5).sentences()[1] == (
        "That is worse than always answering “cats”, which would be right for 50.0%."
    )


@pytest.mark.parametrize(
    ("first", "second", "beginning"),
    [
        (100, 150, "Fine-tuning gained 25.0 percentage points over the head alone (95% interval "),
        (150, 100, "Fine-tuning lost 25.0 percentage points over the head alone (95% interval "),
        (150, 150, "Fine-tuning gained nothing over the head alone on these photos (95% interval "),
        (148, 150, "Fine-tuning gained 1.0 percentage point over the head alone (95% interval "),
    ],
)
def test_what_fine_tuning_gained(first: int, second: int, beginning: str):
    sentence = judged(second, 200, 0.1, gain=widest_gain("head", first, second, 200)).sentences()[2]
    assert sentence.startswith(beginning)
    assert sentence.endswith(" points), which may be chance.") == (second - first == 2)


def test_the_confidence_level_is_written_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_finished_run(tmp_path / "run", tmp_path / "photos", each=4)
    before = write_report(run).path.read_text(encoding="utf-8")
    monkeypatch.setattr(verdict, "CONFIDENCE_LEVEL", 0.995)
    after = write_report(run).path.read_text(encoding="utf-8")
    for words in ("(95% interval ", "95%: ", "with 95% intervals.", "score interval at 95%."):
        assert words in before
        assert words not in after
        assert words.replace("95%", "99.5%") in after


def test_cautions():
    beginning = judged(81, 263, 0.2, seen=2).sentences()[-1]
    assert beginning.startswith(
        "2 of these photos were also among the training photos, byte for byte"
    )
    assert judged(81, 263, 0.2, seen=2).sentences()[0] == (
        "It classifies 30.8% of 263 test photos correctly."
    )
    network = MeasuredAccuracy("this network", 81, 263)
    val = Verdict("val", network, majority(0.2), (), None).sentences()
    assert val[0] == "It classifies 30.8% of 263 validation photos correctly."
    assert val[-1] == (
        "There were no test photos: the validation photos were also used to choose the best epoch, "
        "so the figures are optimistic, and new photos may do worse."
    )
    assert "expect" not in " ".join(val)
    none = Verdict("test", None, None, (), None)
    assert none.sentences() == [
        "There were no photos to test this network on, so its accuracy is unknown."
    ]


HEAD = Stage("head", None, 2, 1 / 3)


@pytest.mark.parametrize(
    ("stages", "over"),
    [
        ((HEAD, Stage("top", "block4_pool", 2, 1.0)), "head"),
        ((HEAD, Stage("more", None, 2, 2 / 3), Stage("top", "block4_pool", 2, 1.0)), "more"),
        ((HEAD, Stage("more", None, 2, 2 / 3)), None),
        ((Stage("all", "block3_pool", 2, 2 / 3), HEAD), None),
        ((HEAD, Stage("top", "block4_pool", 2, None)), None),
    ],
)
def test_the_head_alone_is_the_last_stage_before_the_base_changes(tmp_path: Path, stages, over):
    run = write_finished_run(
        tmp_path / "run", tmp_path / "photos", each=1, stages=stages, evaluated=False,
    )  # fmt: skip
    gain = judge_run(read_run_data(run)).gain
    assert (gain and gain.over) == over


def test_classes_of_different_sizes_have_sentences():
    counts = {"train": {"cats": 15, "dogs": 120}, "val": {}, "test": {"cats": 3, "dogs": 24}}
    imbalance = measure_imbalance(counts)
    sizes, rare, weights = judged(25, 27, 0.9, imbalance=imbalance).sentences()[-3:]
    assert sizes == (
        "dogs has 8.0 times as many training photos as cats (120 and 15), so the accuracy is "
        "mostly that of the large ones."
    )
    assert rare == (
        "With fewer than 10 test photos, cats (3) cannot be judged: for cats, all 3 right may mean "
        "anything from 44%."
    )
    assert weights.startswith("With class_weights: balanced, a photo of cats counts 8.0 times")
    weighted = judged(25, 27, 0.9, imbalance=imbalance, weighted=True).sentences()
    assert weighted[-2:] == [sizes, rare]
