"""Who may ask, and how much at once: each refusal with its status and one sentence."""

from __future__ import annotations

import pytest

from tlcli.serving.guards import Access, allowed_hosts, host_name
from tlcli.serving.limits import Limits

PREDICT = "/v1/models/pets:predict"


def test_without_the_token_only_the_page_and_health_answer(serving, test_photos):
    client = serving(access=Access(token="secret"))
    content = test_photos[0].read_bytes()
    assert client.get("/").status_code == client.get("/health").status_code == 200
    for header in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret"},
                   {"Authorization": "secret"}, {"Authorization": "Bearer "}):  # fmt: skip
        for response in (
            client.post(PREDICT, content=content, headers=header),
            client.get("/metrics", headers=header),
            client.get("/v1/models", headers=header),
        ):
            assert response.status_code == 401
            assert response.json() == {"error": "a token is needed: Authorization: Bearer TOKEN"}
            assert response.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": "bearer secret"}
    assert client.post(PREDICT, content=content, headers=right).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.org", "a.org"), ("A.org:80", "a.org"), ("[::1]:80", "::1"), ("::1", "::1"), ("", "")],
)
def test_the_name_in_a_host(host, name):
    assert host_name(host) == name


def test_pages_of_other_sites_are_refused(serving):
    client = serving(access=Access(hosts=allowed_hosts("127.0.0.1", ["photos.example.org"])))

    def status(host: str, origin: str = "") -> int:
        headers = {"Host": host} | ({"Origin": origin} if origin else {})
        return client.get("/v1/models", headers=headers).status_code

    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "photos.example.org"):
        assert status(host) == 200
    assert status("localhost:8000", "http://localhost:8000") == 200
    assert status("127.0.0.1:8000", "https://photos.example.org") == 200  # behind a proxy
    for host, origin in (
        ("evil.example.com", ""),
        ("evil.example.com:8000", "http://evil.example.com:8000"),
        ("localhost:8000", "http://evil.example.com"),
        ("localhost:8000", "http://localhost:9000"),
        ("localhost:8000", "null"),
        ("localhost:8000", "http://[bad"),
    ):
        assert status(host, origin) == 403


def test_a_server_that_is_open_anyway_answers_to_all_hosts():
    assert allowed_hosts("0.0.0.0", []) is None
    assert "a.org" in (allowed_hosts("0.0.0.0", ["A.org"]) or ())
    assert allowed_hosts("127.0.0.1", []) == {"127.0.0.1", "localhost", "::1"}


def test_limits_of_a_request(serving, test_photos):
    content = test_photos[0].read_bytes()
    client = serving(limits=Limits(body=len(content) - 1, files=2))
    whole = client.post(PREDICT, content=content)
    parts = client.post(PREDICT, content=iter([content[:100], content[100:]]))  # no length known
    for response in (whole, parts):
        assert response.status_code == 413
        assert response.json()["error"] == (
            f"the body has more than {len(content) - 1:,} bytes, the limit here"
        )
    client = serving(limits=Limits(files=2))
    files = [("photo", ("a.png", content))] * 3
    response = client.post(PREDICT, files=files)
    assert (response.status_code, response.json()["error"]) == (
        413, "the form has more than 2 files, the limit here"
    )  # fmt: skip
    response = client.post(PREDICT, json={"instances": [1, 2, 3]})
    assert (response.status_code, response.json()["error"]) == (
        413, '"instances" has 3 photos; 2 is the limit here'
    )  # fmt: skip
    response = client.post(PREDICT, content=content, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


def test_limits_of_a_server(serving, test_photos):
    content = test_photos[0].read_bytes()
    files = [("photo", ("a.png", content))] * 3
    client = serving(limits=Limits(queue=2))
    response = client.post(PREDICT, files=files)
    assert response.status_code == 413
    model = client.models.find("pets")
    model.pending = 2
    response = client.post(PREDICT, content=content)
    assert response.status_code == 503 and int(response.headers["retry-after"]) >= 1
    assert response.json()["error"] == "the queue of 'pets' is full: 2 photos wait already"
    model.pending = 0
    assert client.post(PREDICT, content=content).status_code == 200
    assert model.pending == 0

    client = serving(limits=Limits(connections=5), connections=lambda: 6)
    response = client.post(PREDICT, content=content)
    assert response.status_code == 503 and response.headers["retry-after"] == "1"
    assert response.json()["error"] == "more than 5 connections are open, the limit here"


def test_malformed_forms(serving):
    client = serving()

    def status_and_error(body: bytes, boundary: str = "; boundary=b") -> tuple[int, str]:
        headers = {"Content-Type": f"multipart/form-data{boundary}"}
        response = client.post(PREDICT, content=body, headers=headers)
        return response.status_code, response.json()["error"]

    head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    assert status_and_error(head + b"x\r\n--b--\r\n", "") == (
        400, "the form has no boundary in its Content-Type"
    )  # fmt: skip
    assert status_and_error(b"no form") == (400, "the form is malformed")
    assert status_and_error(head + b"x") == (400, "the form ends early")
    field = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    assert status_and_error(field + b"--b--\r\n")[1].startswith("the form has no file")
    assert status_and_error(field * 65 + b"--b--\r\n")[1].startswith("the form has more than 64")
    long = b"--b\r\nContent-Disposition: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n"
    assert status_and_error(long)[0] == 400
