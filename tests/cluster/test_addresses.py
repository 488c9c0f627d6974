"""Which workers there are: by options, or as a scheduler says it."""

from __future__ import annotations

import json

import pytest

from tlcli.cluster.addresses import Workers, read_workers, split_address

TWO = ("10.0.0.1:5000", "node-2.lan:5001")


def test_options():
    workers = read_workers(" 10.0.0.1:5000, node-2.lan:5001", 1, {})
    assert workers == Workers(TWO, 1)
    assert workers.name(0) == "worker 0 (10.0.0.1:5000)"
    assert read_workers(None, None, {}) is None


def test_addresses():
    assert split_address("10.0.0.1:5000") == ("10.0.0.1", 5000)
    assert split_address("[fe80::1]:80") == ("fe80::1", 80)


@pytest.mark.parametrize(
    ("cluster", "task", "workers"),
    [
        ({"worker": TWO}, {"type": "worker", "index": 1}, Workers(TWO, 1)),
        ({"chief": TWO[:1], "worker": TWO[1:]}, {"type": "chief", "index": 0}, Workers(TWO, 0)),
        ({"chief": TWO[:1], "worker": TWO[1:]}, {"type": "worker", "index": "0"}, Workers(TWO, 1)),
        ({"worker": TWO[:1]}, {"type": "worker", "index": 0}, None),
    ],
)
def test_what_a_scheduler_says(cluster, task, workers):
    environ = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
    assert read_workers(None, None, environ) == workers
    assert read_workers("a:1,b:2", 0, environ) == Workers(("a:1", "b:2"), 0)


@pytest.mark.parametrize(
    ("listed", "number", "message"),
    [
        ("a:1,b:2", None, "--workers and --worker belong together: all addresses, and which is "
         "this"),
        (None, 1, "--workers and --worker belong together: all addresses, and which is this"),
        ("a:1", 0, "one worker is no group; leave --workers out, or name two or more"),
        ("a:1,b:2", 2, "workers are numbered from 0 to 1, not 2"),
        ("a:1,b:2", -1, "workers are numbered from 0 to 1, not -1"),
        ("a:1,a:1", 0, "a:1 is named twice; every worker needs an address"),
        ("a,b:2", 0, "'a' is no address; write host:port, as in 10.0.0.1:5000"),
        ("a:1,b:70000", 0, "'b:70000' is no address; write host:port, as in 10.0.0.1:5000"),
        ("a..b:1,c:2", 0, "'a..b:1' is no address; write host:port, as in 10.0.0.1:5000"),
        ("a:1,", 0, "'' is no address; write host:port, as in 10.0.0.1:5000"),
    ],
)  # fmt: skip
def test_what_cannot_be(listed, number, message):
    with pytest.raises(ValueError) as raised:
        read_workers(listed, number, {})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("tf_config", "message"),
    [
        ("{", "TF_CONFIG cannot be read: it is no JSON with cluster and task"),
        ("{}", "TF_CONFIG cannot be read: it is no JSON with cluster and task"),
        (
            json.dumps({"cluster": {"worker": TWO}, "task": {"type": "ps", "index": 0}}),
            "TF_CONFIG makes this a 'ps'; tlcli has a chief and workers only",
        ),
    ],
)
def test_a_scheduler_that_says_something_else(tf_config, message):
    with pytest.raises(ValueError) as raised:
        read_workers(None, None, {"TF_CONFIG": tf_config})
    assert str(raised.value) == message
