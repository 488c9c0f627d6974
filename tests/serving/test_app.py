"""Answers over HTTP: those of `tlcli predict`, in its words and in those of TensorFlow Serving."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tlcli.evaluation import engines
from tlcli.images import decode
from tlcli.serving import app, heat_maps
from tlcli.serving.limits import Limits

PREDICT = "/v1/models/pets:predict"


def b64(path) -> dict[str, str]:
    return {"b64": base64.b64encode(path.read_bytes()).decode()}


@pytest.fixture
def printed(cli, trained, test_photos):
    """What `tlcli predict --format jsonl` prints of the test photos."""
    words = ["--run", trained[0].path, "--format", "jsonl", "--top", "3"]
    lines = cli("predict", *test_photos, *words).stdout.splitlines()
    values = [json.loads(line) for line in lines]
    assert len({value["probability"] for value in values}) == len(test_photos)  # none is another's
    return values


def test_a_raw_body_is_answered_with_the_line_of_predict(serving, cli, trained, test_photos):
    client = serving()
    for path in test_photos:
        words = ["--run", trained[0].path, "--format", "jsonl", "--top", "3"]
        line = cli("predict", path, *words).stdout
        name = {"Content-Disposition": f'attachment; filename="{path}"'}
        response = client.post(f"{PREDICT}?top=3", content=path.read_bytes(), headers=name)
        assert response.status_code == 200
        assert response.text == line
    assert client.post(PREDICT, content=path.read_bytes()).json()["path"] == "photo"


def test_the_files_of_a_form_are_answered_in_order_each_by_itself(serving, printed, test_photos):
    broken = ("broken.jpg", b"\xff\xd8\xff nothing")
    files = [("photo", (str(path), path.read_bytes())) for path in test_photos]
    response = serving().post(f"{PREDICT}?top=3", files=[*files, ("photo", broken)])
    *answers, last = response.json()["predictions"]
    assert response.status_code == 200
    assert answers == printed
    assert last["path"] == "broken.jpg" and "header is truncated" in last["error"]


def test_an_answer_does_not_depend_on_the_others(serving, printed, test_photos):
    client = serving()
    files = [("photo", (str(path), path.read_bytes())) for path in test_photos]
    for count in (1, 2, 5):
        answers = client.post(f"{PREDICT}?top=3", files=files[:count]).json()["predictions"]
        assert answers == printed[:count]


def test_keras_answers_in_batches_where_there_is_no_instant_file(
    serving, test_photos, printed, monkeypatch
):
    choose = engines.choose_engine
    monkeypatch.setattr("tlcli.serving.models.choose_engine", lambda path: choose(path, "keras"))
    client = serving()
    files = [("photo", (str(path), path.read_bytes())) for path in test_photos]
    for count in (9, 4, 1):
        answers = client.post(f"{PREDICT}?top=3", files=files[:count]).json()["predictions"]
        for answer, line in zip(answers, printed[:count], strict=True):
            assert answer["label"] == line["label"]
            assert answer["probability"] == pytest.approx(line["probability"], abs=1e-5)
    text = client.get("/metrics").text
    # One photo to warm up, then 9, 4 and 1, in fewer batches than photos.
    assert 'tlcli_batch_photos_sum{model="pets"} 15' in text
    count = re.search(r'tlcli_batch_photos_count{model="pets"} (\d+)', text)
    assert count and int(count[1]) < 15


def test_requests_in_the_shape_of_tensorflow_serving(serving, printed, test_photos):
    client = serving()
    classes = client.get("/v1/models").json()["models"][0]["classes"]
    expected = [
        [{top["label"]: top["probability"] for top in line["top"]}[name] for name in classes]
        for line in printed
    ]
    pixels = [
        decode.load_image(path, height=32, width=32, resize="squash").tolist()
        for path in test_photos
    ]
    bare, named = [b64(path) for path in test_photos], [{"image_bytes": b64(test_photos[0])}]
    for key, entries, answer in (
        ("instances", bare, "predictions"),
        ("instances", pixels, "predictions"),
        ("instances", [{"pixels": pixels[0]}], "predictions"),
        ("instances", named, "predictions"),
        ("inputs", bare, "outputs"),
        ("inputs", {"image_bytes": bare}, "outputs"),
        ("inputs", {"pixels": pixels}, "outputs"),
    ):
        response = client.post(PREDICT, json={"signature_name": "serving_default", key: entries})
        assert response.status_code == 200, response.text
        rows = response.json()[answer]
        np.testing.assert_allclose(rows, expected[: len(rows)], rtol=0, atol=1e-12)
    # TensorFlow Serving's own clients name no type, and curl -d another one.
    content = json.dumps({"instances": bare}).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(PREDICT, content=content).json()["predictions"]
    assert client.post(PREDICT, content=content, headers=form).json()["predictions"]


NEITHER = "instances[0] is neither a file in Base64 nor pixels of 32x32x3"


def test_what_is_no_request_of_tensorflow_serving(serving):
    client = serving()
    for content, status, message in (
        (b'{"instances": [', 400, "the body is not JSON"),
        (b'{"a":' * 100_000, 400, "the body is not JSON"),
        (b"{}", 400, 'neither "instances" nor "inputs"'),
        (b'{"instances": []}', 400, "not a list of photos"),
        (b'{"instances": 3}', 400, "not a list of photos"),
        (b'{"instances": [3]}', 400, NEITHER),
        (b'{"instances": [[[1, 2], [3]]]}', 400, NEITHER),
        (b'{"instances": [{"b64": 3}]}', 400, 'instances[0] is not {"b64": "..."}'),
        (b'{"instances": [{"b64": "?"}]}', 400, "instances[0] is not valid Base64"),
        (b'{"instances": [{"b64": "YWJj"}]}', 415, "instances[0]: cannot be decoded: not an image"),
        (b'{"instances": [{"a": 1, "b": 2}]}', 400, "names 2 inputs; the model has one"),
        (b'{"signature_name": "train", "instances": [1]}', 400, "there is 'serving_default'"),
        (b'{"signature_name": {}, "instances": [1]}', 400, "there is 'serving_default'"),
        (b'{"instances": [[[[NaN, 1, 2]]]]}', 400, NEITHER),
    ):
        response = client.post(PREDICT, content=content)
        assert response.status_code == status, content[:80]
        assert message in response.json()["error"]


def test_pixels_must_be_in_their_range(serving):
    client = serving()
    for value in (-1, 256, float("nan")):
        pixels = np.full((32, 32, 3), value).tolist()
        response = client.post(PREDICT, content=json.dumps({"instances": [pixels]}))
        assert response.status_code == 400
        assert response.json() == {"error": "instances[0] has pixels outside of 0..255"}


def test_models_their_status_and_metadata(serving, trained):
    client = serving()
    (model,) = client.get("/v1/models").json()["models"]
    assert model == {
        "name": "pets", "version": 1, "run": trained[0].name, "engine": "instant",
        "classes": ["blue", "green", "red"], "image_size": [32, 32], "resize": "squash",
        "calibrated": True, "threshold": None, "waiting": 0,
    }  # fmt: skip
    status = client.get("/v1/models/pets").json()["model_version_status"]
    assert [(entry["version"], entry["state"]) for entry in status] == [("1", "AVAILABLE")]
    signatures = client.get("/v1/models/pets/metadata").json()["metadata"]["signature_def"]
    assert signatures["signature_def"].keys() == {"serving_default", "serve_bytes"}
    assert client.get("/v1/models/pets/versions/1").status_code == 200
    response = client.get("/v1/models/pets/versions/2")
    assert response.status_code == 404
    assert response.json() == {"error": "no version '2' of 'pets'; allowed: 1"}
    assert client.get("/health").json() == {"status": "ok", "models": ["pets"]}


def test_what_is_not_there(serving):
    client = serving()
    for method, path, status, message in (
        ("GET", "/nowhere", 404, "nothing is at '/nowhere'; see /v1/models"),
        ("GET", "/v1/models/cats", 404, "no model 'cats'; there is 'pets'"),
        ("POST", "/v1/models/cats:predict", 404, "no model 'cats'; there is 'pets'"),
        ("GET", PREDICT, 405, f"GET is not for '{PREDICT}'; it takes POST"),
        ("DELETE", "/health", 405, "DELETE is not for '/health'; it takes GET"),
        ("POST", PREDICT, 400, "the body is empty; send the bytes of a photo"),
        ("POST", f"{PREDICT}?top=none", 400, "top='none' is not a number of classes"),
        ("POST", f"{PREDICT}?top=0", 400, "top='0' is not a number of classes"),
        ("POST", f"{PREDICT}?size=3", 400, "unknown parameter 'size'; there is 'top'"),
        ("POST", "/v1/models/pets:explain?class=x", 400, "'x' is not a class of 'pets'; allowed:"),
    ):
        response = client.request(method, path)
        assert response.status_code == status, path
        error = response.json()["error"].replace("HEAD, GET", "GET").replace("GET, HEAD", "GET")
        assert error.startswith(message)


def test_a_photo_that_cannot_be_read_has_its_status_and_the_words_of_predict(
    serving, cli, trained, test_photos, tmp_path
):
    whole = io.BytesIO()
    Image.open(test_photos[0]).save(whole, "JPEG")
    for name, content, status, limits in (
        ("text", b"these are no pixels", 415, Limits()),
        ("cut", whole.getvalue()[:-200], 422, Limits()),
        ("huge", test_photos[0].read_bytes(), 413, Limits(pixels=2303)),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        header = {"Content-Disposition": f'attachment; filename="{path}"'}
        response = serving(limits=limits).post(PREDICT, content=content, headers=header)
        assert response.status_code == status
        if name != "huge":
            line = cli("predict", path, "--run", trained[0].path, "--format", "jsonl").stdout
            assert response.text == line
    assert response.json() == {
        "path": str(path),
        "error": "too many pixels: 48 x 48",
        "hint": "this server takes 2,303 at most; scale it down",
    }


def test_metrics_count_what_has_been_answered(serving, test_photos):
    client = serving()
    for path in test_photos[:2]:
        client.post(PREDICT, content=path.read_bytes())
    client.post(PREDICT, content=b"nothing")
    text = client.get("/metrics").text
    route = 'route="/v1/models/{name}:predict"'
    for line in (
        f'tlcli_requests_total{{{route},status="200"}} 2',
        f'tlcli_requests_total{{{route},status="415"}} 1',
        f"tlcli_request_seconds_count{{{route}}} 3",
        'tlcli_unreadable_total{model="pets"} 1',
        'tlcli_waiting_photos{model="pets"} 0',
        'tlcli_batch_photos_bucket{model="pets",le="1"} 3',
    ):
        assert line in text.splitlines()
    answered = re.findall(r"^tlcli_answers_total\{.*\} (\d+)$", text, re.M)
    assert sum(map(int, answered)) == 2
    sample = re.compile(r'^[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)+\})? [-+0-9.e]+$')
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.match(line), line


def test_the_page_allows_only_its_own_style_and_script(serving):
    response = serving().get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "http" not in response.text.replace("http://HOST/", "")


@pytest.mark.slow  # a process of its own imports TensorFlow
def test_a_heat_map_is_a_picture_of_the_photo(serving, test_photos):
    client = serving()
    response = client.post("/v1/models/pets:explain?class=red", content=test_photos[0].read_bytes())
    assert response.status_code == 200, response.text
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.format, picture.size) == ("PNG", (heat_maps.SIDE, heat_maps.SIDE))
    bad = client.post("/v1/models/pets:explain", content=b"no photo")
    assert bad.status_code == 415 and "not an image" in bad.json()["error"]


def test_without_tensorflow_there_are_no_heat_maps(serving, test_photos, monkeypatch):
    monkeypatch.setattr(app, "can_explain", lambda: False)
    client = serving()
    response = client.post("/v1/models/pets:explain", content=test_photos[0].read_bytes())
    assert response.status_code == 404
    assert client.get("/v1/models").json()["explain"] is False
