"""The pages of the documentation site that follow from the code: a hook of MkDocs.

    make docs            # builds the site, with these pages, into site/

The home page is the README. The reference is made of the models of the recipe, of the commands and
of the table of files in a run, so that it says what the version at hand does.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from command_pages import commands_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tlcli.recipe.recipe import recipe_schema
from tlcli.runs import calibration_record, directory, evaluation_records, records

ROOT = Path(__file__).resolve().parents[1]

#: Files outside of docs/ that are pages of the site, and where.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/serve/README.md": "docker.md",
}

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of docs/."""
    for source, place in ELSEWHERE.items():
        text = site_links((ROOT / source).read_text("utf-8"), source, place)
        files.append(File.generated(config, place, content=text))
    for place, text in generated_pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(
    markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files
) -> str | None:
    """Have the links of a page in docs/ lead to pages of the site."""
    place = page.file.src_uri
    if page.file.generated_by is not None:
        return markdown
    return site_links(markdown, f"docs/{place}", place)


def generated_pages() -> dict[str, str]:
    """The pages that are made of the code, by their place in the site."""
    return {
        "reference/recipe.md": recipe_page(),
        "reference/commands.md": commands_page(),
        "reference/run_files.md": run_files_page(),
        "reference/examples.md": examples_page(),
    }


