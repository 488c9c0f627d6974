"""Starter recipes, and the sample images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint
from PIL import Image

from tlcli.data import dataset
from tlcli.data.sample import write_digits
from tlcli.data.starter_recipe import write_starter
from tlcli.errors import DataError, RecipeError
from tlcli.networks import bases
from tlcli.recipe.advice import advise
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Columns, Data, Split
from tlcli.training.plan import make_plan
from tlcli.training.preflight import preflight


def start(*arguments, **options) -> Path:
    """The path of a starter recipe."""
    return write_starter(*arguments, **options).path


def test_a_starter_recipe(photos: Path):
    path = start(photos)
    assert path == Path("photos.yaml")
    text = path.read_text()
    assert text.startswith(
        "# 3 classes (blue, green, red): 24 photos to train on, 9 to validate, 6 to test.\n"
        "# Check:  tlcli check --config photos.yaml\n"
        "# Train:  tlcli finetune --config photos.yaml\n"
    )
    loaded = load_recipe(path)
    assert loaded.data == Data(dir=photos)
    assert loaded.base.name == "VGG16"
    assert loaded.augment.kept_views == 3
    assert [stage.freeze_until for stage in loaded.stages] == [None, "block4_pool"]
    assert advise(loaded) == []
    plan = make_plan(preflight(load_recipe(path, ["base.weights=random"])))
    assert len(plan.stages) == 2


@pytest.mark.parametrize("name", bases.names())
def test_every_base_has_a_starter(photos: Path, name: str):
    row = bases.BASES[name]
    loaded = load_recipe(start(photos, base=name.lower()))
    assert (loaded.base.name, loaded.base.image_size) == (name, (row.native_size,) * 2)
    assert loaded.stages[-1].freeze_until == row.default_boundary
    assert loaded.base.weights == ("imagenet" if row.pretrained else "random")
    assert len(loaded.stages) == 1 + (row.pretrained and row.default_boundary is not None)
    if row.head is not None:
        assert loaded.head.hidden == row.head.hidden
        assert loaded.head.dropout == row.head.dropout
    assert advise(loaded) == []


def test_plain_folders(plain_photos: Path, tmp_path: Path):
    path = start(plain_photos, out=tmp_path / "deep.yaml")
    assert "dir: plain\n" in path.read_text()
    data = load_recipe(path).data
    split = Split(val=0.15, test=0.15, file=tmp_path / "deep-split.csv")
    assert data == Data(dir=plain_photos, split=split)
    counts = dataset.read_index(data).counts()
    photos = {name: sum(by_class.values()) for name, by_class in counts.items()}
    assert photos == {"train": 24, "val": 6, "test": 6}
    assert "24 photos to train on, 6 to validate, 6 to test.\n" in path.read_text()
    assert not (tmp_path / "deep-split.csv").exists(), "a command that trains writes it"


def test_folders_of_train_and_val_have_no_test_photos_until_a_line_is_uncommented(photos: Path):
    shutil.rmtree(photos / "test")
    path = start(photos)
    text = path.read_text()
    assert "24 photos to train on, 9 to validate, none to test.\n" in text
    assert "  # There are no test photos. The score of the validation photos is optimistic" in text
    assert dataset.read_index(load_recipe(path).data).of("test") == ()
    path.write_text(text.replace("  # split: {test", "  split: {test"))
    data = load_recipe(path).data
    assert data.split.file == Path("photos-split.csv").absolute()
    assert dataset.read_index(data).counts() == {
        "train": {"blue": 7, "green": 7, "red": 7},
        "val": {"blue": 3, "green": 3, "red": 3},
        "test": {"blue": 1, "green": 1, "red": 1},
    }


@pytest.mark.parametrize(
    ("left", "line", "comment"),
    [
        ("test", "  split: {val: 0.15, file: photos-split.csv}\n", ""),
        (
            "",
            "  split: {val: 0.15, file: photos-split.csv}\n",
            "  # split: {val: 0.15, test: 0.15, file: photos-split.csv}\n",
        ),
    ],
)
def test_what_folders_leave_open_is_what_the_recipe_divides(
    photos: Path, left: str, line: str, comment: str
):
    for split in {"val", "test"} - {left}:
        shutil.rmtree(photos / split)
    path = start(photos)
    assert line in path.read_text()
    assert comment in path.read_text()
    assert ("no test photos" in path.read_text()) == bool(comment)
    counts = dataset.read_index(load_recipe(path).data).counts()
    train, val, test = (sum(counts[split].values()) for split in ("train", "val", "test"))
    assert val > 0
    assert f"{train} photos to train on, {val} to validate, {test or 'none'} to test.\n" in (
        path.read_text()
    )


def test_folder_and_recipe_can_move_together(photos: Path, tmp_path: Path):
    (tmp_path / "recipes").mkdir()
    path = start(photos, out=tmp_path / "recipes" / "a.yaml")
    assert "dir: ../photos\n" in path.read_text()
    far = tmp_path / "a/b/c"
    far.mkdir(parents=True)
    assert f"dir: {photos}\n" in start(photos, out=far / "a.yaml").read_text()


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("my photos: best of", "my_photos__best_of.yaml"),
        ("no", "no.yaml"),
        ("1e5", "1e5.yaml"),
        (".hidden", "hidden.yaml"),
        ("Ünï 猫", "Ünï_猫.yaml"),
        ("# a 'b' \"c\"", "__a__b___c_.yaml"),
        ("two\nlines\x1b", "two_lines_.yaml"),
    ],
)
def test_odd_names_load(photos: Path, folder: str, file: str):
    odd = photos.with_name(folder)
    photos.rename(odd)
    for split in ("train", "val", "test"):
        (odd / split / "red").rename(odd / split / "re\nd\u2028: x\x1b")
    path = start(odd)
    assert path == Path(file)
    assert load_recipe(path).data.dir == odd
    assert "(blue, green, re\\nd\\u2028: x\\x1b)" in path.read_text().split("\n")[0]


def test_nothing_is_overwritten(photos: Path, tmp_path: Path):
    start(photos)
    with pytest.raises(RecipeError) as caught:
        start(photos, base="ResNet50")
    assert str(caught.value) == "photos.yaml: exists; name another with --out, or use --force"
    start(photos, base="ResNet50", force=True)
    assert load_recipe(Path("photos.yaml")).base.name == "ResNet50"


def test_what_cannot_be_trained_on(photos: Path, tmp_path: Path):
    with pytest.raises(RecipeError) as caught:
        start(photos, base="vgg17")
    assert str(caught.value).startswith(
        "--base: 'vgg17' is not a base tlcli knows; did you mean 'VGG19'? (allowed: VGG16, "
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as empty:
        start(tmp_path / "empty")
    assert str(empty.value) == (
        f"{tmp_path}/empty: is an empty folder; put a folder of photos for each class into it"
    )
    assert list(Path.cwd().iterdir()) == []


def test_a_large_set_needs_no_views(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tlcli.data.starter_recipe.ENOUGH_PHOTOS", 23)
    assert load_recipe(start(photos)).augment.kept_views == 0


def test_a_small_set_has_more_epochs_for_its_head(photos: Path, monkeypatch: pytest.MonkeyPatch):
    head, _ = load_recipe(start(photos)).stages
    assert (head.epochs, head.early_stopping.patience) == (100, 25)
    monkeypatch.setattr("tlcli.data.starter_recipe.FEW_PHOTOS", 24)
    head, _ = load_recipe(start(photos, force=True)).stages
    assert (head.epochs, head.early_stopping.patience) == (30, 8)


def test_digits(tmp_path: Path):
    assert write_digits(tmp_path / "digits") == 1_797
    folders = sorted((tmp_path / "digits").iterdir())
    assert [folder.name for folder in folders] == list("0123456789")
    assert sum(len(list(folder.iterdir())) for folder in folders) == 1_797
    with Image.open(tmp_path / "digits/0/0000.png") as image:
        assert (image.size, image.mode) == ((32, 32), "L")
        assert np.asarray(image).max() > 200
    with pytest.raises(DataError) as caught:
        write_digits(tmp_path / "digits")
    assert str(caught.value) == f"{tmp_path}/digits: exists and is not empty; name a new folder"
    (tmp_path / "file").touch()
    with pytest.raises(DataError):
        write_digits(tmp_path / "file")


def test_classes_of_different_sizes_are_told_and_stand_in_the_recipe(photos: Path, capsys):
    for path in sorted((photos / "train" / "red").iterdir())[3:]:
        path.unlink()
    text = start(photos).read_text()
    err = " ".join(capsys.readouterr().err.split())
    sizes = "blue has 2.7 times as many training photos as red (8 and 3)"
    assert f"{photos}: {sizes}; always answering blue is right for 33.3% of test" in err
    assert "with class_weights: balanced, a photo of red counts 2.7 times as much as one" in err
    comment = text[text.index("# blue has") : text.index("stages:")]
    assert comment.startswith(f"# {sizes}; always")
    assert all(line.startswith("# ") for line in comment.splitlines())
    assert "cannot be judged" in comment


TABLE = "image_id,dx,fold\n" + "".join(
    f"{name}/{number},{label},{split}\n"
    for name, label in (("blue", "nv"), ("red", "mel"))
    for split, numbers in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 8)))
    for number in numbers
)


def write_table(folder: Path, text: str = TABLE) -> Path:
    for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        for number in range(8):
            paint(folder / name / f"{number}.png", colour, number)
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_a_table_with_columns_of_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The recipe says what they are called, so that nothing has to be added to it."""
    table = write_table(tmp_path)
    starter = write_starter(table, out=tmp_path / "skin.yaml")
    assert "  columns: {path: image_id, label: dx, split: fold}\n" in starter.path.read_text()
    assert capsys.readouterr().err.startswith(
        f"note: {table}: took 'image_id' as path, 'dx' as label, 'fold' as split; "
        "name others with --column, as in --column label=class\n"
    )
    loaded = load_recipe(starter.path)
    assert loaded.data.columns == Columns(path="image_id", label="dx", split="fold")
    index = dataset.read_index(loaded.data)
    assert index.classes == ("mel", "nv")
    assert starter.sentence() == "2 classes: 8 photos to train on, 4 to validate, 4 to test"


def test_columns_that_the_user_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = write_table(tmp_path)
    columns = {"path": "image_id", "label": "fold", "split": "none"}
    with pytest.raises(DataError, match="names no column 'none'"):
        write_starter(table, out=tmp_path / "a.yaml", columns=columns)
    columns = {"path": "image_id", "label": "dx", "split": "fold"}
    start(table, out=tmp_path / "a.yaml", columns=columns)
    assert "took" not in capsys.readouterr().err
    with pytest.raises(RecipeError, match="--column: blue is no table; leave it out, or name the"):
        start(tmp_path / "blue", columns=columns)


def test_the_usual_columns_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    usual = TABLE.replace("image_id,dx,fold", "path,label,split")
    table = write_table(tmp_path, usual)
    assert "columns" not in start(table, out=tmp_path / "a.yaml").read_text()
    table.write_text(usual.partition("\n")[2])  # without a first line of names
    assert "columns" not in start(table, out=tmp_path / "b.yaml").read_text()
    assert "took" not in capsys.readouterr().err
