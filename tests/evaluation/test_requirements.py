"""What scripts require of an evaluation: the grammar, the intervals, exit codes and words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.runs import write_finished_run

from tlcli.errors import TlcliError
from tlcli.evaluation import metrics, named_scores
from tlcli.evaluation.calibration import Calibration
from tlcli.evaluation.intervals import wilson_interval
from tlcli.evaluation.requirements import check_requirements, read_requirements
from tlcli.runs import directory
from tlcli.runs.calibration_record import ThresholdRecord
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation

CLASSES = ("cats", "a [b] c", "x>=1")

#: True and predicted classes: 8 of 10 cats right, 3 of 5, 4 of 5.
PAIRS = [(0, 0)] * 8 + [(0, 1)] * 2 + [(1, 1)] * 3 + [(1, 0)] * 2 + [(2, 2)] * 4 + [(2, 1)]

PLAIN = Calibration(1.0)
THRESHOLD = ThresholdRecord(target_precision=0.7, probability=0.5, val_coverage=1, val_precision=1)
ANSWERING = Calibration(1.0, THRESHOLD)


def evaluate(pairs=PAIRS, calibration: Calibration = PLAIN) -> Evaluation:
    labels, predicted = np.array(pairs).T
    logits = np.log(np.where(np.eye(3)[predicted] == 1, 0.8, 0.1))
    scores = metrics.measure(logits, labels, CLASSES, calibration)
    return Evaluation(split="test", **dict(scores))


def check(text: str, evaluation: Evaluation | None = None, *, confident: bool = False):
    read = read_requirements([text], CLASSES, confident=confident)
    (result,) = check_requirements(read, evaluation or evaluate(), confident=confident)
    return result


def refused(text: str, *, confident: bool = False) -> str:
    with pytest.raises(TlcliError) as caught:
        read_requirements([text], CLASSES, confident=confident)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("accuracy>=0.75", 15 / 20, True),
        ("accuracy > 0.75", 15 / 20, False),
        ("  Accuracy >= 75%  ", 15 / 20, True),
        ("accuracy<=0.75", 15 / 20, True),
        ("accuracy<0.75", 15 / 20, False),
        ("balanced_accuracy>=0.7", (0.8 + 0.6 + 0.8) / 3, True),
        ("balanced accuracy>=0.74", (0.8 + 0.6 + 0.8) / 3, False),
        ("macro.recall>=0.7", (0.8 + 0.6 + 0.8) / 3, True),
        ("precision>=0", (0.8 + 3 / 6 + 1) / 3, True),
        ("recall[cats]>=0.8", 0.8, True),
        ("precision[a [b] c]>=0.6", 0.5, False),
        ("recall['a [b] c']<1", 0.6, True),
        ('recall[ "a [b] c" ]<1', 0.6, True),
        ("recall[x>=1]>=0.9", 0.8, False),
        ("F1[x>=1]>=0.8", 2 * 0.8 / 1.8, True),
        ("photos>=20", 20, True),
        ("photos[cats]>10", 10, False),
        ("log-loss<=0.3", None, False),
        ("coverage>0", None, False),
    ],
)
def test_numbers_are_those_of_the_table_of_answers(text: str, value: float | None, met: bool):
    result = check(text)
    if text.startswith("log"):
        value = float(np.mean([-np.log(0.8) if a == b else -np.log(0.1) for a, b in PAIRS]))
    assert result.value == (None if value is None else pytest.approx(value))
    assert result.met is met


def test_every_name_that_json_has_can_be_asked_for():
    evaluation = evaluate().as_dict()
    for name in ("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "log_loss",
                 "brier", "ece", "n"):  # fmt: skip
        assert check(f"{name}>=0").value == evaluation[name], name
    for name, value in evaluation["macro"].items():
        assert check(f"macro.{name}>=0").value == check(f"{name}>=0").value == value
    for scores in evaluation["per_class"]:
        for name in ("precision", "recall", "f1", "roc_auc", "average_precision"):
            assert check(f"{name}[{scores['class']}]>=0").value == scores[name], name


@pytest.mark.parametrize(
    ("name", "successes", "n"),
    [
        ("accuracy", 15, 20),
        ("recall[cats]", 8, 10),
        ("precision[cats]", 8, 10),
        ("recall[a [b] c]", 3, 5),
        ("precision[a [b] c]", 3, 6),
    ],
)
def test_confident_compares_the_unfavourable_end(name: str, successes: int, n: int):
    low, high = wilson_interval(successes, n)
    assert check(f"{name}>={low - 1e-6}", confident=True).met
    assert not check(f"{name}>={low + 1e-6}", confident=True).met
    assert check(f"{name}<{high + 1e-6}", confident=True).met
    assert not check(f"{name}<{high - 1e-6}", confident=True).met
    assert check(f"{name}>={successes / n}").interval == (low, high)


def test_the_threshold_has_a_coverage_and_a_precision():
    evaluation = evaluate(calibration=ANSWERING)
    assert check("coverage>=1", evaluation).met
    result = check("precision of answers>=0.7", evaluation, confident=True)
    assert (result.value, result.interval) == (0.75, wilson_interval(15, 20))
    assert str(result.as_problem()) == (
        "--require precision of answers>=0.7: missed: it is 0.75 (95% interval 0.5313 to 0.8881), "
        "and --confident compares the lower end"
    )


def test_what_does_not_exist_is_missed():
    no_cats = evaluate([pair for pair in PAIRS if pair[0]])
    assert str(check("recall[cats]<=1", no_cats).as_problem()) == (
        "--require recall[cats]<=1: missed: it has no value, since there are no photos of 'cats'"
    )
    assert str(check("coverage>=0.5").as_problem()) == (
        "--require coverage>=0.5: missed: it has no value, since no threshold for 'unsure' is in "
        "force; --target-precision chooses one"
    )
    assert str(check("top-5 accuracy>=0.5").as_problem()).endswith("there are 5 classes or fewer")


ALL = "accuracy, balanced accuracy, precision, recall, F1, top-5 accuracy, ROC AUC, "
ALL += "average precision, log loss, Brier score, expected calibration error, coverage, "
ALL += "precision of answers, photos"
QUOTES = 'write it in quotes, as in "accuracy>=0.95" or "recall[cats]>=0.9"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy>=0.9", f"'acuracy' is no number of an evaluation; did you mean 'accuracy'? "
         f"(allowed: {ALL})"),
        ("recal[cats]>=1", "'recal' is no number of an evaluation; did you mean 'recall'? "
         "(allowed: precision, recall, F1, ROC AUC, average precision, photos)"),
        ("accuracy[cats]>=1", "there is no accuracy of one class; allowed: precision, recall, F1, "
         "ROC AUC, average precision, photos"),
        ("recall[cat]>=0.9", "'cat' is not a class of the run; did you mean 'cats'? "
         "(allowed: cats, a [b] c, x>=1)"),
        ("accuracy", f"needs a number of the evaluation and one of >=, >, <=, <; {QUOTES}"),
        ("accuracy=0.9", f"needs a number of the evaluation and one of >=, >, <=, <; {QUOTES}"),
        (">=0.9", f"needs a number of the evaluation and one of >=, >, <=, <; {QUOTES}"),
        ("accuracy>=", f"after the operator must be a number, found nothing; {QUOTES}"),
        ("accuracy>=high", f"after the operator must be a number, found 'high'; {QUOTES}"),
        ("accuracy>=nan", f"after the operator must be a number, found 'nan'; {QUOTES}"),
        ("accuracy>=95", "is a share, which lies between 0 and 1; write 0.95 or 95%"),
        ("accuracy>=-1", "is a share, which lies between 0 and 1; 0 is none, 1 is all"),
    ],
)  # fmt: skip
def test_mistakes(text: str, message: str):
    assert refused(text) == f"--require {text}: {message}"


def test_all_mistakes_at_once():
    with pytest.raises(TlcliError) as caught:
        read_requirements(["a\x1b[31mb>=1", "accuracy>=0.9", "recall[dogs]>=0.9"], CLASSES)
    assert [problem.where for problem in caught.value.problems] == [
        "--require a\\x1b[31mb>=1", "--require recall[dogs]>=0.9"
    ]  # fmt: skip


def test_confident_needs_an_interval():
    assert refused("log_loss<=0.3", confident=True) == (
        "--require log_loss<=0.3: --confident needs an interval, and log loss has none; "
        "leave --confident out, or ask for one of accuracy, top-5 accuracy, coverage, "
        "precision of answers, precision[class], recall[class]"
    )
    assert "F1 has none" in refused("F1[cats]>=0.3", confident=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has 23 of its 30 test photos right."""
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos")


