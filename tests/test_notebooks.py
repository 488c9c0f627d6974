"""The notebooks of examples/ run from their first cell to their last, in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlcli.system import console

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").rglob("*.ipynb"))


def code_of(notebook: Path) -> list[str]:
    """The text of its code cells, which hold no output."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code_cells = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code_cells] == [[]] * len(code_cells)
    return ["".join(cell["source"]) for cell in code_cells]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, capsys: pytest.CaptureFixture[str]):
    console.release()
    names: dict[str, object] = {}
    for number, text in enumerate(code_of(notebook), 1):
        exec(compile(text, f"{notebook.name}, cell {number}", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    right, of = printed[0].removesuffix(" test digits are right").split(" of ")
    assert int(right) > 0.9 * int(of)
    assert printed[-1] == str(Path("digits-notebook") / "report.html")
    assert Path(printed[-1]).is_file()


def test_there_is_one():
    assert [path.name for path in NOTEBOOKS] == ["digits.ipynb"]
    assert all(compile(text, "cell", "exec") for text in code_of(NOTEBOOKS[0]))
