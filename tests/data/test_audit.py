"""The audit: every kind of flaw planted and found, and a second check that decodes nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlcli.data import audit, exclude_list
from tlcli.data.audit_cache import AuditCache
from tlcli.data.dataset import Index
from tlcli.data.findings import Finding, audit_record, files_to_exclude
from tlcli.images import decode
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.training.check import check_recipe


def blobs(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A soft picture, like no other one."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, format: str = "JPEG", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format, **options)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six sound photos of two classes in each split."""
    folder = tmp_path / "data"
    for number, split in enumerate(("train", "val", "test")):
        for label, kind in enumerate(("cats", "dogs")):
            for photo in range(6):
                seed = 100 * number + 10 * label + photo
                save(folder / split / kind / f"{photo}.jpg", blobs(seed))
    return folder


@pytest.fixture
def config(data: Path, write_recipe) -> Path:
    return write_recipe(f"data: {{dir: {data}}}\nbase: {{name: VGG16, weights: random}}\n")


def findings_by_kind(config: Path, *overrides: str) -> dict[str, Finding]:
    """The findings of a check, by kind."""
    return {finding.kind: finding for finding in check_recipe(config, overrides).findings}


def names(finding: Finding) -> list[str]:
    return [path.name for path in finding.paths]


def test_sound_photos_have_no_findings(config: Path):
    checked = check_recipe(config)
    assert (checked.findings, checked.all_problems(), checked.passed) == ((), (), True)


def plant_flaws(data: Path) -> None:
    """A file for each rule about one photo, in train/cats."""
    folder = data / "train" / "cats"
    save(folder / "png.jpg", blobs(900), "PNG")
    save(folder / "flat.png", Image.new("RGB", (64, 64), (9, 9, 9)), "PNG")
    save(folder / "tiny.png", blobs(901, 31, 64), "PNG")
    save(folder / "long.jpg", blobs(902, 400, 80))
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "turned.jpg", blobs(903), exif=exif)
    save(folder / "cmyk.jpg", blobs(904).convert("CMYK"))
    deep = np.asarray(blobs(905).convert("L")).astype(np.uint16) * 200
    save(folder / "deep.png", Image.fromarray(deep), "PNG")
    see_through = blobs(906)
    see_through.putalpha(200)
    save(folder / "alpha.png", see_through, "PNG")
    # libjpeg fills with grey what a file with an early end mark lacks.
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    (folder / "cut.jpg").write_bytes(stream.getvalue()[:9000] + b"\xff\xd9")


FLAWS = {
    "cut short": ("warning", ["cut.jpg"], ()),
    "flat": ("warning", ["flat.png"], ()),
    "tiny": ("warning", ["tiny.png"], ("31 x 64",)),
    "extreme shape": ("warning", ["long.jpg"], ("400 x 80",)),
    "wrong extension": ("note", ["png.jpg"], ("PNG",)),
    "turned": ("note", ["turned.jpg"], ()),
    "CMYK": ("note", ["cmyk.jpg"], ()),
    "deep": ("note", ["deep.png"], ()),
    "transparent": ("note", ["alpha.png"], ()),
}


def test_flaws_of_single_photos(data: Path, config: Path):
    plant_flaws(data)
    findings = findings_by_kind(config)
    imbalance = findings.pop("imbalance")
    assert imbalance.severity == "note"
    assert {
        kind: (finding.severity, names(finding), finding.details)
        for kind, finding in findings.items()
    } == FLAWS


def test_huge_photos(data: Path, config: Path, monkeypatch: pytest.MonkeyPatch):
    facts = decode.Facts("JPEG", "RGB", 10_000, 5_001, False, False, False)
    monkeypatch.setattr(decode, "examine", lambda *_, **__: (blobs(1), facts))
    huge = findings_by_kind(config)["huge"]
    assert huge.severity == "note"
    assert huge.message == "has more than 50 megapixels"
    assert len(huge.paths) == 36
    assert huge.details[0] == "10000 x 5001"


