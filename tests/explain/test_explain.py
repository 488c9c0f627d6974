"""`tlcli explain`, from a photo to a sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.networks import network, save, thin_vgg16
from PIL import Image

from tlcli.explain import explain, gradcam
from tlcli.explain.explained_model import open_run
from tlcli.images import decode
from tlcli.images.loader import View

COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.keras"
    with thin_vgg16():
        return save(network(size=(64, 64)), path, COLOURS)


@pytest.fixture(scope="module")
def opened(model):
    return open_run(model)


def test_heat_is_that_of_the_photo_and_class_asked_for(opened, photos):
    paths = sorted((photos / "test").rglob("*.png"))
    explainer = explain.Explainer(opened)
    assert explainer.layer == "block5_conv3"
    explanations = list(explainer.explain(map(View, paths), "green"))
    assert [explanation.path for explanation in explanations] == paths
    pixels = np.stack([decode.load_image(p, height=64, width=64, resize="squash") for p in paths])
    probe = gradcam.Probe(opened, "block5_conv3")
    maps, probed = gradcam.heat_maps(probe, np.float32(pixels), np.full(len(paths), 1), "grad-cam")
    values = opened.probabilities(probed.logits)
    for explanation, heat, row in zip(explanations, maps, values, strict=True):
        np.testing.assert_allclose(explanation.heat, heat, atol=1e-5)
        assert (explanation.name, explanation.predicted) == ("green", COLOURS[row.argmax()])
        assert explanation.probability == pytest.approx(row[1], abs=1e-6)
    assert [explanation.name for explanation in explainer.explain(map(View, paths))] == [
        explanation.predicted for explanation in explanations
    ]


def test_one_photo(model, photos, cli):
    photo = next(photos.rglob("*.png"))
    done = cli("explain", photo, "--run", model)
    assert done.exit_code == 0, done.stderr
    out = Path(f"{photo.stem}-grad-cam.png")
    assert done.stdout.splitlines()[-2:] == ["grad-cam, computed in float32", str(out)]
    with Image.open(out) as picture:
        # The photo and the photo under its heat, side by side.
        assert picture.format == "PNG" and picture.width >= 2 * explain.SHEET_SIDE
        left = np.asarray(picture)[40:300, 40:300].astype(float)
    photo_mean = decode.load_image(photo, height=8, width=8, resize="squash").mean(axis=(0, 1))
    np.testing.assert_allclose(left.mean(axis=(0, 1)), photo_mean, atol=8)
    assert cli("explain", photo, "--run", model).exit_code == 0, "its own sheet is replaced"
    out.write_bytes(photo.read_bytes())
    again = cli("explain", photo, "--run", model)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == (
        f"error: {out}: exists already; name another with --out, or replace it with --force\n"
    )
    assert out.read_bytes() == photo.read_bytes()


def test_another_precision_shows_the_same_heat(model, photos, cli):
    photo = next(photos.rglob("*.png"))
    values = {}
    for precision in ("auto", "float32", "mixed_bfloat16"):
        done = cli("explain", photo, "--run", model, "--precision", precision, "--json")
        assert done.exit_code == 0, done.stderr
        values[precision] = json.loads(done.stdout)
    used = [values[asked]["precision"] for asked in values]
    assert used == ["float32", "float32", "mixed_bfloat16"]
    assert values["auto"] == values["float32"]
    (plain,), (rounded,) = values["float32"]["photos"], values["mixed_bfloat16"]["photos"]
    assert plain["probability"] != rounded["probability"]
    assert plain["probability"] == pytest.approx(rounded["probability"], abs=0.05)

    views = [View(str(photo))]
    heats = [
        next(explain.Explainer(open_run(model, precision=precision)).explain(views, "red")).heat
        for precision in ("float32", "mixed_bfloat16")
    ]
    assert [heat.dtype for heat in heats] == [np.float32, np.float32]
    np.testing.assert_allclose(heats[0], heats[1], atol=0.1)


def test_several_photos_make_one_sheet_and_bad_ones_are_named(model, photos, cli, tmp_path):
    folder, out = photos / "test" / "red", tmp_path / "all.png"
    (folder / "bad.jpg").write_text("<html>")
    done = cli(
        "explain", folder, tmp_path / "none.jpg", "--run", model, "--method", "grad-cam++",
        "--layer", "block4_conv3", "--class", "red", "--out", out, "--json",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "bad.jpg: cannot be decoded: not an image" in done.stderr
    assert "none.jpg: cannot be decoded: no such file" in done.stderr
    value = json.loads(done.stdout)
    assert (value["method"], value["layer"], value["sheet"]) == (
        "grad-cam++", "block4_conv3", str(out)
    )  # fmt: skip
    errors = [explanation for explanation in value["photos"] if "error" in explanation]
    good = [explanation for explanation in value["photos"] if "error" not in explanation]
    assert len(errors) == 2 and [explanation["class"] for explanation in good] == ["red", "red"]
    assert good[0]["grid"] == [8, 8]
    assert out.is_file()


def test_only_bad_photos_leave_no_sheet(model, cli, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("<html>")
    done = cli("explain", bad, "--run", model, "--out", tmp_path / "x.png")
    assert (done.exit_code, done.stdout) == (1, "no photo could be explained\n")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class", "gren"], "--class: 'gren' is not a class of"),
        (["--class", "gren"], "did you mean 'green'? (allowed: blue, green, red)"),
        (["--layer", "block5_con3"], "did you mean 'block5_conv3'?"),
        (["--out", "x.jpg"], "--out x.jpg: sheets are written as PNG"),
    ],
)
def test_slips_are_errors(model, photos, cli, words, message):
    done = cli("explain", next(photos.rglob("*.png")), "--run", model, *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "x", "--base", "VGG16"], "--run and --base: give only one of them"),
        (["--weights", "x.h5"], "--weights needs --base"),
        (["--method", "lime"], "'lime' is not one of"),
    ],
)
def test_usage_slips(cli, words, message):
    done = cli("explain", "a.jpg", *words)
    assert done.exit_code == 2 and message in done.stderr


def test_hostile_names_are_letters_on_the_sheet(opened, photos, tmp_path, cli):
    photo = next(photos.rglob("*.png"))
    names = ["<script>alert(1)<⁄script>.png", "two\nlines $x_{1}$ '\".png", "\u202egnp.고양이.png"]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(photo.read_bytes())
    explainer = explain.Explainer(opened)
    done = explain.explain(explainer, paths, None, tmp_path / "sheet.png")
    assert not done.failed and (tmp_path / "sheet.png").is_file()
    assert "two\\nlines" in done.text and "\\u202e" in done.text


def test_heat_of_nothing_is_said_in_words(opened, photos, tmp_path):
    photo = next(photos.rglob("*.png"))
    cold = explain.Explanation(photo, "red", 0.2, "blue", np.zeros((4, 4), np.float32))
    assert cold.cold and cold.as_dict()["hottest"] is None
    hot = explain.Explanation(photo, "red", 0.2, "blue", np.eye(4, dtype=np.float32)[:, ::-1])
    assert hot.as_dict()["hottest"] == [0.875, 0.125]
    explainer = explain.Explainer(opened)
    explain.draw_sheet(explainer, [cold, hot]).save(tmp_path / "drawn.png")