def test_a_script_sees_the_exit_code_and_the_numbers(run: Run, cli):
    expected = cli("evaluate", run.name, "--json")
    right, n = json.loads(expected.stdout)["accuracy"] * 30, 30
    low, high = wilson_interval(round(right), n)
    done = cli("evaluate", run.name, "--require", "accuracy>=0.5", "--require", "recall[blue]>=0.1")
    assert done.exit_code == 0
    assert "missed" not in done.stdout + done.stderr
    done = cli(
        "evaluate", run.name, "--require", "accuracy>=0.99", "--require", "photos>=30", "--json"
    )
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: --require accuracy>=0.99: missed: it is {right / n:.5g} "
        f"(95% interval {low:.4f} to {high:.4f})"
    )
    value = json.loads(done.stdout)
    outcomes = value.pop("requirements")
    assert value == json.loads(expected.stdout)
    assert [outcome["met"] for outcome in outcomes] == [False, True]
    assert outcomes[0] == {
        "requirement": "accuracy>=0.99", "metric": "accuracy", "class": None, "operator": ">=",
        "bound": 0.99, "value": right / n, "interval": [low, high], "compared": right / n,
        "met": False,
    }  # fmt: skip
    text = cli("evaluate", run.name, "--require", f"accuracy>={right / n}", "--confident")
    assert text.exit_code == 1
    assert text.stdout.splitlines()[-3].split() == ["required", "value", "95%", "interval"]
    assert text.stdout.splitlines()[-1].endswith("missed")
    assert text.stderr.splitlines()[-1].endswith(", and --confident compares the lower end")


def test_mistakes_come_before_any_prediction(run: Run, cli):
    run.file(directory.predictions("test")).unlink()  # the model, an empty file, would be loaded
    before = sorted(run.path.iterdir())
    done = cli("evaluate", run.name, "--require", "recall[bleu]>=1", "--target-precision", "0.9")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "error: --require recall[bleu]>=1: 'bleu' is not a class of the run; did you mean 'blue'? "
        "(allowed: blue, green, red)\n"
    )
    assert sorted(run.path.iterdir()) == before
    done = cli("evaluate", run.name, "--confident")
    assert done.exit_code == 2
    assert "--confident is about --require, which is missing" in done.stderr


def test_no_number_of_a_share_is_left_without_an_interval():
    """Every count belongs to the share beside it."""
    evaluation = evaluate(calibration=ANSWERING)
    for name, score in named_scores.OVERALL.items():
        if score.counts and (value := score.value(evaluation)) is not None:
            successes, n = score.counts(evaluation)
            assert successes / n == pytest.approx(value), name
