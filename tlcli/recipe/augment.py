"""The `augment` block of a recipe: how views of the training photos may differ from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tlcli.recipe.block import Block
from tlcli.recipe.limits import MAX_SIDE
from tlcli.recipe.settings import NUMBER_OR_PAIR

#: The largest number of views that makes sense: the store holds an activation for each.
MAX_VIEWS = 1_000

_NORMALISED = "leave it out: every base comes with the normalisation its weights were trained with"
_LAST = "leave it out: the decoder and the base decide the layout and type of pixels"

_Preset = Literal["none", "light", "medium", "strong"]

_LIGHT: dict[str, Any] = {
    "rotation_range": 10,
    "width_shift_range": 0.05,
    "height_shift_range": 0.05,
    "zoom_range": 0.05,
    "horizontal_flip": True,
}

#: The settings that each preset stands for; settings beside it in the block take precedence.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {"views": 0},
    "light": _LIGHT,
    "medium": {
        "rotation_range": 20,
        "width_shift_range": 0.1,
        "height_shift_range": 0.1,
        "shear_range": 10,
        "zoom_range": 0.1,
        "horizontal_flip": True,
        "brightness_range": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
    },
    "strong": {
        "random_resized_crop": {"scale": [0.35, 1.0]},
        "horizontal_flip": True,
        "randaugment": {"number": 2, "magnitude": 9},
        "random_erasing": {"probability": 0.25},
    },
}


def _views(value: Any) -> Any:
    if value == "live" or (type(value) is int and 0 <= value <= MAX_VIEWS):
        return value
    raise ValueError(f"must be a whole number from 0 to {MAX_VIEWS:,}, or 'live'")


def _around_one(value: Any) -> Any:
    """z -> (1 - z, 1 + z), as Keras reads `zoom_range`."""
    if isinstance(value, int | float):
        # Rounded, so that 0.3 means exactly [0.7, 1.3] and has the same address in the store.
        return (round(1 - value, 12), round(1 + value, 12))
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise ValueError("must be a number z for [1 - z, 1 + z], or [low, high]")


def _one_number(value: Any) -> Any:
    """Keras also takes a list of shifts to choose from."""
    if isinstance(value, list | tuple):
        raise ValueError("must be one number, for shifts of up to so much to either side")
    return value


def _angle(value: Any) -> Any:
    if isinstance(value, int | float) and value > 180:
        raise ValueError("must be 180 or less: degrees to either side, so 180 is every angle")
    return value


def _within(least: float, most: float) -> Callable[[tuple[float, float]], tuple[float, float]]:
    """Checks of a pair [low, high]."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not least <= low <= high <= most:
            raise ValueError(
                f"must be [low, high] with {least:g} <= low <= high <= {most:g}, is [{low}, {high}]"
            )
        return value

    return check


