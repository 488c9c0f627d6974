"""The pictures of an evaluation show its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.evaluation import calibration, figures, metrics
from tlcli.evaluation.figures import confusion, reliability, shown

NAMES = ("<b>$x$", "고양이", "n" * 300, "a\nb", "_e", "'\"", "שלום")


def measured(count: int, *, calibrated: bool = True):
    random = np.random.default_rng(0)
    labels = random.integers(0, count, 200)
    values = random.random((200, count)) + 0.4 * np.eye(count)[labels]
    values /= values.sum(axis=1, keepdims=True)
    fitted = calibration.fit(values, labels) if calibrated else None
    names = (NAMES + tuple(f"class {number}" for number in range(count)))[:count]
    return metrics.measure(values, labels, names, fitted)


@pytest.fixture
def drawn(monkeypatch):
    """The saved that are saved, to read what is in them."""
    saved = []
    real = figures.save

    def save(figure, path):
        saved.append(figure)
        real(figure, path)

    monkeypatch.setattr(figures, "save", save)
    return saved


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("count", [2, 7])
def test_the_confusion_matrix(count: int, tmp_path: Path, drawn):
    value = measured(count)
    confusion(value, tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    cells = np.array(value["confusion"])
    assert texts(axes) == [f"{cell:,}" for cell in cells.ravel() if cell]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [shown(name) for name in value["classes"]]
    assert np.allclose(axes.images[0].get_array(), cells / cells.sum(axis=1, keepdims=True))
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) > 300


def test_many_classes_have_neither_names_nor_numbers(tmp_path: Path, drawn):
    confusion(measured(70), tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert texts(axes) == []
    assert len(axes.get_xticks()) == 0


def test_the_reliability_diagram_before_and_after(tmp_path: Path, drawn):
    value = measured(3)
    reliability(value, tmp_path / "reliability.png")
    before, after, counts, _ = drawn[0].axes
    for axes, key in ((before, "bins"), (after, "calibrated_bins")):
        bins = [one for one in value["reliability"][key] if one["n"]]
        assert [bar.get_height() for bar in axes.patches] == [one["accuracy"] for one in bins]
        marks = [line.get_ydata()[0] for line in axes.lines[1:]]
        assert marks == [one["confidence"] for one in bins]
    assert [bar.get_height() for bar in counts.patches] == [
        one["n"] for one in value["reliability"]["bins"]
    ]
    assert f"calibration error {value['ece']:.4f}" in before.get_title(loc="left")
    assert f"{value['calibrated']['ece']:.4f}" in after.get_title(loc="left")


def test_the_reliability_diagram_without_calibration(tmp_path: Path, drawn):
    reliability(measured(2, calibrated=False), tmp_path / "reliability.svg")
    assert len(drawn[0].axes) == 2
    assert (tmp_path / "reliability.svg").read_text().startswith("<?xml")