def test_bad_files_are_grouped_by_what_is_wrong(data: Path, config: Path):
    for photo in range(4):
        path = data / "train" / "cats" / f"{photo}.jpg"
        path.write_bytes(path.read_bytes()[:1000])
    (data / "val" / "dogs" / "0.jpg").write_bytes(b"<html>404</html>")
    (data / "val" / "dogs" / "1.jpg").write_bytes(b"")
    checked = check_recipe(config)
    assert not checked.passed
    assert checked.plan is None
    assert {(f.kind, f.severity, len(f.paths)) for f in checked.findings if f.paths} == {
        ("unreadable", "error", 4),
        ("unreadable", "error", 1),
        ("unsupported", "error", 1),
    }
    lines = [str(problem) for problem in checked.all_problems()]
    assert (
        f"{data}: 4 photos: cannot be decoded: truncated: the JPEG data end early: "
        "train/cats/0.jpg, train/cats/1.jpg, train/cats/2.jpg and 1 more; "
        "copy or download the file again"
    ) in lines
    every = [str(problem) for problem in checked.all_problems(each_file=True)]
    assert len([line for line in every if "truncated: the JPEG data end early" in line]) == 4
    assert f"{data}/val/dogs/1.jpg: cannot be decoded: empty file (0 bytes)" in "\n".join(every)


def test_files_that_differ_in_what_is_in_them_alone_are_one_finding(data: Path, config: Path):
    folder = data / "train" / "cats"
    for number in range(20):
        (folder / f"x{number:02}.jpg").write_bytes(b"%d is no image" % number)
    for number in range(3):
        header = b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 60_000 + number, 60_000, 8, 2, 0, 0, 0)
        check_sum = struct.pack(">I", zlib.crc32(header[4:]))
        end = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        path = folder / f"bomb{number}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + check_sum + end)
    checked = check_recipe(config)
    foreign, bombs = sorted((f for f in checked.findings if f.paths), key=lambda f: -len(f.paths))
    assert (foreign.kind, foreign.message, len(foreign.paths)) == (
        "unsupported", "cannot be decoded: not an image", 20,
    )  # fmt: skip
    assert foreign.details[3] == "it starts with '3 is no image'"
    assert (bombs.kind, bombs.details[2]) == ("unreadable", "60002 x 60000 pixels")
    lines = [line for line in map(str, checked.all_problems()) if "20 photos" in line]
    assert lines == [
        f"{data}: 20 photos: cannot be decoded: not an image: train/cats/x00.jpg "
        "(it starts with '0 is no image'), train/cats/x01.jpg (it starts with '1 is no image'), "
        "train/cats/x02.jpg (it starts with '2 is no image') and 17 more; "
        "use JPEG, PNG, GIF, BMP, TIFF, WebP or AVIF, or HEIC after `pip install pillow-heif`"
    ]
    every = "\n".join(map(str, checked.all_problems(each_file=True)))
    assert f"{folder}/x19.jpg: cannot be decoded: not an image: it starts with '19 is" in every