def site_links(text: str, source: str, place: str) -> str:
    """A page whose links to files of the repository lead to where these are in the site.

    Args:
        source: the page's file, from the root of the repository.
        place: of the page in the site.

    What is not in the site is named, without a link.
    """

    def replace(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if named in ELSEWHERE:
            home = ELSEWHERE[named]
        elif named.startswith("docs/"):
            home = named.removeprefix("docs/")
        elif named.startswith("examples/configs/") and named.endswith(".yaml"):
            home, anchor = "reference/examples.md", slug(posixpath.basename(named))
        else:
            return match[0] if mark else words
        link = posixpath.relpath(home, posixpath.dirname(place) or ".")
        return f"{mark}[{words}]({link}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(replace, text)


def slug(heading: str) -> str:
    """The anchor that Python-Markdown gives to a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


# The recipe


def recipe_page() -> str:
    """Every key of a recipe: what it may be, its default, what it is for."""
    schema = recipe_schema()
    lines = [
        "# Every key of a recipe",
        "",
        "A recipe is a YAML file. Two blocks are needed, `data` and `base`.",
        "All else has a default.",
        "`--set KEY=VALUE` changes a key for one command: `--set stages.1.epochs=3`.",
        "This page is made of the models that check recipes.",
        "",
    ]
    lines += _blocks(schema, schema, "", "The recipe")
    return "\n".join(lines)


def _blocks(
    schema: Mapping[str, Any], block: Mapping[str, Any], prefix: str, title: str
) -> Iterator[str]:
    """A table of the keys of a block, then those of the blocks in it."""
    yield from (f"## {title}", "")
    if prefix and block.get("description"):
        yield from (_first_line(block), "")
    yield from ("| key | value | default | what it is for |", "|---|---|---|---|")
    inner: list[tuple[str, str, Mapping[str, Any]]] = []
    for name, field in block["properties"].items():
        kinds = [*_kinds(schema, field)]
        key = f"{prefix}{name}"
        for kind in kinds:
            of_list = kind.get("items", {})
            for part in [kind, *_kinds(schema, of_list)] if of_list else [kind]:
                if "properties" in part:
                    inner.append((f"{key}[]" if part is not kind else key, name, part))
        needed = name in block.get("required", ())
        cells = (
            f"`{key}`",
            " or ".join(dict.fromkeys(map(_kind_text, kinds))),
            "needed" if needed else _value_text(field.get("default", "")),
            _escaped(str(field.get("description") or _first_line(kinds[0]))),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for key, _, part in inner:
        yield from _blocks(schema, part, f"{key}.", f"`{key}`")


def _first_line(block: Mapping[str, Any]) -> str:
    """What a block is, from the docstring of its model."""
    return str(block.get("description", "")).split("\n")[0]


def _escaped(text: str) -> str:
    """Text whose brackets are no link."""
    return text.replace("[", "\\[").replace("]", "\\]")


def _kinds(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What may stand at a place, references followed."""
    if "$ref" in field:
        field = schema["$defs"][field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        for choice in field["anyOf"]:
            yield from _kinds(schema, choice)
    else:
        yield field


def _kind_text(kind: Mapping[str, Any]) -> str:
    """A kind of value in words, with its bounds."""
    if "enum" in kind or "const" in kind:
        return ", ".join(f"`{value}`" for value in kind.get("enum", [kind.get("const")]))
    if "properties" in kind:
        return "a block"
    name = {
        "array": "a list", "boolean": "true or false", "integer": "a whole number",
        "null": "null", "number": "a number", "object": "a mapping", "string": "text",
    }.get(str(kind.get("type")), "any")  # fmt: skip
    if kind.get("format") == "path":
        name = "a path"
    if "items" in kind:
        of = {"integer": "whole numbers", "number": "numbers", "string": "texts"}
        name = f"a list of {of.get(str(kind['items'].get('type')), 'entries')}"
    words = {
        "minimum": "at least", "maximum": "at most",
        "exclusiveMinimum": "above", "exclusiveMaximum": "below",
    }  # fmt: skip
    bounds = [f"{word} {_bound(kind[key])}" for key, word in words.items() if key in kind]
    return f"{name} {' and '.join(bounds)}" if bounds else name


def _bound(value: float) -> str:
    """A bound as people write it; shares have one a rounding error above 1."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _value_text(value: Any) -> str:
    if value in ("", None):
        return ""
    if isinstance(value, dict):
        return "see below"
    text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return f"`{text}`"


# The files of a run


#: What the JSON files of a run hold.
_RECORDS = {
    directory.RECORD: records.RunRecord,
    directory.SUMMARY: records.Summary,
    f"{directory.METRICS}, each line": records.Epoch,
    directory.CALIBRATION: calibration_record.CalibrationRecord,
    directory.evaluation("SPLIT"): evaluation_records.Evaluation,
}


def run_files_page() -> str:
    """Every file of a run, with what the code says of it, and the keys of its records."""
    comments = dict(_file_comments())
    lines = [
        "# Every file of a run",
        "",
        "A run is a folder. It can be copied anywhere; `predict` needs no more than `model.keras`.",
        "",
        "## What training leaves",
        "",
        "| file | what it holds |",
        "|---|---|",
        *(f"| `{name}` | {comments.get(name, '')} |" for name in directory.FILES),
        "",
        "## What other commands add",
        "",
        "| file | what it holds |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in _added(comments)),
        "",
        "## The records",
        "",
    ]
    for name, model in _RECORDS.items():
        schema = model.model_json_schema()
        lines += [f"### {name}", "", *_record(schema, schema)]
    return "\n".join(lines)


def _file_comments() -> Iterator[tuple[str, str]]:
    """The names of files in `runs/directory.py`, each with the comment on its line."""
    text = Path(directory.__file__).read_text("utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign):
            comment = lines[node.lineno - 1].partition("  # ")[2]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for value in values:
                if isinstance(value, ast.Constant) and comment:
                    yield str(value.value), comment


def _added(comments: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The files that follow from a model, those of a split named once."""
    functions = {
        getattr(directory, name)("test"): getattr(directory, name)
        for name in ("evaluation", "predictions", "reliability", "confusion")
    }
    for name in (*directory.DERIVED, directory.NOTE):
        if name in comments:
            yield name, comments[name]
    for function in functions.values():
        sentence = str(function.__doc__).splitlines()[0]
        yield function("SPLIT"), sentence.removeprefix("The file with the ").rstrip(".")


def _record(schema: Mapping[str, Any], block: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a record; those of its parts are named behind a dot."""
    yield from (str(block.get("description", "")).split("\n\n")[0].replace("\n", " "), "")
    yield from ("| key | value |", "|---|---|")
    for key, kinds in _record_keys(schema, block, ""):
        yield f"| `{key}` | {' or '.join(dict.fromkeys(map(_kind_text, kinds)))} |"
    yield ""


def _record_keys(
    schema: Mapping[str, Any], block: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for name, field in block["properties"].items():
        kinds = [*_kinds(schema, field)]
        yield f"{prefix}{name}", kinds
        for kind in kinds:
            items = [*_kinds(schema, kind["items"])] if kind.get("items") else []
            for part in [kind, *items]:
                if "properties" in part:
                    mark = "[]" if part is not kind else ""
                    yield from _record_keys(schema, part, f"{prefix}{name}{mark}.")


# The recipes that come with tlcli


def examples_page() -> str:
    """The recipes of examples/configs, each with what was measured."""
    lines = ["# Example recipes", "", "Each says in its first lines what was measured.", ""]
    for path in sorted((ROOT / "examples/configs").rglob("*.yaml")):
        lines += [f"## {path.name}", "", "```yaml", path.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(lines)
