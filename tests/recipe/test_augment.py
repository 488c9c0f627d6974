"""The `augment` block: what is refused, presets, and which settings change a photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlcli.errors import RecipeError
from tlcli.recipe.advice import advise
from tlcli.recipe.augment import CHANGES, PRESETS, Augment
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe

SHORT = "data: {dir: photos}\nbase: {name: VGG16}\naugment:\n"


@pytest.fixture
def load(write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    def load(*lines: str) -> Recipe:
        text = SHORT + "".join(f"  {line}\n" for line in lines)
        return load_recipe(write_recipe(text, "r.yaml"))

    return load


NORMALISED = "leave it out: every base comes with the normalisation its weights were trained with"
BAD = [
    *[
        (f"{name}: true", f"{name}: '{name}' is not a setting of tlcli; {NORMALISED}")
        for name in (
            "featurewise_center", "samplewise_center", "featurewise_std_normalization",
            "samplewise_std_normalization", "zca_whitening", "zca_epsilon", "rescale",
        )
    ],
    (
        "preprocessing_function: f",
        "preprocessing_function: 'preprocessing_function' is not a setting of tlcli; leave it out: "
        "every base comes with the preprocessing of its weights, and a recipe holds settings, not "
        "code",
    ),
    (
        "validation_split: 0.2",
        "validation_split: 'validation_split' is not a setting of tlcli; "
        "use data.split: {val: 0.15}, decided by the content of each photo",
    ),
    ("preset: lite", "preset: found 'lite'; did you mean 'light'? "
     "(allowed: 'none', 'light', 'medium' or 'strong')"),
    ("preset: [a]", 'preset: found ["a"]; allowed: \'none\', \'light\', \'medium\' or \'strong\''),
    ("brightness_range: 2", "brightness_range: found 2; must be [low, high] with "
     "0 <= low <= high <= 10, is [-1.0, 3.0]"),
    ("contrast: [1.2, 0.8]", "contrast: found [1.2, 0.8]; must be [low, high] with "
     "0 <= low <= high <= 10, is [1.2, 0.8]"),
    ("hue: 0.6", "hue: found 0.6; must be 0.5 or less"),
    ("grayscale: 1.5", "grayscale: found 1.5; must be 1 or less"),
    ("blur: -0.1", "blur: found -0.1; must be 0 or more"),
    ("channel_shift_range: 300", "channel_shift_range: found 300; must be 255 or less"),
    ("probability: 2", "probability: found 2; must be 1 or less"),
    ("randaugment: 2", "randaugment: found 2; must be a block of number, magnitude"),
    ("randaugment: {number: 0}", "randaugment.number: found 0; must be 1 or more"),
    ("randaugment: {magnitude: 31}", "randaugment.magnitude: found 31; must be 30 or less"),
    ("randaugment: {magnitud: 3}", "randaugment.magnitud: unknown key 'magnitud'; "
     "did you mean 'magnitude'? (allowed: number, magnitude)"),
    ("random_resized_crop: {scale: [0, 1]}", "random_resized_crop.scale: found [0, 1]; must be "
     "[low, high] with 0.001 <= low <= high <= 1, is [0.0, 1.0]"),
    ("random_erasing: {probability: 2}",
     "random_erasing.probability: found 2; must be 1 or less"),
    ("mixup: -1", "mixup: found -1; must be 0 or more"),
    ("cutmix: true", "cutmix: found true; must not be true or false"),
    ("rotation_range: 360", "rotation_range: found 360; must be 180 or less: degrees to either "
     "side, so 180 is every angle"),
    ("width_shift_range: [-1, 0, 1]", "width_shift_range: found [-1, 0, 1]; must be one number, "
     "for shifts of up to so much to either side"),
    ("zoom_range: 0.96", "zoom_range: found 0.96; must be [low, high] with "
     "0.05 <= low <= high <= 20, is [0.04, 1.96]"),
    ("cutmix: 1", "cutmix: cutmix pastes pixels, and activations from the feature store have none; "
     "set augment.views to live, or use mixup, which can also blend activations"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_what_is_refused(load, line: str, message: str):
    with pytest.raises(RecipeError) as caught:
        load(line)
    assert str(caught.value) == f"r.yaml:4: augment.{message}"


def test_cutmix_asks_for_live_views(load):
    assert load("cutmix: 1", "views: live").augment.cutmix == 1
    assert load("cutmix: 0").augment.cutmix == 0


def test_what_mixing_means_is_told(load):
    accuracy = (
        "training accuracy counts the class with the larger share in a mixed photo; "
        "validation and test are not mixed"
    )
    assert list(map(str, advise(load("mixup: 0.2", "rotation_range: 5")))) == [
        "r.yaml:4: augment.mixup: blends activations at the boundary, not pixels (manifold mixup): "
        "the trunk runs once; set augment.views=live to blend pixels",
        f"r.yaml:4: augment.mixup: {accuracy}",
    ]
    live = advise(load("cutmix: 0.2", "views: live"))
    assert list(map(str, live)) == [f"r.yaml:4: augment.cutmix: {accuracy}"]
    assert {problem.severity for problem in live} == {"note"}


# Presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_settings(load, write_recipe, name: str):
    chosen = load(f"preset: {name}")
    assert chosen.augment == Augment(**PRESETS[name])
    assert chosen.augment.changes_pixels == (name != "none")
    shown = chosen.resolved()["augment"]
    assert "preset" not in shown
    assert all(shown[key] is not None for key in PRESETS[name])
    again = load_recipe(write_recipe(chosen.as_yaml(), "other.yaml"))
    assert again.augment == chosen.augment


def test_settings_beside_a_preset_win(load):
    chosen = load(
        "preset: light", "horizontal_flip: false", "rotation_range: 3", "hue: 0.1"
    ).augment
    assert (chosen.horizontal_flip, chosen.rotation_range, chosen.hue) == (False, 3, 0.1)
    assert chosen.zoom_range == (0.95, 1.05)
    plain = load("rotation_range: 3", "preset: none").augment
    assert (plain.rotation_range, plain.kept_views) == (3, 4)
    assert load("preset: none", "seed: 3").augment.kept_views == 0
    assert load("preset: none", "rotation_range: 3", "views: 0").augment.kept_views == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["views: 4"], "no setting of `augment` changes a photo, so no views are kept; set "),
        (["views: 0", "hue: 0.1"], "0 views are kept, so the other settings have no effect"
         "; set it to 4, or to live"),
        (["views: live"], "no setting of `augment` changes a photo: every epoch would repeat the "
         "same work; set rotation_range, horizontal_flip, ..., or leave views out"),
        (["views: 2", "random_erasing: {probability: 0}"], "no setting of `augment` changes a "
         "photo, so no views are kept; set "),
        (["probability: 0", "hue: 0.1", "views: 2"], "augment.probability: 0 leaves every view as "
         "its photo, whatever augment.hue says; raise it, or leave it out"),
        (["views: 2", "hue: 0.1", "preset: none"], "augment.preset: none does not switch off what "
         "stands beside it, such as augment.hue; augment.views=0 trains on the photos as they are"),
    ],
)  # fmt: skip
def test_views_that_show_nothing_new_are_told(load, lines: list[str], message: str):
    (problem,) = advise(load(*lines))
    assert (problem.severity, message in str(problem)) == ("warning", True)


def test_mixing_alone_is_no_reason_to_ask_for_views(load):
    for lines in (["mixup: 0.2"], ["mixup: 0.2", "views: live"]):
        assert {problem.severity for problem in advise(load(*lines))} == {"note"}


def test_a_preset_can_be_set_on_the_command_line(load, write_recipe):
    path = write_recipe("data: {dir: p}\nbase: {name: VGG16}\n")
    chosen = load_recipe(path, ["augment.preset=medium", "augment.random_erasing.probability=0.1"])
    assert chosen.augment.shear_range == 10
    assert chosen.augment.random_erasing.probability == 0.1


def test_short_forms(load):
    chosen = load("brightness_range: 0.2", "contrast: [0.5, 1]", "random_resized_crop: {}").augment
    assert chosen.brightness_range == (0.8, 1.2)
    assert chosen.contrast == (0.5, 1.0)
    assert chosen.random_resized_crop.scale == (0.08, 1.0)
    assert load("zoom_range: 0.3").augment.zoom_range == (0.7, 1.3)
    for off in ("off", "false", "null"):
        chosen = load("preset: strong", f"randaugment: {off}", f"random_erasing: {off}").augment
        assert (chosen.randaugment, chosen.random_erasing) == (None, None)


SOME: dict[str, Any] = {
    **dict.fromkeys(("rotation_range", "shear_range", "channel_shift_range"), 5),
    **dict.fromkeys(("horizontal_flip", "vertical_flip"), True),
    "random_resized_crop": {},
    "randaugment": {},
    "random_erasing": {},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_of_these_settings_alone_changes_photos(name: str):
    settings = Augment(**{name: SOME.get(name, 0.2)})
    assert settings.changes_pixels and settings.kept_views == 4
    assert not Augment(**{name: SOME.get(name, 0.2)}, probability=0).changes_pixels


def test_mixing_alone_changes_no_view():
    assert not Augment(mixup=0.2, fill_mode="wrap", cval=3, seed=4).changes_pixels
