"""The documentation site: its navigation, its language, the pages made of the code, its links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
import yaml
from builders.scripts import load_script

from tlcli.cli import main
from tlcli.recipe.setting_keys import setting_keys
from tlcli.runs import directory

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

pytest.importorskip("mkdocs", reason="the group 'docs' is not installed")
site_pages = load_script("scripts/site_pages.py")


def navigation() -> set[str]:
    """The pages that mkdocs.yml lists."""

    def walk(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for part in (entry.values() if isinstance(entry, dict) else entry)
                for page in walk(part)]  # fmt: skip

    return {*walk(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])}


def test_the_navigation_has_every_page():
    written = {path.relative_to(DOCS).as_posix() for path in PAGES}
    made = {*site_pages.generated_pages(), *site_pages.ELSEWHERE.values()}
    assert navigation() == written | made


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence; tables, code and headings are left out."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"^(\||#|    |::: ).*$", "", text, flags=re.M)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", text, flags=re.M)
    parts = [part for block in re.split(r"\n\s*\n", text)
             for part in re.split(r"[.!?](?=\s|$)", block)]  # fmt: skip
    return [words for part in parts if len(words := part.split()) > 2]


def test_sentences_are_short():
    """25 words are what readers of another language follow; no page is far from that."""
    lengths = {
        page.relative_to(ROOT).as_posix(): [
            len(words) for words in sentences(page.read_text("utf-8"))
        ]
        for page in [ROOT / "README.md", *PAGES]
    }
    means = {name: sum(counts) / max(len(counts), 1) for name, counts in lengths.items()}
    assert sum(means.values()) / len(means) < 22
    assert {name: round(mean, 1) for name, mean in means.items() if mean > 28} == {}


def test_the_reference_has_every_key_of_a_recipe():
    text = site_pages.recipe_page()
    keys = {re.sub(r"\.\d+", "[]", key) for key in setting_keys()}
    named = {*re.findall(r"^\| `([^`]+)`", text, re.M)}
    assert keys <= named
    assert "| `head.dropout` | a number at least 0 and below 1 | `0.5` |" in text


def commands_of(group: click.Group, words: tuple[str, ...] = ("tlcli",)) -> list[Any]:
    return [
        entry
        for name, command in group.commands.items()
        for entry in (
            ((*words, name), command),
            *(commands_of(command, (*words, name)) if isinstance(command, click.Group) else ()),
        )
    ]


def test_the_reference_has_every_option_of_every_command():
    text = site_pages.commands_page()
    for words, command in commands_of(main):
        match = re.search(rf"^#+ {' '.join(words)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
        assert match, words
        shown = [
            word
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden
            for word in option.opts
        ]
        assert [word for word in shown if word not in match[1]] == [], words


def test_the_reference_has_a_table_of_the_options_that_commands_share():
    text = site_pages.commands_page()
    rows = {
        cells[0]: cells[1:]
        for line in re.findall(r"^\| (`.*) \|$", text, re.M)
        for cells in [[cell.strip() for cell in line.split("|")]]
    }
    none, all_of_them = [""] * 7, ["●"] * 7
    assert "| `-c --config` | `-s --set` | `-o --out` | `-f --force` | `--open` |" in text
    assert rows["`evaluate`"] == ["`RUN`, `-r`", *all_of_them]
    assert rows["`compare`"] == ["`RUN RUN`", *none[:5], "●", "●"]
    assert rows["`finetune`"] == ["`--from`, `--resume`", *all_of_them[:4], "", "●", "●"]
    assert rows["`schema`"] == ["", *none]
    assert "`audit`" not in rows and len(rows) == 42


def test_the_reference_has_every_file_of_a_run():
    text = site_pages.run_files_page()
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.M))
    of_a_split = {
        re.sub("-(train|val|test)", "-SPLIT", name)
        for name in directory.DERIVED
        if re.search("-(train|val|test)", name) and not name.endswith(".svg")
    }
    whole = {name for name in directory.DERIVED if not re.search("-(train|val|test)", name)}
    assert {*directory.FILES, *whole, *of_a_split} <= rows.keys()
    assert all(rows[name] for name in directory.FILES)
    assert "| `stages[].best_epoch` |" in text


def test_links_of_the_readme_lead_into_the_site():
    made = site_pages.site_links(
        "[a](docs/data.md#copies) [b](LICENSE) [c](https://x.org) ![d](docs/images/views.png)",
        "README.md",
        "index.md",
    )
    assert made == "[a](data.md#copies) b [c](https://x.org) ![d](images/views.png)"
    back = site_pages.site_links(
        "[a](../../README.md#commands) [b](../../examples/configs/cats_dogs.yaml)",
        "docs/howto/leaks.md",
        "howto/leaks.md",
    )
    assert back == "[a](../index.md#commands) [b](../reference/examples.md#cats_dogsyaml)"


class _Links(HTMLParser):
    """What a page links to, what it loads, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.targets.append(given["href"])
        elif tag in ("script", "img", "iframe", "link") and given.get("rel") != "canonical":
            self.loaded.append(given.get("src", given.get("href", "")))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {path: _Links(path.read_text("utf-8")) for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        assert [address for address in page.loaded if re.match("(https?:)?//", address)] == [], path
        for target in page.loaded + page.targets:
            name, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target) or path.name == "404.html":
                continue
            home = (path.parent / unquote(name)).resolve() if name else path
            assert home.exists(), f"{path.name}: {target}"
            if anchor and home in pages:
                assert unquote(anchor) in pages[home].anchors | {""}, f"{path.name}: {target}"
