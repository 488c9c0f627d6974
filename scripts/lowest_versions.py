"""Write lowest.txt: the lowest versions that pyproject.toml allows, and what they need.

    python scripts/lowest_versions.py

What tlcli asks for itself is taken at its lower bound; what those packages ask for is the newest
that they accept, as pip would take it. `uv` works it out, in an environment of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "lowest.txt"

#: Of the group `dev`, what no test needs.
TOOLS = ("build", "mypy", "ruff", "twine", "types-")

#: What uv must be told beside: it passes over the upper end of `Requires-Python`.
CONSTRAINTS = ("backports-strenum<1.3",)  # later ones are for Pythons before 3.11

HEADER = """\
# The lowest versions that pyproject.toml allows, for `make test-lowest`. Written by
# `make lowest`, with the oldest Python that is supported.
"""


def requirements() -> list[str]:
    """What tlcli, its extras and its tests ask for, without tlcli itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        listed += extra
    for entry in project["dependency-groups"]["dev"]:
        if isinstance(entry, str) and not entry.startswith(TOOLS):
            listed.append(entry)
    return sorted({entry for entry in listed if not entry.startswith("tlcli")})


def main() -> None:
    """Resolve and write."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        wanted = Path(folder) / "requirements.in"
        wanted.write_text("\n".join(requirements()), "utf-8")
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(CONSTRAINTS), "utf-8")
        done = subprocess.run(
            [python, "-m", "uv", "pip", "compile", wanted, "--constraint", constraints,
             "--resolution", "lowest-direct", "--python-version", "3.11", "--no-header",
             "--no-annotate", "--quiet"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    LOCK.write_text(HEADER + done.stdout, "utf-8")
    print(f"{LOCK.name}: {len(done.stdout.splitlines())} packages", file=sys.stderr)


if __name__ == "__main__":
    main()
