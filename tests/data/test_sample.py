"""The digits, against scikit-learn's own table."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tlcli.data import dataset
from tlcli.data.sample import write_digits
from tlcli.errors import DataError
from tlcli.recipe.settings import Data


def test_the_digits_are_scikit_learns(tmp_path):
    folder = tmp_path / "digits"
    assert write_digits(folder) == 1797
    digits = load_digits()
    counts = {path.name: len(list(path.iterdir())) for path in folder.iterdir()}
    assert counts == {str(d): int((digits.target == d).sum()) for d in range(10)}
    for number in (0, 1000, 1796):
        path = folder / str(digits.target[number]) / f"{number:04d}.png"
        small = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BOX)) / 255 * 16
        assert np.corrcoef(small.ravel(), digits.images[number].ravel())[0, 1] > 0.97


def test_they_make_an_index_with_every_class_in_every_split(tmp_path):
    write_digits(tmp_path / "digits")
    index = dataset.read_index(Data(dir=tmp_path / "digits"))
    assert index.classes == tuple("0123456789")
    assert all(min(by_class.values()) > 0 for by_class in index.counts().values())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(DataError) as raised:
        write_digits(tmp_path)
    assert str(raised.value) == f"{tmp_path}: exists and is not empty; name a new folder"
