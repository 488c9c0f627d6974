"""The blocks of a recipe, one model each: their settings, with bounds and defaults.

Every default of tlcli is here, those of stages are in `stage_settings`, those of augmentation in
`augment`, and there are no others.
`recipe` puts the blocks together, and `load` reads them from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from tlcli.recipe.block import Block
from tlcli.recipe.limits import MAX_DEPTH, MAX_SIDE, MAX_UNITS, MIN_DEPTH
from tlcli.recipe.stage_settings import BoundaryName, Fraction
from tlcli.system import object_stores


def _pair(value: Any) -> Any:
    """An image side n -> (n, n)."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise ValueError("must be a whole number of pixels, or [height, width]")


def as_path(value: Any) -> Any:
    """A value that may be a path; a `ValueError` for an empty one."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("must be a path")
    return value


# In JSON and YAML an address has both slashes, of which the path that stands for it has one.
_WRITTEN = PlainSerializer(
    lambda path: path and object_stores.written(path), return_type=str | None, when_used="json"
)


def _column(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the name of a column; put numbers in quotes")
    return value.strip()


def _column_or_none(value: Any) -> Any:
    return None if value is None else _column(value)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


NUMBER_OR_PAIR = {
    "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 2}]
}
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]


#: The share of the photos for the final test, where nothing says which photos it has.
TEST_SHARE = 0.15


class Split(Block):
    """Shares of every class that are held back, where folders do not say."""

    val: Fraction = Field(0.15, description="share for validation, which picks the best epoch")
    test: Fraction | None = Field(
        None,
        description=f"share for the final test; default: {TEST_SHARE}, or 0 where there are "
        "folders of other splits",
    )
    file: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="a table that keeps the split; new photos are added to it, none moves"
    )

    def test_share(self, *, unsplit: bool) -> float:
        """The share for the test, of photos without any split (`unsplit`), or of a train folder."""
        return self.test if self.test is not None else TEST_SHARE if unsplit else 0.0

    @model_validator(mode="after")
    def _leaves_training_photos(self) -> Split:
        if self.val + self.test_share(unsplit=True) >= 1:
            raise ValueError("val and test together must leave photos to train on (below 1)")
        return self


ColumnName = Annotated[str, BeforeValidator(_column)]
OptionalColumn = Annotated[str | None, BeforeValidator(_column_or_none)]


class Columns(Block):
    """The columns of a table, by the names in its first line."""

    path: ColumnName = Field("path", description="of the photo, relative to the table")
    label: ColumnName = Field("label", description="the class")
    split: OptionalColumn = Field(
        "split", description="train, val or test, or true and false; null to use data.split instead"
    )
    group: OptionalColumn = Field(
        "group", description="photos with the same value stay in one split; null for no groups"
    )

    @model_validator(mode="after")
    def _differ(self) -> Columns:
        names = [name.casefold() for name in self.model_dump().values() if name]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"'{twice[0]}' stands for two of them; name each column once")
        return self


class Data(Block):
    """Where the labelled photos are."""

    refused: ClassVar[dict[str, str]] = {
        "path": "it is called dir for folders of photos, and csv for a table of them"
    }

    dir: Annotated[Path | None, BeforeValidator(as_path), _WRITTEN] = Field(
        None, description="folder of train/val/test folders, or of class folders"
    )
    csv: Annotated[Path | None, BeforeValidator(as_path), _WRITTEN] = Field(
        None, description="or a table: path,label[,split][,group]; paths relative to it"
    )
    columns: Columns = Field(Columns(), description="what the table calls its columns")
    split: Split = Field(Split(), description="used where the data have no split of their own")
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="an unreadable photo stops the run, or is left out and named"
    )
    duplicates: Literal["error", "drop", "allow"] = Field(
        "error",
        description="the same photo in two splits stops the run, is dropped from one, or stays",
    )
    depth: Annotated[int, Field(ge=MIN_DEPTH, le=MAX_DEPTH)] | Literal["auto"] | None = Field(
        None, description="bits that 16-bit files use: 10, 12, auto (by photo); default: all"
    )
    exclude: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="a list of photos to leave out, as `check --fix-list` writes it"
    )
    labels: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="a table of corrected labels, as `audit labels --fix-list` writes it"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if self.dir is not None and self.csv is not None:
            raise ValueError("dir and csv are two sources; give one of them")
        if self.dir is None and self.csv is None:
            raise ValueError("needs dir (a folder of photos) or csv (a table of them)")
        if self.csv is None and self.columns != Columns():
            raise ValueError("columns are those of a table; give csv, or leave columns out")
        return self

    @property
    def source(self) -> Path:
        """The folder or the table."""
        source = self.dir or self.csv
        assert source is not None  # as validated
        return source

    @property
    def root(self) -> Path:
        """The folder that the paths of photos are shown relative to."""
        return self.dir or self.source.parent


#: The weights of a base that is trained from scratch.
RANDOM = "random"


class Base(Block):
    """The pretrained network and how photos enter it."""

    refused: ClassVar[dict[str, str]] = {
        "unfreeze_from": "give it to a stage, as in {name: top, unfreeze_from: block5_conv1}"
    }

    name: str = Field(description="VGG16, ResNet50, InceptionV3, ...; `tlcli bases` lists them")
    weights: Annotated[str, BeforeValidator(as_path)] = Field(
        "imagenet",
        description="imagenet, random (from scratch), or a path to a weights file; default: random "
        "for bases that are not pretrained",
    )
    image_size: Annotated[
        tuple[Side, Side], BeforeValidator(_pair), WithJsonSchema(NUMBER_OR_PAIR)
    ] = Field(description="pixels, one number or [height, width]; default: the base's own")
    resize: Literal["squash", "crop", "pad"] = Field(
        "squash", description="how a photo becomes that size: distort, cut the sides, add borders"
    )
    freeze_until: BoundaryName = Field(
        None, description="last frozen layer of the default fine-tuning stage"
    )
    batch_norm: Literal["frozen", "train"] = Field(
        "frozen",
        description="batch norm above the boundary stays in inference mode, or trains (the default "
        "with random weights); the rest of the base, dropout inside it too, is in inference mode "
        "always",
    )


class Head(Block):
    """The new classifier on top of the base."""

    pooling: Literal["avg", "max", "flatten"] = Field("avg", description="of the base's output")
    hidden: Annotated[
        tuple[Annotated[int, Field(gt=0, le=MAX_UNITS)], ...],
        BeforeValidator(_listed),
        Field(max_length=16),
    ] = Field((256,), description="units of each hidden layer (relu); [] for none")
    dropout: Fraction = Field(0.5, description="share of units dropped before the output")
    l2: float = Field(0.0, ge=0, le=10, description="L2 penalty on the head's kernels")
    normalize: bool = Field(
        False,
        description="standardise the pooled features by the mean and spread of the training photos",
    )
    multi_layer: bool = Field(
        False,
        description="the features are those of all boundaries from base.freeze_until up, of which "
        "group lasso chooses; for stages with `solver: lbfgs`",
    )


class Features(Block):
    """How activations are kept in the feature store."""

    dtype: Literal["float32", "float16"] = Field(
        "float32", description="float16 halves the store and rounds to 3 digits"
    )