_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_Zoom = Annotated[
    tuple[float, float],
    BeforeValidator(_around_one),
    AfterValidator(_within(0.05, 20)),
    WithJsonSchema(NUMBER_OR_PAIR),
]
_Factor = Annotated[
    tuple[float, float],
    BeforeValidator(_around_one),
    AfterValidator(_within(0, 10)),
    WithJsonSchema(NUMBER_OR_PAIR),
]
_Share = Annotated[tuple[float, float], AfterValidator(_within(0.001, 1)), WithJsonSchema(_PAIR)]
_Ratio = Annotated[tuple[float, float], AfterValidator(_within(0.05, 20)), WithJsonSchema(_PAIR)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Shift = Annotated[float, BeforeValidator(_one_number), Field(ge=0, le=MAX_SIDE)]


class Crop(Block):
    """A part of the photo, blown up to its size: the Inception crop (Szegedy et al., 2015)."""

    scale: _Share = Field((0.08, 1.0), description="[low, high] share of the photo's area")
    ratio: _Ratio = Field((3 / 4, 4 / 3), description="[low, high] of width to height")


class Erasing(Block):
    """A rectangle of noise over the view (Zhong et al., "Random Erasing", 2017)."""

    probability: _Probability = Field(0.5, description="share of the views that lose a rectangle")
    scale: _Share = Field((0.02, 0.33), description="[low, high] share of the view's area")
    ratio: _Ratio = Field((0.3, 3.3), description="[low, high] of width to height")


class RandAugment(Block):
    """Some of 14 operations, drawn for each view (Cubuk et al., "RandAugment", 2019)."""

    number: int = Field(2, ge=1, le=14, description="operations for each view")
    magnitude: int = Field(9, ge=0, le=30, description="how strong they are, 0 to 30")


class Augment(Block):
    """Random views of the training photos; names and meanings of Keras' ImageDataGenerator."""

    refused: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            (
                "featurewise_center",
                "samplewise_center",
                "featurewise_std_normalization",
                "samplewise_std_normalization",
                "zca_whitening",
                "zca_epsilon",
                "rescale",
            ),
            _NORMALISED,
        ),
        "preprocessing_function": "leave it out: every base comes with the preprocessing of its "
        "weights, and a recipe holds settings, not code",
        "validation_split": "use data.split: {val: 0.15}, decided by the content of each photo",
        "interpolation_order": "leave it out: views are resampled once, bilinearly",
        "data_format": _LAST,
        "dtype": _LAST,
    }

    preset: _Preset = Field(
        "none",
        exclude=True,
        description="none, light, medium or strong; other settings override it",
    )
    views: Annotated[int | Literal["live"], BeforeValidator(_views)] = Field(
        4, description="views per training photo kept in the store, or 'live'"
    )
    rotation_range: Annotated[float, BeforeValidator(_angle), Field(ge=0, le=180)] = Field(
        0.0, description="degrees in both directions"
    )
    width_shift_range: _Shift = Field(
        0.0, description="fraction of the width; 1 or more means pixels"
    )
    height_shift_range: _Shift = Field(
        0.0, description="fraction of the height; 1 or more means pixels"
    )
    shear_range: float = Field(0.0, ge=0, le=80, description="degrees in both directions")
    zoom_range: _Zoom = Field((1.0, 1.0), description="a number z for [1 - z, 1 + z], or a pair")
    horizontal_flip: bool = Field(False, description="mirror half of the views left to right")
    vertical_flip: bool = Field(False, description="mirror half of the views top to bottom")
    random_resized_crop: Crop | None = Field(None, description="scale and ratio of a random part")
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = Field(
        "nearest", description="what appears where a view reaches beyond the photo"
    )
    cval: float = Field(0.0, ge=0, le=255, description="the colour of fill_mode constant")
    brightness_range: _Factor = Field(
        (1.0, 1.0), description="factor of all values: a number b for [1 - b, 1 + b], or a pair"
    )
    channel_shift_range: float = Field(
        0.0, ge=0, le=255, description="added to all values, in both directions"
    )
    contrast: _Factor = Field((1.0, 1.0), description="factor of the distance to the mean grey")
    saturation: _Factor = Field((1.0, 1.0), description="factor of the distance to grey")
    hue: float = Field(
        0.0, ge=0, le=0.5, description="turns of the colour circle in both directions"
    )
    grayscale: _Probability = Field(0.0, description="share of the views without colour")
    blur: _Probability = Field(0.0, description="share of the views that are blurred")
    randaugment: RandAugment | None = Field(None, description="number and magnitude")
    random_erasing: Erasing | None = Field(None, description="probability, scale and ratio")
    mixup: float = Field(0.0, ge=0, le=100, description="alpha of blending photos in training")
    cutmix: float = Field(0.0, ge=0, le=100, description="alpha of pasting photos in training")
    probability: _Probability = Field(1.0, description="share of the views that are changed at all")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of the views, independent of the training seed"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """A preset becomes its settings, so that a resolved recipe shows them; `off` is none."""
        if isinstance(value, dict):
            off = [key for key in BLOCKS if value.get(key) in (False, "off")]
            value = {**value, **dict.fromkeys(off)}
        if isinstance(value, dict) and isinstance(value.get("preset"), str):
            settings = PRESETS.get(value["preset"])
            if settings is not None:
                if value["preset"] == "none" and not value.keys().isdisjoint(CHANGES):
                    return value  # a photo that is changed after all has views
                return {**settings, **{key: value[key] for key in value if key != "preset"}}
        return value

    @property
    def changes_pixels(self) -> bool:
        """Whether a view can differ from the photo at all."""
        return self.probability > 0 and bool(self.changing)

    @property
    def changing(self) -> list[str]:
        """The settings that make a view differ from its photo."""
        fields = type(self).model_fields
        used = [name for name in CHANGES if getattr(self, name) != fields[name].default]
        never = self.random_erasing is not None and self.random_erasing.probability == 0
        return [name for name in used if not (never and name == "random_erasing")]

    @property
    def kept_views(self) -> int:
        """Augmented views per training photo in the store (0 for live views)."""
        return self.views if self.views != "live" and self.changes_pixels else 0


#: Settings that are blocks of settings, or off.
BLOCKS = ("random_resized_crop", "randaugment", "random_erasing")

#: Settings of which one at least makes a view differ from its photo.
CHANGES = (
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "horizontal_flip",
    "vertical_flip",
    "random_resized_crop",
    "brightness_range",
    "channel_shift_range",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "blur",
    "randaugment",
    "random_erasing",
)
