"""Predictions as they are printed, in every form."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tlcli.evaluation.neighbours import NearPhoto
from tlcli.evaluation.prediction_output import print_predictions


@dataclass
class StandIn:
    """A `Prediction` as far as it is printed: the real one would bring TensorFlow."""

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    hint: str = ""
    threshold: float | None = None
    unsure: bool = False
    seen_in_training: bool = False
    unknown: bool = False
    distance: float | None = None
    distance_limit: float | None = None
    neighbours: tuple[NearPhoto, ...] | None = None

    @property
    def log_odds(self) -> tuple[float, ...]:
        return (1.5, -1.5)[: len(self.top)]

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "error": self.error}


PREDICTIONS = [
    StandIn("a.jpg", (("cat", 0.75), ("hare", 0.25))),
    StandIn('b,"\n\x1b.jpg', (("hare", 1.0), ("cat", 0.0))),
    StandIn("c.jpg", error="is empty"),
]


def printed(form: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert print_predictions(PREDICTIONS, form, ("cat", "hare")) == 1  # type: ignore[arg-type]
    return capsys.readouterr()


def test_predictions_as_a_table(capsys: pytest.CaptureFixture[str]):
    assert printed("table", capsys) == (
        "cat   0.7500  hare  0.2500  a.jpg\n"
        'hare  1.0000  cat   0.0000  b,"\\n\\x1b.jpg\n',
        "error: c.jpg: is empty\n",
    )  # fmt: skip


def test_predictions_as_csv(capsys: pytest.CaptureFixture[str]):
    out, err = printed("csv", capsys)
    assert err == ""
    assert list(csv.reader(out.splitlines(keepends=True))) == [
        ["path", "label", "probability", "error", "unsure", "log_odds", "unknown", "distance"],
        ["a.jpg", "cat", "0.75", "", "", "1.5", "", ""],
        ["a.jpg", "hare", "0.25", "", "", "-1.5", "", ""],
        ['b,"\n\\x1b.jpg', "hare", "1.0", "", "", "1.5", "", ""],
        ['b,"\n\\x1b.jpg', "cat", "0.0", "", "", "-1.5", "", ""],
        ["c.jpg", "", "", "is empty", "", "", "", ""],
    ]


def test_predictions_as_json(capsys: pytest.CaptureFixture[str]):
    expected = [prediction.as_dict() for prediction in PREDICTIONS]
    assert json.loads(printed("json", capsys)[0]) == expected
    lines = printed("jsonl", capsys)[0].splitlines()
    assert [json.loads(line) for line in lines] == expected


UNSURE = [
    StandIn("a.jpg", (("cat", 0.75), ("hare", 0.25)), threshold=0.8, unsure=True),
    StandIn("b.jpg", (("hare", 0.9999999999), ("cat", 1e-10)), threshold=0.8),
]


def test_predictions_of_a_model_that_abstains(capsys: pytest.CaptureFixture[str]):
    for form in ("table", "csv"):
        print_predictions(UNSURE, form, ("cat", "hare"), abstains=True)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "unsure:  cat   0.7500  hare  0.2500  a.jpg",
        "         hare  1.0000  cat   0.0000  b.jpg",
        "path,label,probability,error,unsure,log_odds,unknown,distance",
        "a.jpg,cat,0.75,,yes,1.5,,",
        "a.jpg,hare,0.25,,yes,-1.5,,",
        "b.jpg,hare,0.9999999999,,no,1.5,,",
        "b.jpg,cat,1e-10,,no,-1.5,,",
    ]


NEAR = (
    NearPhoto("cats/a.png", "cat", 0.1, "1f"),
    NearPhoto("hares/b\n.png", "hare", 0.25, "2e"),
)
UNKNOWN = [
    StandIn("bee.jpg", (("cat", 0.98),), distance=1.25, distance_limit=0.9, unknown=True),
    StandIn("cat.jpg", (("cat", 0.9),), distance=0.5, distance_limit=0.9, neighbours=NEAR),
]


def test_unknown_photos_are_marked_and_counted(capsys: pytest.CaptureFixture[str]):
    for form in ("table", "csv"):
        print_predictions(UNKNOWN, form, ("cat", "hare"))  # type: ignore[arg-type]
    given = capsys.readouterr()
    assert given.out.splitlines() == [
        "unknown: cat   0.9800  bee.jpg",
        "cat   0.9000  cat.jpg",
        "    0.1000  cat   cats/a.png",
        "    0.2500  hare  hares/b\\n.png",
        "path,label,probability,error,unsure,log_odds,unknown,distance",
        "bee.jpg,cat,0.98,,,1.5,yes,1.25",
        "cat.jpg,cat,0.9,,,1.5,no,0.5",
    ]
    line = (
        "unknown: 1 of 2 photos is unlike all training photos, and may show none of the classes; "
        "--no-unknown turns this off"
    )
    assert given.err.splitlines() == [line] * 2
    print_predictions(UNKNOWN[:1], "table", ("cat", "hare"), abstains=True)  # type: ignore[arg-type]
    given = capsys.readouterr()
    assert given.out == "unknown: cat   0.9800  bee.jpg\n"
    assert given.err.startswith("unknown: the photo is unlike all training photos")


@pytest.mark.parametrize(
    ("in_training", "warning"),
    [
        ([True], "warning: 0.jpg: the photo was in the training set of the run; "),
        ([False, True], "warning: 1.jpg: 1 of 2 photos was in the training set of the run; "),
        ([True, True, False], "warning: 0.jpg, ...: 2 of 3 photos were in the training set of "),
    ],
)
def test_photos_of_the_training_set_are_warned_of(
    in_training: list[bool], warning: str, capsys: pytest.CaptureFixture[str]
):
    predictions = [
        StandIn(f"{number}.jpg", (("cat", 1.0),), seen_in_training=value)
        for number, value in enumerate(in_training)
    ]
    assert print_predictions(predictions, "jsonl", ("cat",)) == 0  # type: ignore[arg-type]
    err = capsys.readouterr().err
    assert err.startswith(warning)
    assert err.endswith("predictions for such photos say nothing about new ones\n")


ENDLESS = """
import itertools, sys
from tlcli.evaluation.prediction_output import print_predictions
from tlcli.system import console
console.configure(quiet=False)
sys.path.append(sys.argv[2])
from test_prediction_output import StandIn
photos = (StandIn(f"{n}.jpg", (("cat", 1.0),), error=n == 1 and "is empty" or None)
          for n in itertools.count())
sys.exit(print_predictions(photos, sys.argv[1], ("cat",)))
"""


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_no_photo_is_predicted_for_nobody(form: str):
    folder = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, form, folder],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as predicting:
        assert predicting.stdout is not None
        assert predicting.stderr is not None
        lines = [predicting.stdout.readline() for _ in range(4)]
        predicting.stdout.close()
        err = predicting.stderr.read()
    assert predicting.returncode == 0
    assert "2.jpg" in "".join(lines)
    assert err == ("error: 1.jpg: is empty\n" if form == "table" else "")
