"""Print which package of tlcli imports which, as the table in docs/architecture.md.

    python scripts/import_graph.py            # print the table
    python scripts/import_graph.py --write    # put it into docs/architecture.md

Packages stand from the ground up, in rows and in columns. A row says what a package imports, in
numbers of import statements; those inside functions and those for type checkers count, too. An
import that points up would be a number above the diagonal: `tests/test_layers.py` fails for it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tlcli"
PAGE = ROOT / "docs" / "architecture.md"

#: Modules that belong to no package and stand below all of them.
BELOW = ("_version", "errors")

#: From the ground up: a package imports only those before it.
PACKAGES = (
    "system",
    "networks",
    "pretrained",
    "recipe",
    "images",
    "data",
    "features",
    "runs",
    "training",
    "evaluation",
    "explain",
    "export",
    "search",
    "audits",
    "cluster",
    "report",
    "serving",
    "commands",
)

#: Modules above all packages.
ABOVE = ("api", "cli", "__main__", "__init__")

#: What encloses the table in the page.
BEGIN, END = "<!-- import graph: begin -->", "<!-- import graph: end -->"


def module_name(path: Path) -> str:
    """'tlcli/data/audit.py' -> 'data.audit', and 'tlcli/data/__init__.py' -> 'data.__init__'."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def modules() -> list[str]:
    """Every module of tlcli, sorted."""
    return sorted(map(module_name, PACKAGE.rglob("*.py")))


def package_of(module: str) -> str:
    """'data.audit' -> 'data'; a module without a package stands for itself."""
    return module.partition(".")[0]


def rank(module: str) -> int:
    """A number that grows with the rank of a module's package; `ValueError` where it has none."""
    return (*BELOW, *PACKAGES, *ABOVE).index(package_of(module))


@cache
def imports(module: str) -> tuple[str, ...]:
    """The full names that a module imports, inside functions and for type checkers, too."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names += (f"{prefix}.{alias.name}" for alias in node.names)
    return tuple(names)


def imported_modules(module: str, known: frozenset[str]) -> list[str]:
    """The modules of tlcli that a module imports, once for each name; `known` are all modules."""
    modules = []
    for name in imports(module):
        top, _, rest = name.partition(".")
        if top == "tlcli":
            parts = rest.split(".")
            ends = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
            modules.append(next((end for end in ends if end in known), "__init__"))
    return modules


def graph() -> dict[str, Counter[str]]:
    """For each package, how many names it imports from each of the others."""
    known = frozenset(modules())
    edges: dict[str, Counter[str]] = {}
    for module in sorted(known):
        package = package_of(module)
        targets = map(package_of, imported_modules(module, known))
        edges.setdefault(package, Counter()).update(name for name in targets if name != package)
    return edges


def table(edges: dict[str, Counter[str]]) -> str:
    """The graph as lines of text: a number in row A and column B says that A imports from B."""
    columns = ("errors", *PACKAGES)
    rows = (*PACKAGES, "api", "cli")
    width = max(map(len, rows))
    lines = [" " * (width + 2) + "  ".join(columns)]
    for row in rows:
        cells = (
            ("·" if row == column else str(edges[row][column] or "")).center(len(column))
            for column in columns
        )
        lines.append(f"{row:<{width}}  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put it into docs/architecture.md")
    text = table(graph())
    if not parser.parse_args().write:
        print(text)
        return
    page = PAGE.read_text("utf-8")
    block = f"{BEGIN}\n```\n{text}\n```\n{END}"
    new, number = re.subn(f"{BEGIN}.*{END}", lambda _: block, page, flags=re.DOTALL)
    if number != 1:
        sys.exit(f"{PAGE}: found {number} places for the table instead of one")
    PAGE.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
