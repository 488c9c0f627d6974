"""What every block of a recipe is: a mapping whose keys are known and whose values never change."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema


class Block(BaseModel):
    """A mapping of the recipe: unknown keys are errors, nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: Keys that people expect here and that are left out on purpose, with the reason.
    refused: ClassVar[dict[str, str]] = {}

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes `true` for 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        values = value if isinstance(value, list | tuple) else [value]
        if kind not in (bool, bool | None) and any(isinstance(entry, bool) for entry in values):
            raise ValueError("must not be true or false")
        return value


class NamedBlock(Block):
    """A block that may be written as its first field alone: `optimizer: adam`."""

    shorthand: ClassVar[str] = "name"

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return value if isinstance(value, dict | BaseModel) else {cls.shorthand: value}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [schema["properties"][cls.shorthand], schema]}