def test_names_that_are_no_text_are_one_finding(data: Path, config: Path):
    folder = data / "train" / "cats"
    try:
        for number in range(30):
            (folder / os.fsdecode(b"\xe9%02d.jpg" % number)).hardlink_to(folder / "0.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    checked = check_recipe(config)
    (finding,) = checked.findings
    assert (finding.kind, finding.severity, len(finding.paths)) == ("bad name", "error", 30)
    assert not checked.passed
    assert [str(problem) for problem in checked.all_problems()] == [
        f"{data}: 30 files: with a name that is not valid UTF-8: train/cats/\\udce900.jpg, "
        "train/cats/\\udce901.jpg, train/cats/\\udce902.jpg and 27 more; rename it"
    ]
    skipped = check_recipe(config, ["data.on_bad_image=skip"])
    assert skipped.passed
    (finding,) = skipped.findings
    assert (finding.severity, finding.hint) == ("warning", "left out of the run")
    assert files_to_exclude(skipped.findings) == {}
    # Of a folder, everything in it would be left out: that is for the user to say.
    (folder / os.fsdecode(b"\xe9")).mkdir()
    assert not check_recipe(config, ["data.on_bad_image=skip"]).passed


def test_skipped_files_are_warnings(data: Path, config: Path):
    (data / "train/cats/0.jpg").write_bytes(b"")
    checked = check_recipe(config, ["data.on_bad_image=skip"])
    assert checked.passed
    assert checked.images["counts"]["train"] == {"cats": 5, "dogs": 6}
    (finding,) = checked.findings
    assert (finding.severity, finding.hint) == ("warning", "left out of the run")


def test_copies_and_near_duplicates(data: Path, config: Path):
    train = data / "train" / "cats"
    (train / "copy.jpg").write_bytes((data / "test/cats/0.jpg").read_bytes())
    save(train / "again.jpg", Image.open(data / "test/cats/1.jpg"), quality=60)
    save(train / "small.jpg", Image.open(data / "val/dogs/2.jpg").resize((77, 58)))
    save(train / "mirror.jpg", ImageOps.mirror(Image.open(data / "test/dogs/3.jpg")))
    checked = check_recipe(config)
    assert not checked.passed
    findings = {finding.kind: finding for finding in checked.findings}
    assert names(findings["duplicate across splits"]) == ["copy.jpg"]
    near = findings["near-duplicate across splits"]
    assert near.severity == "warning"
    assert dict(zip(names(near), near.details, strict=True)) == {
        "again.jpg": "like test/cats/1.jpg",
        "small.jpg": "like val/dogs/2.jpg",
        "mirror.jpg": "like test/dogs/3.jpg",
    }
    findings = findings_by_kind(config, "data.duplicates=drop")
    assert findings["duplicate across splits"].severity == "warning"


def test_a_copy_that_is_dropped_is_no_near_duplicate(data: Path, config: Path):
    photo = data / "test/cats/0.jpg"
    (data / "train/cats/copy.jpg").write_bytes(photo.read_bytes())
    save(data / "val/cats/near.jpg", Image.open(photo), quality=60)
    near = "near-duplicate across splits"
    assert sorted(names(findings_by_kind(config)[near])) == ["copy.jpg", "near.jpg"]
    assert names(findings_by_kind(config, "data.duplicates=drop")[near]) == ["near.jpg"]
    reasons = files_to_exclude(check_recipe(config).findings)
    assert {path.name: reason for path, reason in reasons.items()} == {
        "copy.jpg": "duplicate across splits",
        "near.jpg": near,
    }


def test_a_fix_list_repairs(cli, data: Path, config: Path, tmp_path: Path):
    train = data / "train" / "cats"
    plant_flaws(data)
    (train / "0.jpg").write_bytes(b"")
    (train / "#1.jpg").write_bytes((data / "test/cats/0.jpg").read_bytes())
    fix = tmp_path / "bad.txt"
    done = cli("check", "-c", config, "--fix-list", fix)
    assert done.exit_code == 1
    assert f"{fix} lists 4 photos to leave out" in done.stderr
    assert fix.read_text(encoding="utf-8").splitlines() == [
        "# Photos to leave out: data.exclude in a recipe names this file.",
        "# unreadable",
        "train/cats/0.jpg",
        "# cut short",
        "train/cats/cut.jpg",
        "# flat",
        "train/cats/flat.png",
        "# duplicate across splits",
        "train/cats/#1.jpg",
    ]
    done = cli("check", "-c", config, "--set", f"data.exclude={fix}")
    assert done.exit_code == 0
    assert f"note: {data}: 4 photos excluded by bad.txt" in done.stderr
    # Of 12 sound photos, one emptied, and 9 with flaws, of which two are excluded.
    assert "photos: 18 train" in done.stdout
    fix.write_text("train/cats/0.jpg\nno/such.jpg\n", encoding="utf-8")
    done = cli("check", "-c", config, "--set", f"data.exclude={fix}")
    assert (
        f"warning: data.exclude: {fix}: 1 line without a matching photo in the data: 'no/such.jpg'"
        in done.stderr
    )
    done = cli("finetune", "--dry-run", "-c", config, "--set", "data.exclude=no.txt")
    assert (done.exit_code, "no.txt: cannot be read: no such file" in done.stderr) == (1, True)


def test_excluding_a_whole_class(cli, data: Path, config: Path, tmp_path: Path):
    fix = tmp_path / "bad.txt"
    fix.write_text("".join(f"train/cats/{n}.jpg\n" for n in range(6)), encoding="utf-8")
    done = cli("check", "-c", config, "--set", f"data.exclude={fix}")
    assert done.exit_code == 1
    assert f"{data}/train/cats: all of its photos are excluded; exclude fewer" in done.stderr


def test_a_split_that_loses_a_class_is_told(cli, data: Path, config: Path, tmp_path: Path):
    left = f"warning: {data}: class 'cats': no photo left in val, so no score covers it; "
    fix = tmp_path / "bad.txt"
    fix.write_text("".join(f"val/cats/{n}.jpg\n" for n in range(6)), encoding="utf-8")
    done = cli("check", "-c", config, "--set", f"data.exclude={fix}")
    assert done.exit_code == 0
    assert f"warning: {data}/val/cats: all of its photos are excluded; " in done.stderr
    for number in range(6):
        copy = (data / f"test/cats/{number}.jpg").read_bytes()
        (data / f"val/cats/{number}.jpg").write_bytes(copy)
    done = cli("finetune", "--dry-run", "-c", config, "--set", "data.duplicates=drop")
    assert (done.exit_code, left in done.stderr) == (0, True)
    for number in range(6):
        (data / f"val/cats/{number}.jpg").write_bytes(b"\xff\xd8 no photo %d" % number)
    for command in (("check",), ("finetune", "--dry-run")):
        done = cli(*command, "-c", config, "--set", "data.on_bad_image=skip")
        assert (done.exit_code, left in done.stderr) == (0, True)


def test_what_a_check_could_not_decode_is_refused_before_extraction(cli, data: Path, config: Path):
    photo = data / "train/cats/0.jpg"
    photo.write_bytes(photo.read_bytes()[:-500])  # its header is sound
    words = ("finetune", "--dry-run", "-c", config)
    assert cli(*words).exit_code == 0
    cli("check", "-c", config)
    done = cli(*words)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"error: {photo}: cannot be decoded: truncated: the JPEG data end early; "
        "copy or download the file again",
        "error: data: 1 photo cannot be used; repair them, list them for data.exclude with "
        "`tlcli check --fix-list bad.txt`, or train without them with data.on_bad_image=skip",
    ]
    assert cli(*words, "--set", "data.on_bad_image=skip").exit_code == 0


