"""docs/tutorial.md, executed: each command prints what the page shows below it.

Numbers that training gives differ between processors, and times between machines; what may differ
by how much is in `alike`. A line of three dots stands for any lines, and three dots at the end of a
line for its rest. Paths are shown from the working folder on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL, README = ROOT / "docs" / "tutorial.md", ROOT / "README.md"
WEIGHTS = os.environ.get("TLCLI_TEST_VGG16")

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")

#: What depends on the machine: times, rates, sizes; which epoch of a stage was the best, and
#: the temperature of its probabilities.
_FREE = re.compile(
    r"\d+ h \d+ min|\d+ min \d+ s|[\d.]+ s\b|[\d.,]+ (?:views|photos)/s|[\d.]+ [kMG]B"
    r"|(?<=best epoch )\d+ of \d+|(?<=temperature )[\d.]+|--+"
)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The kind and the text of each block of code."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it prints."""
    pairs: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:].partition("  #")[0], []))
        elif pairs:
            pairs[-1][1].append(line)
    return pairs


def alike(shown: str, printed: str) -> bool:
    """Whether a line is as the page shows it.

    Numbers may differ by 5%, or whole ones and percentage points by 3 and others by 0.03 if that is
    more.
    """
    if shown.endswith("..."):
        shown = shown.removesuffix("...").rstrip()
        printed = printed[: len(shown)] if not _NUMBER.search(shown) else printed
        return _texts(printed)[0].startswith(_texts(shown)[0][:20])
    if _texts(shown) != _texts(printed):
        return False
    least = 3.0 if "percentage points" in shown else 0.03
    return all(
        _near(first, second, least)
        for first, second in zip(_numbers(shown), _numbers(printed), strict=True)
    )


def _texts(line: str) -> list[str]:
    """What stands between the numbers, in words with one blank between them."""
    return [" ".join(text.split()) for text in _NUMBER.split(_FREE.sub("~", line))]


def _numbers(line: str) -> list[str]:
    return _NUMBER.findall(_FREE.sub("~", line))


def _near(shown: str, printed: str, least: float) -> bool:
    first, second = (float(text.replace(",", "")) for text in (shown, printed))
    if "." in shown or "e" in shown:
        return abs(first - second) <= max(least, 0.05 * abs(first))
    return abs(first - second) <= max(3, 0.05 * first)


def missing_line(shown: list[str], printed: list[str]) -> str | None:
    """The first line of the page that was not printed in its place."""
    left = iter(printed)
    skip = False
    for line in shown:
        if line.strip() == "...":
            skip = True
            continue
        if skip:
            if not any(alike(line, other) for other in left):
                return line
        elif not alike(line, next(left, "")):
            return line
        skip = False
    return None


def without_progress(printed: str) -> list[str]:
    """The lines of a command less those that say how far it is, which only slow machines see."""
    return [
        line
        for line in printed.splitlines()
        if not re.fullmatch(r"[\w -]+: [\d,]+ of [\d,]+ .*/s, .* left", line)
    ]


def edit(recipe: Path, text: str) -> None:
    """Change the lines of a recipe that a block of YAML shows."""
    lines = recipe.read_text("utf-8").splitlines()
    for changed in text.splitlines():
        match = re.match(r"\s*(- \{name: [\w-]+|\w+:)", changed)
        assert match, changed
        (place,) = [at for at, line in enumerate(lines) if line.startswith(match[0])]
        lines[place] = changed
    recipe.write_text("\n".join(lines) + "\n", "utf-8")


def test_lines_are_compared_by_what_matters():
    assert alike("time: 3 min 02 s (load 0.4 s)", "time: 12 s (load 14.0 s)")
    assert alike("test accuracy 0.9628 (259 of 269)", "test accuracy 0.9442 (254 of 269)")
    assert not alike("test accuracy 0.9628 (259 of 269)", "test accuracy 0.91 (240 of 269)")
    assert not alike("run: runs/digits-1", "run: runs/other-1")
    assert alike("gained 1.9 percentage points", "gained 4.1 percentage points")
    assert not alike("gained 1.9 percentage points", "gained 5.1 percentage points")
    assert missing_line(["a", "...", "c 3"], ["a", "b", "b", "c 4"]) is None
    assert missing_line(["a", "c"], ["a", "b", "c"]) == "c"
    assert without_progress("a\nhead: 9 of 1,200 photos (1%), 8.0 photos/s, 2 s left\nb") == [
        "a",
        "b",
    ]


def test_the_session_of_the_readme_is_that_of_the_tutorial():
    shown = "\n".join(text for kind, text in blocks(TUTORIAL) if kind == "console").splitlines()
    for kind, text in blocks(README):
        if kind == "console":
            assert [line for line in text.splitlines() if line not in {*shown, "..."}] == []


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS, reason="TLCLI_TEST_VGG16 names no file")
def test_the_tutorial_prints_what_it_shows(tmp_path: Path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16_imagenet_notop.weights.h5").symlink_to(str(WEIGHTS))
    (tmp_path / "here").mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TLCLI_")
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "TLCLI_CACHE": str(tmp_path / "cache"),
        "TLCLI_WEIGHTS": str(tmp_path / "weights"), "TLCLI_PRECISION": "float32",
    }  # fmt: skip
    wrong = []
    for kind, text in blocks(TUTORIAL):
        if kind == "yaml":
            edit(tmp_path / "here" / "digits.yaml", text)
        for command, shown in commands(text) if kind == "console" else ():
            done = subprocess.run(
                command, shell=True, cwd=tmp_path / "here", env=environment, timeout=1800,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
            )  # fmt: skip
            printed = done.stdout.replace(f"{tmp_path / 'here'}{os.sep}", "")
            missing = missing_line(shown, without_progress(printed))
            if missing is not None:
                wrong.append(f"$ {command}\n{done.stdout}\nmissing: {missing}")
    assert not wrong, "\n\n".join(wrong)  # all at once: the commands take minutes
