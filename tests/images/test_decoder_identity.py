"""Decoders that give other pixels have other addresses in the feature store."""

from __future__ import annotations

import PIL
import pytest

from tlcli.features import addresses
from tlcli.images import decode, decoder_identity
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.recipe.settings import Head


@pytest.fixture(autouse=True)
def forget():
    decoder_identity.decoder_identity.cache_clear()
    yield
    decoder_identity.decoder_identity.cache_clear()


@pytest.mark.parametrize("change", ["GAP", "fit", "load_image"])
def test_other_pixels_have_another_address(parts, monkeypatch, change):
    recipe, _ = parts()
    network = build_network(BASES["VGG16"], (32, 32), Head(), 3, seed=0)
    before = addresses.trunk_address(network.row, recipe, "block4_pool", "weights")
    again = addresses.trunk_address(network.row, recipe, "block4_pool", "weights")
    assert again.folder(recipe.path) == before.folder(recipe.path)

    decoder_identity.decoder_identity.cache_clear()
    if change == "GAP":
        monkeypatch.setattr(decode, "GAP", 1.1)
    elif change == "fit":  # a resize that ends one level higher in one pixel
        fit = decode.fit

        def change_one(image, *arguments, **settings):
            result = fit(image, *arguments, **settings)
            red, *others = result.getpixel((0, 0))
            result.putpixel((0, 0), (red ^ 1, *others))
            return result

        monkeypatch.setattr(decode, "fit", change_one)
    else:
        load = decode.load_image
        monkeypatch.setattr(decode, "load_image", lambda *a, **k: load(*a, **k) ^ 1)
    after = addresses.trunk_address(network.row, recipe, "block4_pool", "weights")
    assert after.folder(recipe.path) != before.folder(recipe.path)
    assert str(after.as_dict()["decoder"]).startswith(f"{decode.DECODER_VERSION}-")


def test_rows_of_earlier_versions_stay_valid_where_the_pixels_are_the_same():
    """Their address holds the bare version of the decoder."""
    identity = decoder_identity.decoder_identity()
    if PIL.__version__.startswith("13."):
        assert identity == decode.DECODER_VERSION
    else:
        assert str(identity).partition("-")[0] == str(decode.DECODER_VERSION)