def test_a_fix_list_that_cannot_be_written_is_refused_at_once(cli, config: Path, tmp_path: Path):
    fix = tmp_path / "none" / "bad.txt"
    done = cli("check", "-c", config, "--fix-list", fix)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: --fix-list {fix}: its folder does not exist; make it, or name another\n"
    )
    mine = tmp_path / "mine.txt"
    mine.write_text("my notes\n")
    assert "is not a list that tlcli has written" in cli("check", "--fix-list", mine).stderr
    assert mine.read_text() == "my notes\n"


def test_a_fix_list_of_another_editor_grows(cli, data: Path, config: Path, tmp_path: Path):
    (data / "train/cats/0.jpg").write_bytes(b"")
    fix = tmp_path / "bad.txt"
    title = "# Photos to leave out: data.exclude in a recipe names this file."
    fix.write_text(f"{title}\ntrain/dogs/1.jpg\n", encoding="utf-8-sig")
    done = cli("check", "-c", config, "--fix-list", fix)
    assert f"{fix} lists 2 photos to leave out" in done.stderr


def test_names_that_no_list_holds_are_counted(cli, data: Path, config: Path, tmp_path: Path):
    for name in ("a\nb.jpg", "a\rb.jpg", "c.jpg"):
        (data / "train/cats" / name).write_bytes(b"")
    fix = tmp_path / "bad.txt"
    done = cli("check", "-c", config, "--fix-list", fix)
    assert done.stderr.endswith(  # damaged photos: there is no next step
        f"{fix} lists 1 photo to leave out\n"
        f"warning: {fix}: cannot list 2 names with a line break; rename the files\n"
    )
    assert fix.read_text(encoding="utf-8").splitlines()[1:] == ["# unreadable", "train/cats/c.jpg"]


