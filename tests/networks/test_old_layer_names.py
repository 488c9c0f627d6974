"""Names of layers in older Keras, against the layers of today's in the same place."""

from __future__ import annotations

import pytest

from tlcli.errors import BoundaryError
from tlcli.networks.bases import BASES
from tlcli.networks.old_layer_names import current_name


def old_names() -> list[str]:
    """The layers with weights of the ResNet50 of Keras 2.0, in its order, as its source builds it.

    Of each block: three convolutions with their norms, then those of the shortcut if it has one.
    """
    names = ["conv1", "bn_conv1"]
    for stage, blocks in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc")):
        for block in blocks:
            branches = ("2a", "2b", "2c", "1") if block == "a" else ("2a", "2b", "2c")
            for branch in branches:
                names += [f"{kind}{stage}{block}_branch{branch}" for kind in ("res", "bn")]
    return names


def test_the_layers_of_resnet50_are_all_there_under_today_s_names():
    row = BASES["ResNet50"]
    today = [current_name("ResNet50", name) for name in old_names()]
    weighted = [name for name in row.layers if name.endswith(("conv", "bn"))]
    assert sorted(map(str, today)) == sorted(weighted)
    assert len(set(today)) == len(today) == 106
    assert current_name("ResNet50", "res5c_branch2a") == "conv5_block3_1_conv"
    sums = [current_name("ResNet50", f"add_{n}") for n in range(1, 17)]
    assert sums == [name for name in row.layers if name.endswith("_add")]
    activations = [current_name("ResNet50", f"activation_{n}") for n in range(1, 50)]
    assert activations == [name for name in row.layers if name.endswith(("_relu", "_out"))]


@pytest.mark.parametrize(
    "name",
    ["add_17", "add_0", "activation_50", "res5d_branch2a", "res2b_branch1", "res6a_branch1", "x"],
)
def test_a_name_that_never_was_has_no_other(name: str):
    assert current_name("ResNet50", name) is None
    assert current_name("VGG16", "res5c_branch2a") is None


def test_deeper_resnets_number_their_blocks():
    assert current_name("ResNet101", "res4b22_branch2b") == "conv4_block23_2_conv"
    assert current_name("ResNet152", "bn3b7_branch2a") == "conv3_block8_1_bn"
    assert current_name("ResNet101", "res4b23_branch2b") is None


def test_the_error_about_an_old_name_has_today_s():
    with pytest.raises(BoundaryError) as caught:
        BASES["ResNet50"].boundary("activation_40")
    assert str(caught.value) == (
        "freeze_until: ResNet50 has no boundary 'activation_40'; "
        "Keras calls it 'conv4_block6_out' today"
    )
    with pytest.raises(BoundaryError) as caught:
        BASES["ResNet50"].first_layer("res5c_branch2a")
    assert str(caught.value) == (
        "unfreeze_from: ResNet50 has no layer 'res5c_branch2a'; "
        "Keras calls it 'conv5_block3_1_conv' today"
    )
