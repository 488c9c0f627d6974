"""The documents agree with the code: recipe, commands, settings; and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tlcli.cli import main
from tlcli.recipe.augment import Augment
from tlcli.recipe.load import load_recipe

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TOPICS = [page for page in PAGES if page.parent.name == "docs"]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def section(path: Path, title: str) -> str:
    """The text of a page below a heading, up to the next one of the same or a higher level."""
    text = path.read_text("utf-8")
    level = title.partition(" ")[0]
    match = re.search(rf"^{title}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.M | re.S)
    assert match, title
    return match[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its heading."""
    table = re.search(r"(?:^\|.*\n)+", text, re.M)
    assert table
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def links(path: Path) -> set[Path]:
    """The files that a page links to, pictures included."""
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8"))
    return {(path.parent / target).resolve() for target in targets if "://" not in target}


def test_the_recipe_of_the_readme_loads(write_recipe: Callable[..., Path]):
    block = re.search(r"```yaml\n(.*?)```", section(README, "## The recipe"), re.S)
    assert block
    loaded = load_recipe(write_recipe(block[1], "readme.yaml"))
    assert [stage.name for stage in loaded.stages] == ["head", "block5"]


def test_the_readme_lists_every_command():
    listed = [first.split()[1].strip("`") for first, _ in rows(section(README, "## Commands"))]
    assert sorted(listed) == sorted(main.commands)


def test_the_settings_of_augmentation_are_listed_with_their_defaults():
    listed: dict[str, str] = {}
    for names, defaults, _ in rows(section(ROOT / "docs/augmentation.md", "## Settings")):
        keys = re.findall(r"`(\w+)`", names)
        values = [part.strip(" `") for part in defaults.split(",")]
        listed |= zip(keys, values * len(keys) if len(values) == 1 else values, strict=True)
    assert listed.keys() == Augment.model_fields.keys()
    default = Augment()
    for name, text in listed.items():
        value = None if text == "off" else yaml.safe_load(text)
        assert getattr(Augment.model_validate({name: value}), name) == getattr(default, name), name


@pytest.mark.parametrize("page", [README, *PAGES, *OTHERS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    assert [str(target) for target in sorted(links(page)) if not target.exists()] == []


def test_the_readme_links_every_topic():
    assert {*TOPICS, *OTHERS} <= links(README)


def test_the_files_that_the_architecture_names_are_there():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    paths = re.findall(r"`((?:tests|scripts|[a-z]+)/[\w/.<>]*)`", text)
    assert len(paths) > 50
    missing = [
        path for path in paths if not ((ROOT / path).exists() or (ROOT / "tlcli" / path).exists())
    ]
    assert missing == []