def test_a_second_check_decodes_nothing(data: Path, config: Path, monkeypatch: pytest.MonkeyPatch):
    plant_flaws(data)
    (data / "train/cats/0.jpg").write_bytes(b"")
    first = check_recipe(config)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decode, "examine", refuse)
    assert check_recipe(config).as_dict() == first.as_dict()
    (data / "train/cats").rename(data / "train/Cats")  # known by content wherever it lies
    (data / "val/cats").rename(data / "val/Cats")
    (data / "test/cats").rename(data / "test/Cats")
    assert len(check_recipe(config).findings) == len(first.findings)
    os.utime(data / "val/dogs/0.jpg")
    check_recipe(config)
    save(data / "val/dogs/0.jpg", blobs(77))
    with pytest.raises(AssertionError, match="decoded again"):
        check_recipe(config)


def test_a_photo_that_changes_during_the_check_is_an_error(
    data: Path, config: Path, monkeypatch: pytest.MonkeyPatch
):
    """And its new picture is not stored under the hash of the old one."""
    place = data / "train/cats/0.jpg"
    other, original = (data / "train/dogs/0.jpg").read_bytes(), place.read_bytes()
    audit_photos = audit.audit_photos

    def change_and_audit(index: Index, recipe: Recipe, cache: AuditCache) -> Index:
        place.write_bytes(other[:1000])
        return audit_photos(index, recipe, cache)

    monkeypatch.setattr(audit, "audit_photos", change_and_audit)
    checked = check_recipe(config)
    assert [str(problem) for problem in checked.problems] == [
        f"{place}: has changed since this command listed it; "
        "leave the photos alone while a command runs, and run it again"
    ]
    monkeypatch.undo()
    place.write_bytes(original)
    assert check_recipe(config).passed


def test_troubles_that_pass_are_not_remembered(config: Path, monkeypatch: pytest.MonkeyPatch):
    def no_memory(*_: object) -> None:
        raise MemoryError

    def broken_disk(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(decode.srgb, "to_srgb", no_memory)
        assert "not enough memory" in check_recipe(config).findings[0].message
        patch.setattr(decode.srgb, "to_srgb", broken_disk)
        finding, *_ = check_recipe(config).findings
        assert finding.message == "cannot be decoded: cannot be read"
        assert finding.details[0] == "input/output error"
    assert check_recipe(config).findings == ()


def test_finetune_refuses_or_drops_copies(cli, data: Path, config: Path):
    (data / "train/cats/copy.jpg").write_bytes((data / "test/cats/0.jpg").read_bytes())
    line = f"{data}/train/cats/copy.jpg: the same photo is in another split"
    for words in (("finetune", "--dry-run"), ("extract",)):
        done = cli(*words, "-c", config)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"error: {line}: also test/cats/0.jpg; delete one of each, ")
    words = ("finetune", "--dry-run", "-c", config, "--set")
    done = cli(*words, "data.duplicates=drop")
    assert done.exit_code == 0
    assert done.stderr == (f"warning: {line}, and is dropped from this one: also test/cats/0.jpg\n")
    assert "photos: 12 train" in done.stdout
    done = cli(*words, "data.duplicates=allow")
    assert (done.exit_code, "photos: 13 train" in done.stdout) == (0, True)
    assert done.stderr.startswith(
        f"warning: {line}: also test/cats/0.jpg; copies make the scores too high"
    )


def test_findings_as_json(cli, data: Path, config: Path):
    (data / "train/cats/0.jpg").write_bytes(b"")
    done = cli("check", "-c", config, "--json")
    assert done.exit_code == 1
    value = json.loads(done.stdout)
    assert value["findings"] == [
        {
            "kind": "unreadable",
            "severity": "error",
            "message": "cannot be decoded: empty file (0 bytes)",
            "hint": "replace or remove the file",
            "count": 1,
            "noun": "photo",
            "paths": ["train/cats/0.jpg"],
        }
    ]


