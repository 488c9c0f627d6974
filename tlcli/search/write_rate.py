"""Put a learning rate into a recipe file, and leave all else in it as it is."""

from __future__ import annotations

import codecs
import shutil
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import Problem, RecipeError, reason
from tlcli.recipe.recipe import Recipe
from tlcli.system import files
from tlcli.system.yaml_edit import set_value
from tlcli.system.yaml_loader import MAX_BYTES
from tlcli.system.yamlfile import dump_yaml, parse_yaml, quote_scalar


@dataclass(frozen=True)
class WrittenRate:
    """What became of a rate: the recipe that has it now, or the lines that have to be added."""

    path: Path
    rate: float
    lines: str = ""

    @property
    def problem(self) -> Problem | None:
        """Why nothing was written, if so."""
        if not self.lines:
            return None
        message = f"{self.path.name} has no `stages`, so nothing was written"
        return Problem("--write", message, "add the lines of the result to it")


def rounded_rate(rate: float) -> float:
    """A rate with two digits: more would say what no test can know."""
    return float(f"{rate:.1e}")


def write_rate(recipe: Recipe, number: int, rate: float) -> WrittenRate:
    """Write the rate of stage `number`, from 0, rounded; comments, order and line ends stay.

    Where the file has no stages, since they are the default ones, nothing is written, and the lines
    to add are in the result. Raises `RecipeError` where the stage is not in the file as it is in
    the recipe, or its rate cannot be changed without changing something else.
    """
    path, name = recipe.path, recipe.stages[number].name
    value = rounded_rate(rate)
    raw = _read(path)
    mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
    text = raw.removeprefix(mark).decode("utf-8")
    document = parse_yaml(text, path)
    stages = document.value.get("stages") if isinstance(document.value, dict) else None
    if stages is None:
        return WrittenRate(path, value, _default_stages(recipe, number, value))
    entry = stages[number] if isinstance(stages, list) and number < len(stages) else None
    edited = None
    if isinstance(entry, dict) and entry.get("name") == name:
        edited = set_value(text, ("stages", number, "learning_rate"), value)
    if edited is None:
        message = f"the rate of stage '{name}' cannot be changed in the file without other changes"
        hint = f"write `learning_rate: {_text(value)}` there yourself"
        raise RecipeError(Problem(document.where(("stages", number)), message, hint))
    target = path.resolve()  # a link stays one
    with files.replacing(target) as temporary:
        temporary.write_bytes(mark + edited.encode("utf-8"))
        shutil.copymode(target, temporary)
    return WrittenRate(path, value)


def _read(path: Path) -> bytes:
    try:
        with files.open_regular(path) as file:
            return file.read(MAX_BYTES + 1) or b""
    except OSError as error:
        raise RecipeError(Problem(str(path), f"cannot be read: {reason(error)}")) from error


def _text(value: float) -> str:
    return dump_yaml(value).split("\n")[0]


def _default_stages(recipe: Recipe, number: int, value: float) -> str:
    """The stages that a recipe has without any in its file, the rate of one of them changed."""
    lines = ["stages:"]
    for at, stage in enumerate(recipe.stages):
        until = f", freeze_until: {stage.freeze_until}" if stage.freeze_until else ""
        rate = _text(value if at == number else stage.learning_rate)
        name = quote_scalar(stage.name)
        lines.append(f"  - {{name: {name}{until}, epochs: {stage.epochs}, learning_rate: {rate}}}")
    return "\n".join(lines)
