"""The recipe: what the YAML file says, and what it means once loaded.

`load.load_recipe` is the only way in. It returns an immutable `Recipe` in which every default is
filled in and every path is absolute, or raises one `RecipeError` with every problem of the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, WithJsonSchema

from tlcli.networks.bases import BASES
from tlcli.networks.boundaries import Boundary
from tlcli.recipe.augment import Augment
from tlcli.recipe.block import Block
from tlcli.recipe.first_layer import leave_out_boundaries
from tlcli.recipe.settings import Base, Data, Features, Head, as_path
from tlcli.recipe.stage_settings import Stage, leave_out_techniques
from tlcli.system.yamlfile import Document, dump_yaml

#: Bytes of a name: a folder's may have 255, and a run adds its number, or what it replaces.
MAX_NAME_BYTES = 200

#: Settings that say where something is, not what: photos, labels and splits are compared instead.
#: And what `tlcli tune` may vary, on which no run depends.
PLACES: tuple[tuple[str, ...], ...] = (
    ("search",),
    ("name",),
    ("data", "dir"),
    ("data", "csv"),
    ("data", "columns"),
    ("data", "exclude"),
    ("data", "labels"),
    ("data", "split", "file"),
)

#: False alarms that are allowed where a recipe does not say.
UNKNOWN_RATE = 0.05


def _folder_name(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"must have {MAX_NAME_BYTES} bytes at most, as names of folders do")
    return name


def _space(value: Any) -> Any:
    if value is None or (isinstance(value, dict) and value):
        return value
    raise ValueError("must map settings to their values, as in {head.dropout: [0.2, 0.5]}")


#: The most devices, and one more than the highest number of one.
MAX_DEVICES = 256


#: The devices in the schema of a recipe file.
DEVICES = {
    "anyOf": [
        {"const": "all"},
        {"type": "integer", "minimum": 1, "maximum": MAX_DEVICES},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
    ]
}


def _devices(value: Any) -> Any:
    """The devices as they are written, once they are sure to mean some."""
    numbers = [*value] if isinstance(value, list | tuple) else []
    if value == "all" or (type(value) is int and 1 <= value <= MAX_DEVICES):
        return value
    known = all(type(number) is int and 0 <= number < MAX_DEVICES for number in numbers)
    if not numbers or not known or len({*numbers}) < len(numbers):
        raise ValueError("must be all, how many, or a list of their numbers, as in [0, 1]")
    return tuple(numbers)


class Recipe(Block):
    """Everything that decides a run."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]{0,63}$"), AfterValidator(_folder_name)] = (
        Field(description="of the runs; default: the file's")
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the head's weights, dropout and order")
    data: Data
    base: Base
    start_from: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None,
        description="a finished run: training starts from its network, not from base.weights and a "
        "new head",
    )
    head: Head = Head()
    augment: Augment = Augment(views=0)
    stages: tuple[Stage, ...] = Field(
        min_length=1, max_length=64, description="default: a head stage, then fine-tuning"
    )
    gradual: int | None = Field(
        None,
        ge=2,
        le=64,
        description="how many stages the default plan has: after that of the head, each trains one "
        "block more; instead of stages",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="of training and extraction")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "auto", description="of the base; auto: mixed_bfloat16 where it is faster, else float32"
    )
    devices: Annotated[Any, BeforeValidator(_devices), WithJsonSchema(DEVICES)] = Field(
        1, description="GPUs that train: all, how many, or a list of their numbers from 0"
    )
    features: Features = Features()
    unknown_rate: float = Field(
        UNKNOWN_RATE,
        ge=0,
        lt=0.5,
        description="share of photos like the validation photos that `predict` may call unknown; "
        "0: it calls no photo so",
    )
    deterministic: bool = Field(True, description="same bits from the same recipe and machine")
    search: Annotated[
        dict[str, Any] | None, BeforeValidator(_space), WithJsonSchema({"type": "object"})
    ] = Field(None, description="settings that `tlcli tune` varies, each with what it may be")

    _is_automatic: bool = PrivateAttr(False)
    _document: Document = PrivateAttr(default_factory=lambda: Document(Path("recipe"), None))

    def model_post_init(self, context: Any) -> None:
        """Take the file that the recipe is made from; it is the context of the validation."""
        if isinstance(context, Document):
            self._document = context

    @property
    def path(self) -> Path:
        """The file it was loaded from."""
        return self._document.path

    @property
    def document(self) -> Document:
        """That file, and what `--set` has replaced in it."""
        return self._document

    @property
    def chooses_precision(self) -> bool:
        """Whether its precision is not the user's: `auto`, or what that means on this machine."""
        return self.precision == "auto" or self._is_automatic

    @property
    def tapped(self) -> tuple[Boundary, ...]:
        """The boundaries whose features a multi-layer head takes, bottom to top; () for others."""
        row = BASES[self.base.name]
        lowest = self.base.freeze_until or row.default_boundary
        if not self.head.multi_layer or lowest is None:
            return ()
        above = row.boundaries[row.boundaries.index(row.boundary(lowest)) :]
        return tuple(boundary for boundary in above if boundary.practical)

    @property
    def policy(self) -> str:
        """The Keras policy that the base computes in; float32 while `auto` means nothing else."""
        return "float32" if self.precision == "auto" else self.precision

    def with_precision(self, precision: str) -> Recipe:
        """The recipe with what `auto` means here, one of `Precision`, in place of it."""
        changed = self.model_copy(update={"precision": precision})
        changed._is_automatic = self.chooses_precision
        return changed

    def from_base(self) -> Recipe:
        """The recipe without the run that it starts from: training begins with the base."""
        return self.model_copy(update={"start_from": None})

    def has_key(self, *key: str | int) -> bool:
        """Whether the file or an override has `key`, so that it is no default."""
        return self._document.has_key(key)

    def where(self, *key: str | int) -> str:
        """`file:line: key`, to begin a problem with."""
        return self._document.where(key)

    def resolved(self) -> dict[str, Any]:
        """Plain values with every default filled in, as kept in a run; without what is off."""
        values = self.model_dump(mode="json")
        del values["gradual"]  # which is what the stages say
        if self.search is None:
            del values["search"]
        if self.start_from is None:
            del values["start_from"]
        if self.devices == 1:
            del values["devices"]
        if not self.head.multi_layer:
            del values["head"]["multi_layer"]
        leave_out_boundaries(values)
        leave_out_techniques(values, self.stages)
        return values

    def as_yaml(self) -> str:
        """`resolved` as YAML text that loads to the same recipe."""
        return dump_yaml(self.resolved())

    def fingerprint(self) -> str:
        """Hex SHA-256 of every setting that can change the result: of all but `PLACES`."""
        values = self.resolved()
        for *blocks, key in PLACES:
            block = values
            for name in blocks:
                block = block[name]
            block.pop(key, None)
        if self.data.depth is None:  # as it was before there was this setting
            del values["data"]["depth"]
        if self.unknown_rate == UNKNOWN_RATE:  # the same
            del values["unknown_rate"]
        if not self.head.normalize:  # the same
            del values["head"]["normalize"]
        # As written by version 0.1.0; which photos are for the test is told by their fingerprint.
        values["data"]["split"]["test"] = self.data.split.test_share(unsplit=True)
        if self.start_from is not None:
            values["start_from"] = "run"  # a run records which model it had
            values["base"]["weights"] = "of that run"
        elif values["base"]["weights"] not in ("imagenet", "random"):
            values["base"]["weights"] = "file"  # a run records what it held
        if self.base.batch_norm == "train" and BASES[self.base.name].has_dropout:
            # Earlier versions had the dropout of the base on too: what began so is another run.
            values["base"]["batch_norm"] = "train without dropout"
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, for editors that complete and check YAML."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "tlcli recipe"
    # A loaded recipe has more, which `load_recipe` fills in.
    schema["required"] = ["data", "base"]
    schema["$defs"]["Base"]["required"] = ["name"]
    schema["$defs"]["Stage"]["required"] = ["name"]
    return schema


def plain_name(text: str) -> str:
    """`text` as the name of a recipe or file: letters, digits, `_`, `-` and `.`, 64 at most."""
    plain = "".join(c if c.isalpha() or c.isdecimal() or c in "_.-" else "_" for c in text)
    cut = plain.lstrip(".-")[:64].encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return cut or "recipe"
