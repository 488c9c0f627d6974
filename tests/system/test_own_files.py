"""What tlcli wrote itself is replaced, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.runs import write_finished_run
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tlcli.evaluation import figures, learning_curves
from tlcli.images import contact_sheet
from tlcli.report import report
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import own_files

PICTURE = Image.new("RGB", (40, 30), (200, 30, 30))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "pets", each=2)


def png(**texts: str) -> bytes:
    """A PNG of Pillow's with text chunks."""
    info, data = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    PICTURE.save(data, "PNG", pnginfo=info)
    return data.getvalue()


def matplotlib_svg() -> bytes:
    figure, data = Figure(), io.BytesIO()
    figure.subplots().plot([1, 2])
    figure.savefig(data, format="svg")
    return data.getvalue()


def test_all_that_tlcli_draws_says_so(run: Run, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    contact_sheet.save_sheet(PICTURE, sheet)
    pictures = learning_curves.draw_curves(run)
    page = report.write_report(run).path
    diagrams = [tmp_path / f"diagram.{form}" for form in ("png", "svg")]
    for path in diagrams:
        with figures.picture_style():
            figures.save_figure(Figure(), path)
    for path in (sheet, *pictures, page, *diagrams):
        assert own_files.is_own(path), path
    # What other programs read of it.
    for path in (sheet, pictures[0]):
        with Image.open(path) as picture:
            assert picture.info["Software"] == "tlcli"
    (tmp_path / "long.png").write_bytes(png(Comment="c" * 100_000, Software="tlcli"))
    assert own_files.is_own(tmp_path / "long.png")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"tlcli",
        b'{"tlcli": 1}',
        b"path,label\n",
        png(),
        png(Software="tlcli2"),
        png(Software="GIMP", Comment="Software\0tlcli"),
        png(Title="tlcli"),
        png(Software="tlcli")[:50],
        png()[:20],
        matplotlib_svg(),
        b"<svg><title>tlcli</title></svg>",
        b"<html><head><title>tlcli report</title></head>",
    ],
    ids=range(13),
)
def test_what_does_not_say_so_is_kept(tmp_path: Path, content: bytes):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not own_files.is_own(path)
    (problem,) = own_files.check_file(path, named=True, force=False)
    assert str(problem) == (
        f"--out {path}: exists already; name another, or replace it with --force"
    )
    assert own_files.check_file(path, named=True, force=True) == []


def test_what_is_no_file_is_kept(tmp_path: Path):
    link, folder = tmp_path / "link.png", tmp_path / "folder.png"
    link.symlink_to(tmp_path / "nothing")
    folder.mkdir()
    for path in (link, folder):
        (problem,) = own_files.check_file(path, named=False, force=False)
        assert problem.hint == "name another with --out, or replace it with --force"
    assert own_files.check_file(tmp_path / "new.png", named=False, force=False) == []


# Every command that writes files where a user says


Write = tuple[list[str], tuple[str, ...]]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["report", "--out", "OUT/curves.png"], ["curves.png"]),
        (["curves", "--out", "OUT"], ["curves.png", "curves.svg"]),
        (["preview", "-c", "CONFIG", "--out", "OUT/curves.png"], ["curves.png"]),
        (["evaluate", "--out", "OUT"], ["predictions-test.csv", "reliability-test.png"]),
    ],
    ids=lambda value: value[0],
)
def test_a_users_own_file_is_replaced_only_with_force(
    cli: Callable, run: Run, config: Path, words: list[str], names: list[str]
):
    directory.mark_latest(run)
    out = Path("out")
    out.mkdir()
    words = [word.replace("OUT", "out").replace("CONFIG", str(config)) for word in words]
    for name in names:
        (out / name).write_text("mine")
    done = cli("--quiet", *words)
    assert (done.exit_code, done.stdout) == (1, "")
    already = f"has {', '.join(names)} already" if words[-1] == "out" else "exists already"
    it = "them" if len(names) > 1 else "it"
    another = "another folder" if words[-1] == "out" else "another"
    assert done.stderr == (
        f"error: --out {words[-1]}: {already}; name {another}, or replace {it} with --force\n"
    )
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "mine")
    assert cli(*words, "--force").exit_code == 0
    assert all((out / name).stat().st_size > 100 for name in names)
    again = cli(*words)
    if words[0] == "evaluate":  # a table cannot say whose it is
        assert "has evaluation-test.json, predictions-test.csv already" in again.stderr
    else:
        assert again.exit_code == 0, again.stderr


def test_the_pictures_of_a_run_are_not_put_into_another(cli: Callable, run: Run, tmp_path: Path):
    other = write_finished_run(directory.runs_root() / "pets-2", tmp_path / "pets2", each=2)
    done = cli("curves", "pets-1", "--out", other.path)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: --out {other.path}: is a run; name another folder; ")
    # In the run itself they belong to tlcli, whoever wrote them.
    run.file(directory.CURVES[0]).write_bytes(png())
    assert cli("curves", "pets-1").exit_code == 0
    assert cli("curves", "pets-1", "--out", run.path).exit_code == 0
    assert own_files.is_own(run.file(directory.CURVES[0]))
