"""Two runs side by side, as `runs diff` and `compare` show them; and the page of all runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders.listed_runs import RunFolder

from tlcli.report.runs_page import curves_chart, parallel_chart, write_page
from tlcli.runs import directory
from tlcli.runs.overview import read_entries
from tlcli.system import files


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Two runs that differ in the head, the seed and the version of Keras."""
    runs = RunFolder(tmp_path / "photos")
    runs.add("pets-1", val=0.90, test=0.92)
    versions = {"tlcli": "0", "keras": "4"}
    runs.add("pets-2", {"seed": 3, "head": {"hidden": [64, 8]}}, val=0.95, versions=versions)
    return runs


def test_what_differs_and_what_came_of_it(folder: RunFolder, cli: Any):
    done = cli("runs", "diff", "pets-1", "pets-2")
    settings, photos, versions, results = done.stdout.strip().split("\n\n")
    assert [line.split() for line in settings.split("\n")[2:]] == [
        ["seed", "0", "3"], ["head.hidden", "[256]", "[64,", "8]"]
    ]  # fmt: skip
    assert photos == "the same 27 photos, in the same splits"
    assert [line.split() for line in versions.split("\n")[2:]] == [["keras", "3", "4"]]
    rows = [line.split("  ") for line in results.split("\n")[2:]]
    assert [row[0] for row in rows] == [
        "state", "head: val accuracy", "block5: val accuracy", "test accuracy", "time", "size"
    ]  # fmt: skip
    assert "0.9200 (0.850 to 0.959)" in results


def test_the_differences_as_json(folder: RunFolder, cli: Any):
    value = json.loads(cli("runs", "diff", "pets-1", "pets-2", "--json").stdout)
    assert value["settings"] == [
        {"key": "seed", "first": 0, "second": 3},
        {"key": "head.hidden", "first": [256], "second": [64, 8]},
    ]
    assert value["photos"] == {"both": 27, "moved": 0, "first_only": 0, "second_only": 0}
    assert value["runs"] == [str(folder.root / name) for name in ("pets-1", "pets-2")]


def test_photos_that_differ(folder: RunFolder, cli: Any):
    path = folder.root / "pets-2" / directory.SPLIT
    header, first, second, *others = path.read_text().splitlines()
    moved = first.replace(",train,", ",val,")
    replaced = second[:-64] + "e" * 64
    path.write_text("\n".join([header, moved, replaced, *others[:-1]]) + "\n")
    text = cli("runs", "diff", "pets-1", "pets-2").stdout
    assert (
        "photos: 24 the same, 1 in another class or split, 2 only in pets-1, 1 only in pets-2"
    ) in text


def test_a_run_and_itself(folder: RunFolder, cli: Any):
    done = cli("runs", "diff", "pets-1", str(folder.root / "pets-1"))
    assert done.exit_code == 1
    assert "is the first run itself; name another one" in done.stderr


def test_a_run_without_a_split_file(folder: RunFolder, cli: Any):
    (folder.root / "pets-2" / directory.SPLIT).unlink()
    done = cli("runs", "diff", "pets-1", "pets-2")
    assert (done.exit_code, "photos: not recorded" in done.stdout) == (0, True)
    assert done.stderr.startswith(f"warning: {folder.root}/pets-2: has no split.csv")


# The page


def test_the_page_shows_every_run(folder: RunFolder, cli: Any):
    (folder.root / "pets-1" / directory.NOTE).write_text("<script>alert(1)</script>")
    done = cli("runs", "page", "--json")
    page = folder.root / "runs.html"
    assert json.loads(done.stdout) == {"page": str(page), "runs": 2, "shown": 2}
    html = page.read_text("utf-8")
    assert html.count('data-run="0"') == html.count('data-run="1"') == 3  # row, curve, settings
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    for text in ("pets-1", "head.hidden", "[64, 8]", "0.850 to 0.959", ">best<"):
        assert text in html
    assert cli("runs", "page").exit_code == 0  # its own file is replaced
    page.write_text("mine")
    done = cli("runs", "page")
    assert (done.exit_code, page.read_text()) == (1, "mine")
    assert "exists already" in done.stderr


def test_lines_go_through_the_values(folder: RunFolder):
    entries = read_entries()
    curves = curves_chart(entries)
    assert curves is not None
    first = next(line for line in curves.lines if line.number == 0)
    x, y = map(float, first.path[1:].split()[-1].split(","))
    # Ten epochs, the last on the right; its value is 1 - 0.6 / 4 on an axis that ends at 1.
    assert x == curves.frame.right - 4
    ticks = {float(tick.text): tick.at for tick in curves.y_ticks}
    low, high = min(ticks), max(ticks)
    share = (0.85 - low) / (high - low)
    assert y == pytest.approx(ticks[low] + share * (ticks[high] - ticks[low]), abs=0.02)
    assert [line.kind for line in curves.lines] == ["other", "best"]
    parallel = parallel_chart(entries, ["seed", "head.hidden"])
    assert parallel is not None
    assert [axis.name for axis in parallel.axes] == ["seed", "head.hidden", "val accuracy"]
    top, bottom = parallel.frame.top, parallel.frame.bottom
    heights = [float(point.split(",")[1]) for point in parallel.lines[-1].path[1:].split()]
    assert heights == [top, top, top]  # the larger seed, the later text, the higher score
    assert [tick.at for tick in parallel.axes[0].marks] == [bottom, top]


def test_a_page_without_scores_or_curves(folder: RunFolder, tmp_path: Path):
    for name in ("pets-1", "pets-2"):
        for part in (directory.METRICS, directory.SUMMARY):
            (folder.root / name / part).unlink()
    written = write_page(out=tmp_path / "all.html")
    assert written.path.read_text("utf-8").count("unfinished") == 2
    files.make_folder(tmp_path / "empty")
    with pytest.raises(Exception, match="no runs here; train one with `tlcli finetune`"):
        write_page(tmp_path / "empty")
