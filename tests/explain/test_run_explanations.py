"""Heat maps that a run keeps: of photos that have not changed, in the order of their weight."""

from __future__ import annotations

import json

from builders.networks import network, save
from PIL import Image

from tlcli.explain import run_explanations
from tlcli.explain.run_explanations import explain_for_report
from tlcli.recipe.load import load_recipe
from tlcli.runs import directory, resume
from tlcli.system import files
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight

RECIPE = "data: {dir: 'PHOTOS'}\nbase: {name: VGG16, weights: random, image_size: 64}\n"


def test_a_report_keeps_heat_maps_in_the_run(photos, write_recipe, tmp_path):
    chosen = load_recipe(write_recipe(RECIPE.replace("PHOTOS", str(photos))))
    plan = make_plan(preflight(chosen))
    with resume.claim(resume.RunRequest(out=tmp_path / "run"), chosen, plan.index) as claimed:
        run = claimed.run
        save(network(size=(64, 64)), run.file(directory.MODEL), plan.index.classes)
        files.write_json(run.file(directory.SUMMARY), {"stages": [], "test": None})
    (photos / "test" / "red" / "odd.png").write_text("no photo")
    items = [
        {"path": "test/red/00.png", "label": "red", "predicted": "blue", "probability": 0.9},
        {"path": "test/red/odd.png", "label": "red"},  # the run does not know it
        {"path": str(photos / "test" / "blue" / "01.png"), "label": "blue"},
        {"path": "test/red/00.png", "label": "red"},
        {"path": "test/green/00.png", "label": "green"},
    ]
    explanations = explain_for_report(run, items, limit=2)
    folder = run.file(directory.EXPLANATIONS)
    assert json.loads((folder / directory.EXPLANATIONS_INDEX).read_text()) == explanations
    assert [
        (explanation["path"], explanation["label"], explanation["image"])
        for explanation in explanations
    ] == [
        ("test/red/00.png", "red", "0001.png"),
        (items[2]["path"], "blue", "0002.png"),
    ]
    keys = {"path", "class", "probability", "label", "method", "layer", "precision", "image"}
    assert all(set(explanation) == keys for explanation in explanations)
    with Image.open(folder / "0001.png") as picture:
        assert max(picture.size) == run_explanations.REPORT_SIDE
    explain_for_report(run, items[4:])
    assert sorted(path.name for path in folder.iterdir()) == ["0001.png", "index.json"]

    (photos / "test/green/00.png").write_bytes((photos / "test/red/01.png").read_bytes())
    assert [entry["path"] for entry in explain_for_report(run, items)] == [
        "test/red/00.png",
        items[2]["path"],
    ]
