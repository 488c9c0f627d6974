"""The measurement of what views buy, on small photos: whole, resumable, right for live views."""

from __future__ import annotations

import json
from types import ModuleType

import pytest
from builders.scripts import load_script
from PIL import Image

from tlcli.recipe.load import load_recipe
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import train

TEXT = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
head: {hidden: [8]}
augment: {rotation_range: 30, brightness_range: 0.2}
batch_size: 8
"""


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script("benchmarks/views.py", monkeypatch)


@pytest.mark.slow
def test_it_measures_goes_on_and_writes_table_and_plot(
    views, photos, write_recipe, tmp_path, monkeypatch, capsys
):
    config = write_recipe(TEXT.replace("PHOTOS", str(photos)), "small.yaml")
    out = tmp_path / "measured"
    words = ["views.py", "--config", str(config), "--out", str(out), "--epochs", "2"]
    monkeypatch.setattr("sys.argv", [*words, "--views", "1", "live", "--seeds", "0", "1"])
    views.main()
    first = (out / views.RESULTS).read_bytes()
    results = json.loads(first)
    assert list(results["runs"]) == ["1/0", "1/1", "live/0", "live/1"]
    assert [run["passes"] for run in results["runs"].values()] == [48, 48, 48, 48]
    assert capsys.readouterr().out.count("\n| ") == 2
    assert (out / views.TABLE).read_text(encoding="utf-8").startswith("| views | test accuracy |")
    with Image.open(out / views.PLOT) as plot:
        assert plot.size == (1200, 510)
    views.main()
    assert (out / views.RESULTS).read_bytes() == first, "nothing is measured twice"

    stages = "stages=[{name: head, epochs: 2, learning_rate: 1.0e-3}]"
    live = load_recipe(config, ["augment.views=live", "seed=1", stages])
    ran = train(make_plan(preflight(live)))
    assert ran.summary.test is not None
    assert results["runs"]["live/1"]["test_loss"] == ran.summary.test.loss, (
        "as live training does it"
    )
