"""The tables of bases and of their boundaries that `tlcli bases` prints."""

from __future__ import annotations

import json

import pytest

from tlcli.errors import RecipeError
from tlcli.networks.bases import BASES
from tlcli.networks.bases_table import bases_table


def test_all_bases():
    text, value = bases_table(None)
    lines = text.split("\n")
    header = "base parameters native smallest pixels boundaries default freeze_until"
    assert lines[0].split() == header.split()
    assert lines[2].split() == ["VGG16", "14,714,688", "224", "32", "caffe", "19", "block4_pool"]
    assert lines[-1] == "`tlcli bases NAME` shows the boundaries of one."
    assert [entry["name"] for entry in value] == list(BASES)
    scratch = [entry["name"] for entry in value if not entry["pretrained"]]
    assert scratch == ["CifarConvNet", "LeNet5", "SmallConvNet", "SmallResNet"]
    line = next(line for line in lines if line.startswith("SmallConvNet"))
    assert line.split() == ["SmallConvNet", "240,832", "150", "46", "unit", "9", "pixels"]
    assert ", ".join(scratch[:3]) + " and SmallResNet have no pretrained weights" in text
    assert json.loads(json.dumps(value)) == value
    nasnet = next(line for line in lines if line.startswith("NASNetMobile"))
    assert nasnet.endswith("  -")


def test_the_boundaries_of_one():
    text, value = bases_table("vgg16")
    assert len(value) == 18 + 1
    assert text.split("\n")[0].startswith("freeze_until  output at 224 px")
    line = next(line for line in text.split("\n") if line.startswith("block4_pool"))
    assert line.split() == ["block4_pool", "14", "x", "14", "x", "512", "7,079,424", "default"]
    alone = [line.split()[0] for line in text.split("\n") if line.endswith("  head alone")]
    assert alone == ["block5_conv3", "block5_pool"]
    line = next(line for line in text.split("\n") if line.startswith("pixels"))
    assert line.split() == ["pixels", "224", "x", "224", "x", "3", "14,714,688"]
    assert "'pixels', or 'none', freezes nothing: the whole base trains." in text
    text, _ = bases_table("ResNet50")
    line = next(line for line in text.split("\n") if line.startswith("conv1_pad"))
    assert line.endswith("as pixels")
    assert value[-1] == {
        "boundary": "block5_pool",
        "shape": [7, 7, 512],
        "parameters_above": 0,
        "default": False,
        "practical": True,
    }


def test_a_base_that_is_not_there():
    with pytest.raises(RecipeError) as caught:
        bases_table("resnet51")
    assert str(caught.value).startswith(
        "bases: 'resnet51' is not a base tlcli knows; did you mean 'ResNet50'? (allowed: VGG16, "
    )