def test_what_a_run_keeps(data: Path, config: Path):
    from tlcli.training.plan import make_plan
    from tlcli.training.preflight import preflight

    for photo in range(25):
        source = data / "train/dogs/0.jpg"
        (data / f"train/dogs/x{photo}.jpg").write_bytes(source.read_bytes())
    (data / "train/dogs/notes.txt").touch()
    plan = make_plan(preflight(load_recipe(config)))
    record = audit_record(plan.index, plan.problems)
    assert [(entry["kind"], entry["count"]) for entry in record["findings"]] == [
        ("no image suffix", 1),
        ("duplicate in a split", 25),
        ("imbalance", 0),
    ]
    assert len(record["findings"][1]["paths"]) == len(record["findings"][1]["details"]) == 20
    assert record["findings"][0]["message"] == "ignored, without an image extension"
    assert record["findings"][0]["paths"] == ["train/dogs/notes.txt"]
    assert record["counts"]["train"] == {"cats": 6, "dogs": 31}
    assert directory.AUDIT in directory.FILES


def test_a_broken_recipe_has_nothing_to_list(write_recipe, tmp_path: Path):
    checked = check_recipe(write_recipe("data: {}\n", "broken.yaml"))
    written = exclude_list.write_fix_list(checked.findings, checked.root, tmp_path / "fix.txt")
    assert written == (0, 0)
    assert audit.TINY == 32


CATS_DOGS = Path(__file__).parents[3] / "shared" / "data" / "cats_dogs"


@pytest.mark.slow
@pytest.mark.skipif(not CATS_DOGS.is_dir(), reason="the photos of cats and dogs are not here")
def test_seeded_leaks_among_real_photos(tmp_path: Path, write_recipe):
    """20 leaks of each kind in a copy of real photos are found, and next to nothing else."""
    folder = tmp_path / "data"
    shutil.copytree(CATS_DOGS, folder, copy_function=shutil.copyfile)
    photos = sorted((folder / "test").rglob("*.jpg"))
    planted: dict[str, set[str]] = {"exact": set(), "q60": set(), "small": set(), "mirror": set()}
    for number, path in enumerate(photos[:: len(photos) // 80][:80]):
        kind = list(planted)[number % 4]
        target = folder / "train" / path.parent.name / f"{kind}-{number}.jpg"
        image = decode.decode(path)
        if kind == "exact":
            shutil.copyfile(path, target)
        elif kind == "q60":
            save(target, image, quality=60)
        elif kind == "small":
            smaller = (round(image.width * 0.8), round(image.height * 0.8))
            save(target, image.resize(smaller), quality=90)
        else:
            save(target, ImageOps.mirror(image), quality=90)
        planted[kind].add(target.name)
    config = write_recipe(f"data: {{dir: {folder}}}\nbase: {{name: VGG16, weights: random}}\n")
    findings = findings_by_kind(config)
    assert set(names(findings["duplicate across splits"])) == planted["exact"]
    near = set(names(findings["near-duplicate across splits"]))
    expected = planted["q60"] | planted["small"] | planted["mirror"]
    assert expected <= near
    assert len(near - expected) <= 2  # one in a thousand


def test_photos_in_the_dark_are_named(data: Path, config: Path):
    """Photos of 8 bits, too; one that is all black is flat and nothing else."""
    save(data / "train/cats/0.jpg", Image.eval(blobs(1), lambda value: value // 5))
    save(data / "train/cats/1.jpg", Image.new("RGB", (60, 60)))
    findings_of_kind = findings_by_kind(config)
    assert [path.name for path in findings_of_kind["dark"].paths] == ["0.jpg"]
    assert findings_of_kind["dark"].severity == "warning"
    assert [path.name for path in findings_of_kind["flat"].paths] == ["1.jpg"]
