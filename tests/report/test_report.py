"""Reports: whole in themselves, true to the run, and harmless whatever names it holds.

Pages are read with html5lib, which parses as browsers do.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest
from builders.runs import HOSTILE, HOSTILE_CLASSES, Stage, write_explanations, write_finished_run
from PIL import Image

from tlcli.data.findings import Finding
from tlcli.errors import RunError
from tlcli.report import contents, report
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files

HTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_finished_run(directory.runs_root() / "pets-1", tmp_path / "photos")


def parsed(path: Path) -> Element:
    return html5lib.parse(path.read_text(encoding="utf-8"))


def tags(root: Element) -> set[str]:
    return {
        re.sub(r"\{.*\}", "", element.tag) for element in root.iter() if element.tag != "Comment"
    }


def every(root: Element, tag: str, **attributes: str) -> Iterator[Element]:
    for element in root.iter(HTML + tag):
        if all(element.get(name) == value for name, value in attributes.items()):
            yield element


def text(element: Element) -> str:
    """What an element says, as it is read; the style and the script are not."""
    hidden = {HTML + "style", HTML + "script"}

    def parts(item: Element) -> Iterator[str]:
        if item.tag not in hidden:
            yield item.text or ""
            for child in item:
                yield from parts(child)
                yield child.tail or ""

    return " ".join("".join(parts(element)).split())


def number(cell) -> str:
    """The count in a cell of the confusion matrix, without the share below it."""
    share = "".join(text(small) for small in cell.iter(HTML + "small"))
    return text(cell).removesuffix(share).strip()


def section(root: Element, name: str) -> Element:
    (element,) = every(root, "section", id=name)
    return element


def test_what_it_says_is_what_the_run_holds(run: Run):
    written = report.write_report(run)
    page = parsed(written.path)
    kept = run.read(directory.evaluation("test"))
    assert written.path == run.file("report.html")
    shown_text = text(page)
    right = sum(kept["confusion"][at][at] for at in range(3))
    low, high = kept["accuracy_interval"]
    assert f"It classifies {kept['accuracy']:.1%} of 30 test photos correctly" in shown_text
    assert f"expect {low:.1%} to {high:.1%}" in shown_text
    assert f"{right} of 30 test photos" in shown_text
    assert "Fine-tuning gained 13.3 percentage points over the head alone" in shown_text
    table = next(every(section(page, "confusion"), "tbody"))
    counts = [[int(number(cell)) for cell in row.iter(HTML + "td")] for row in table]
    assert counts == kept["confusion"]
    for row, cells in zip(kept["confusion"], table, strict=True):
        shares = [text(small) for small in cells.iter(HTML + "small")]
        assert shares == [f"{100 * count / sum(row):.0f}%" for count in row if count]
    rows = [[text(cell) for cell in row] for row in section(page, "classes").iter(HTML + "tr")][1:]
    expected = [
        [item["class"], "10", *(f"{item[key]:.3f}" for key in
         ("precision", "recall", "f1", "roc_auc", "average_precision"))]
        for item in kept["per_class"]
    ]  # fmt: skip
    assert rows == expected


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"verified": "", "published": ""}, "not verified"),
        ({"verified": "published hash", "published": "ab" * 16}, "by published hash"),
        ({"verified": "fingerprint", "published": "cd" * 32}, "by fingerprint"),
        ({"verified": "fingerprint"}, "by fingerprint"),
        # A claim of the file itself may be among these.
        ({"verified": "published hash"},
         "by published hash, as an earlier version of tlcli recorded it"),
    ],
)  # fmt: skip
def test_how_the_weights_were_verified(run: Run, weights: dict[str, str], words: str):
    record = run.read(directory.RECORD)
    files.write_json(run.file(directory.RECORD), {**record, "weights": {"source": "x", **weights}})
    page = section(parsed(report.write_report(run).path), "reproduce")
    facts = [[text(cell) for cell in entry] for entry in page.iter(HTML + "div")]
    shown = {key: value for key, value in facts if key.startswith("weights, ")}
    expected = {"weights, source": "x", "weights, verified": words}
    if published := weights.get("published"):
        expected["weights, published"] = published
    assert shown == expected


def test_the_photos_of_a_cell_are_those_that_it_counts(run: Run):
    report.write_report(run)
    page = parsed(run.file(directory.REPORT))
    lines = run.file(directory.predictions("test")).read_text().splitlines()[1:]
    pairs: dict[tuple[str, str], set[str]] = {}
    for path, label, predicted, *_ in (line.split(",") for line in lines):
        pairs.setdefault((label, predicted), set()).add(path)
    classes = ("blue", "green", "red")
    shown = {}
    for row, label in enumerate(classes):
        for column, predicted in enumerate(classes):
            for cell in every(page, "section", id=f"cell-{row}-{column}"):
                shown[label, predicted] = {text(item) for item in cell.iter(HTML + "bdi")
                                           if item.get("class") == "file"}  # fmt: skip
    assert shown == pairs


def test_every_cell_leads_to_its_photos(run: Run):
    report.write_report(run)
    page = parsed(run.file(directory.REPORT))
    (matrix,) = (item for item in page.iter(HTML + "table") if "matrix" in item.get("class", ""))
    targets = {item.get("href") for item in matrix.iter(HTML + "a")}
    assert targets == {"#" + item.get("id") for item in page.iter(HTML + "section")
                       if "cell" in item.get("class", "").split()}  # fmt: skip
    mistake = run.read(directory.evaluation("test"))["mistakes"][0]
    row, column = (("blue", "green", "red").index(mistake[key]) for key in ("label", "predicted"))
    (link,) = every(matrix, "a", href=f"#cell-{row}-{column}")
    (share,) = link.iter(HTML + "small")
    noun = "photo" if number(link) == "1" else "photos"
    shown_text = (
        f"{number(link)} {noun} labelled “{mistake['label']}”, predicted “{mistake['predicted']}”, "
        f"{text(share)} of the row"
    )
    assert link.get("aria-label") == shown_text


def test_nothing_is_loaded_from_anywhere(run: Run):
    write_explanations(run)
    page = parsed(report.write_report(run).path)
    for element in page.iter():
        for name, value in element.attrib.items():
            if name in (
                "src",
                "href",
                "srcset",
                "poster",
                "action",
                "data",
                "{http://www.w3.org/1999/xlink}href",
            ):
                assert value.startswith(("data:image/jpeg;base64,", "#")), (name, value[:60])
            assert not name.startswith("on"), "no script in attributes"
            assert name != "style", "the policy would drop it"
    (style,), (script,) = page.iter(HTML + "style"), page.iter(HTML + "script")
    assert "url(" not in style.text and "@import" not in style.text
    (policy,) = (item.get("content") for item in page.iter(HTML + "meta")
                 if item.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    for kind, element in (("style-src", style), ("script-src", script)):
        digest = hashlib.sha256(element.text.encode()).digest()
        assert directives[kind] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_hostile_names_are_text(tmp_path: Path):
    plain = report.write_report(write_finished_run(tmp_path / "plain", tmp_path / "a", each=9))
    run = write_finished_run(
        tmp_path / "evil", tmp_path / "<i>b", names=HOSTILE, classes=HOSTILE_CLASSES, each=9,
        margin=0.5,
    )  # fmt: skip
    finding = {
        "kind": "<script>", "severity": "warning", "message": "<img src=x onerror=alert(3)>",
        "hint": "'\"><svg onload=alert(4)>", "count": 1, "paths": [HOSTILE[1]],
    }  # fmt: skip
    files.write_json(run.file(directory.AUDIT), {"findings": [finding], "counts": {}})
    page = parsed(report.write_report(run).path)
    assert tags(page) <= tags(parsed(plain.path)) | {"svg"}
    assert len(list(page.iter(HTML + "script"))) == 1
    for element in page.iter():
        assert not any(name.startswith("on") for name in element.attrib)
    shown_text = text(page)
    for name in HOSTILE:
        shown = name.replace("\n", "\\n").replace("\t", "\\t").replace("\x1b", "\\x1b")
        shown = " ".join(shown.replace("\u202e", "\\u202e").split())
        assert shown in shown_text, shown
    assert (
        "<b>bold</b>" in shown_text
        and "quo\"te's & co" in shown_text
        and "고양이\\nline" in shown_text
    )
    assert "<img src=x onerror=alert(3)>" in shown_text
    assert "\u202e" not in shown_text and "x" * 300 in shown_text
    assert not report.write_report(run).contents.hidden, "every photo is shown, whatever its name"


def test_pictures_carry_nothing_but_pixels(run: Run, tmp_path: Path):
    kept = run.read(directory.evaluation("test"))
    path = tmp_path / "photos" / kept["mistakes"][0]["path"]
    exif = Image.Exif()
    exif[0x010E] = "SECRET PLACE"
    Image.open(path).save(path, exif=exif)
    assert b"SECRET" in path.read_bytes()
    rows = run.file(directory.SPLIT).read_text().splitlines()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fixed = [row if str(path) not in row else row.rpartition(",")[0] + "," + digest for row in rows]
    run.file(directory.SPLIT).write_text("\n".join(fixed) + "\n")
    page = parsed(report.write_report(run).path)
    pictures = [
        base64.b64decode(item.get("src").partition(",")[2]) for item in page.iter(HTML + "img")
    ]
    assert pictures
    for content in pictures:
        image = Image.open(io.BytesIO(content))
        assert image.format == "JPEG" and not image.getexif() and b"SECRET" not in content
        assert "comment" not in image.info


def test_a_changed_photo_is_not_shown(run: Run, tmp_path: Path, capsys):
    path = tmp_path / "photos" / run.read(directory.evaluation("test"))["mistakes"][0]["path"]
    Image.new("RGB", (9, 9)).save(path)
    written = report.write_report(run)
    (problem,) = written.contents.hidden
    assert (problem.where, problem.message) == (
        str(path),
        "is not a photo of the run, or has changed since",
    )
    assert (
        "is not a photo of the run, or has changed since; left out of the report"
        in capsys.readouterr().err
    )
    assert "1 photo could not be shown" in text(parsed(written.path))


def test_pictures_that_the_run_does_not_know_stay_out(run: Run, tmp_path: Path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 40), "red").save(secret)
    evaluation = run.read(directory.evaluation("test"))
    evaluation["mistakes"][0]["path"] = str(secret)
    evaluation["mistakes"][1]["path"] = "../secret.png"
    files.write_json(run.file(directory.evaluation("test")), evaluation)
    hidden = report.write_report(run).contents.hidden
    assert {problem.message for problem in hidden} == {
        "is not a photo of the run, or has changed since"
    }
    assert len(hidden) == 2


def test_photos_that_have_moved(run: Run, tmp_path: Path, capsys):
    (tmp_path / "photos").rename(tmp_path / "moved")
    written = report.write_report(run)
    assert written.contents.pictures == 0
    assert len(written.contents.hidden) == 30
    assert (
        "name the folder of the photos with --data (and 29 photos more); left"
        in capsys.readouterr().err
    )
    again = report.write_report(run, data=tmp_path / "moved")
    assert not again.contents.hidden
    assert again.contents.pictures > 30
    with pytest.raises(
        RunError, match="--data nowhere: is not a folder; name the folder of the photos"
    ):
        report.write_report(run, data=Path("nowhere"))


def test_what_is_missing_is_named_with_its_command(tmp_path: Path, capsys):
    run = write_finished_run(tmp_path / "a run", tmp_path / "photos", evaluated=False)
    written = report.write_report(run)
    command = f"tlcli evaluate --run '{run.path}'"
    assert written.as_json()["missing"] == [
        {"what": "the scores of classes and photos", "command": command}
    ]
    err = capsys.readouterr().err
    assert err == f"not in the report: the scores of classes and photos; to add it: {command}\n"
    page = parsed(written.path)
    for name in ("verdict", "classes", "confusion", "mistakes", "calibration"):
        assert command in text(section(page, name))
    # What is known without an evaluation is shown.
    assert "It classifies 80.0% of 30 test photos correctly" in text(page)
    assert "always answering “blue” would be right for 33.3%" in text(page)


def test_explanations_stand_beside_their_photos(run: Run):
    assert report.write_report(run).contents.missing["explanations"].command == (
        f"tlcli report --run {run.path} --explain"
    )
    write_explanations(run)
    written = report.write_report(run)
    assert not written.contents.missing
    heats = [item for item in written.contents.mistakes if item.heat]
    assert [item.guess.path for item in heats] == [
        guess["path"] for guess in run.read(directory.evaluation("test"))["mistakes"][:4]
    ]
    alts = [item.get("alt") for item in parsed(written.path).iter(HTML + "img")]
    assert sum(alt.startswith("the same photo with a heat map for ") for alt in alts) == 4


def test_an_explanation_from_elsewhere_is_refused(run: Run):
    write_explanations(run)
    index = run.file(directory.EXPLANATIONS) / directory.EXPLANATIONS_INDEX
    index.write_text(index.read_text().replace("0001.png", "../../secret.png"))
    with pytest.raises(
        RunError, match=r"'../../secret.png' is not the name of a file in this fold"
    ):
        report.write_report(run)


def test_without_test_photos_the_validation_photos_count(tmp_path: Path):
    run = write_finished_run(
        tmp_path / "run", tmp_path / "photos", splits=("train", "val"),
        stages=(Stage("head", None, 3, None),),
    )  # fmt: skip
    written = report.write_report(run)
    shown_text = text(parsed(written.path))
    assert written.as_json()["split"] == "val"
    assert "of 30 validation photos correctly" in shown_text
    assert "the validation photos were also used to choose the best epoch" in shown_text


def test_a_damaged_file_is_named(run: Run):
    value = run.read(directory.evaluation("test"))
    value["confusion"] = value["confusion"][:2]
    files.write_json(run.file(directory.evaluation("test")), value)
    with pytest.raises(RunError) as caught:
        report.write_report(run)
    assert str(caught.value) == (
        f"{run.file('evaluation-test.json')}: Value error, the confusion matrix must have 3 rows "
        "of 3 counts; make it again, or remove it"
    )


def test_findings_about_labels_name_them(run: Run):
    names = ["'nan'", "'N/A'", *(f"'none {number}'" for number in range(18))]
    finding = {
        "kind": "no label", "severity": "warning", "message": "looks like no label", "hint": "",
        "count": 31, "noun": "label", "paths": [], "names": names,
    }  # fmt: skip
    files.write_json(run.file(directory.AUDIT), {"findings": [finding], "counts": {}})
    shown = text(section(parsed(report.write_report(run).path), "data"))
    assert "warning 31 labels: looks like no label 'nan', 'N/A', 'none 0'," in shown
    assert "'none 7' and 21 more" in shown


def test_what_was_found_is_said_of_something(run: Run):
    """A finding goes on from its file, or from how many there are and what they are called."""
    findings = [
        Finding("no image suffix", "warning", "ignored", "h", (Path("notes.txt"),), noun="file"),
        Finding("dangling", "note", "ignored", "", (Path("a"), Path("b")), noun="link"),
        Finding("flat", "warning", "is one colour all over", "", (Path("c.png"),)),
        Finding("class", "warning", "has 2 photos", noun="class", names=("cats",)),
        Finding("other", "note", "photos: something else"),
    ]
    listed = [finding.as_dict(Path()) for finding in findings]
    old = {"kind": "x", "severity": "note", "message": "y", "count": 2, "paths": ["p", "q"]}
    files.write_json(run.file(directory.AUDIT), {"findings": [*listed, old], "counts": {}})
    shown = text(section(parsed(report.write_report(run).path), "data"))
    audit = shown.partition("Audit ")[2]
    assert audit.startswith(
        "warning notes.txt: ignored; h note 2 links: ignored 2 links a b "
        "warning c.png: is one colour all over warning class cats: has 2 photos "
        "note photos: something else note 2 files: y 2 files p q"
    )


def test_another_file_is_not_overwritten(run: Run, tmp_path: Path):
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine")
    with pytest.raises(RunError, match=r"exists already; name another, or replace it with --force"):
        report.write_report(run, out=mine)
    assert mine.read_text() == "<p>mine"
    with pytest.raises(RunError, match=r"is a folder; name a file, such as report.html"):
        report.write_report(run, out=tmp_path)
    mine.unlink()
    assert (
        report.write_report(run, out=mine).path == report.write_report(run, out=mine).path == mine
    )


def test_a_report_stays_small_with_many_classes_and_photos(tmp_path: Path, monkeypatch):
    classes = tuple(f"class {number:02d}" for number in range(45))
    run = write_finished_run(
        tmp_path / "run", tmp_path / "photos", classes=classes, each=3, margin=1.0
    )
    words = len(report.report_html(contents.gather_contents(run, most_bytes=0)).encode())
    everything = report.write_report(run).bytes
    assert everything > words + 200_000
    monkeypatch.setattr(report, "LIMIT", words + 100_000)
    written = report.write_report(run)
    pictures = [item.get("src") for item in parsed(written.path).iter(HTML + "img")]
    assert 50_000 < sum(map(len, pictures)) < 100_000
    assert written.bytes == written.path.stat().st_size <= report.LIMIT
    shown_text = text(section(parsed(written.path), "confusion"))
    assert (
        "The 40 classes with the most mistakes are shown; the other 5 are grouped together."
        in shown_text
    )
    assert written.contents.matrix is not None
    counted = sum(cell.n for row in written.contents.matrix.rows for cell in row)
    assert counted == 135
    assert re.search(r"\d+ photos? more, not shown|\d+ photos?, not shown here", shown_text)


def test_the_command(run: Run, cli, tmp_path: Path):
    done = cli("report", "--run", "pets-1", "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["report"] == str(run.file("report.html"))
    assert value["bytes"] == run.file("report.html").stat().st_size
    assert value["verdict"][0].startswith("It classifies ")
    out = tmp_path / "out.html"
    assert cli("report", "--run", "pets-1", "--out", out).stdout == f"{out}\n"


def test_how_to_reproduce_begins_with_every_bit(run: Run):
    commands = section(parsed(report.write_report(run).path), "reproduce").iter(HTML + "code")
    assert text(next(commands)) == f"tlcli reproduce {shlex.quote(str(run.path))}"


def test_it_does_without_tensorflow(run: Run):
    probe = (
        "import sys; from pathlib import Path; from tlcli.report import report; "
        "from tlcli.runs.directory import Run; report.write_report(Run(Path(sys.argv[1])));"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, run.path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
    assert run.file(directory.REPORT).is_file()


def test_explaining_needs_an_evaluation(tmp_path: Path, cli):
    run = write_finished_run(directory.runs_root() / "pets-2", tmp_path / "photos", evaluated=False)
    done = cli("report", "--run", "pets-2", "--explain")
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: {run.path}: its mistakes are not known yet; "
        f"run `tlcli evaluate --run {run.path}` first\n"
    )
