"""One colour for each series, in pictures and on the page."""

from __future__ import annotations

import re
from pathlib import Path

from builders.runs import write_finished_run

from tlcli.evaluation import learning_curves
from tlcli.report import report


def test_a_series_has_one_colour_in_pictures_and_on_the_page(tmp_path: Path):
    run = write_finished_run(tmp_path / "pets-1", tmp_path / "pets", each=2)
    _, picture = learning_curves.draw_curves(run)
    strokes = re.findall(r"stroke: (#[0-9a-f]{6})", picture.read_text("utf-8"))
    page = report.write_report(run).path.read_text("utf-8")
    variables = dict(reversed(re.findall(r"--(\w+):\s*(#[0-9a-f]{6});", page)))
    on_page = [
        variables[re.findall(rf"\.line\.{kind} {{ stroke: var\(--(\w+)\)", page)[0]]
        for kind in ("train", "val", "rate")
    ]
    assert len(set(on_page)) == 3
    assert set(on_page) <= set(strokes)
    # The first thick line of the picture is the training accuracy, the next one that of validation.
    thick = re.findall(r"stroke: (#[0-9a-f]{6}); stroke-width: 1.8", picture.read_text("utf-8"))
    assert thick[:2] == on_page[:2]
