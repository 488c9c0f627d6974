"""Workers that meet over loopback, and what they tell each other."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from tlcli.cluster import group as groups
from tlcli.cluster import link as links
from tlcli.cluster import meeting
from tlcli.cluster.addresses import Workers
from tlcli.cluster.group import Group
from tlcli.cluster.meeting import meet
from tlcli.errors import RunError


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A lost worker must not end the process of the tests."""
    monkeypatch.setattr(groups.os, "_exit", lambda code: None)
    monkeypatch.setattr(groups, "GRACE_SECONDS", 3600)


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    addresses = tuple(f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)
    for sock in sockets:
        sock.close()
    return addresses


def start(*all_workers: Workers, seconds: float = 20.0) -> list[Future[Group]]:
    pool = ThreadPoolExecutor(len(all_workers))
    return [pool.submit(meet, workers, seconds) for workers in all_workers]


@pytest.fixture
def three():
    """Three workers that have met."""
    addresses = free_addresses(3)
    met = [f.result() for f in start(*(Workers(addresses, number) for number in range(3)))]
    yield met
    for group in met:
        group.__exit__(None, None, None)


def on_all(workers: list[Group], work) -> list:
    with ThreadPoolExecutor(len(workers)) as pool:
        return [future.result() for future in [pool.submit(work, group) for group in workers]]


def test_all_hear_all(three):
    assert (
        on_all(three, lambda group: group.exchange({"from": group.number}))
        == [[{"from": 0}, {"from": 1}, {"from": 2}]] * 3
    )
    third = 0.1 + 0.2 + 0.3
    assert on_all(three, lambda group: group.sum([(group.number + 1) / 10, 1])) == [[third, 3]] * 3
    content = bytes(range(256)) * 20_000
    shared = on_all(three, lambda group: group.share(content if group.number == 0 else None))
    assert shared == [content] * 3


def test_they_know_where_tensorflow_is(three):
    servers = {group.servers for group in three}
    (only,) = servers
    assert only[1:] == three[0]._workers.addresses[1:]
    assert only[0] != three[0]._workers.addresses[0]  # that port is taken by the meeting
    assert only[0].startswith("127.0.0.1:")


def test_one_that_differs_is_named_on_all(three):
    def agree(group: Group) -> str:
        with pytest.raises(RunError) as raised:
            group.agree("other weights", 7 if group.number == 2 else 5)
        return str(raised.value)

    name = three[0].name(2)
    line = f"{name}: has other weights than worker 0; all workers need the same"
    assert on_all(three, agree) == [line] * 3
    on_all(three, lambda group: group.agree("other weights", 5))


def waits(group: Group) -> str:
    with pytest.raises(RunError) as raised:
        group.exchange(1)
    return str(raised.value)


HINT = "give the command on every worker again: training goes on after the last whole epoch"


def test_a_connection_that_breaks_ends_all(three):
    for link in three[2]._links.values():
        link.close()
    line = f"{three[0].name(2)} has ended: the connection was closed; {HINT}"
    assert on_all(three[:2], waits) == [line] * 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RunError("no weights"), "has stopped: no weights"),
        (KeyboardInterrupt(), "was stopped"),
        (ZeroDivisionError(), "has stopped: ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("leaving", [0, 2])
def test_one_that_stops_says_why(three, error, why, leaving):
    if isinstance(error, RunError):
        from tlcli.errors import Problem

        error = RunError(Problem("", "no weights"))
    with pytest.raises(type(error)), three[leaving]:
        raise error
    left = [group for group in three if group.number != leaving]
    assert on_all(left, waits) == [f"{three[0].name(leaving)} {why}; {HINT}"] * 2


def test_one_that_is_silent_counts_as_lost(monkeypatch):
    monkeypatch.setattr(links, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(groups, "SIGN_SECONDS", 3600)
    near, far = socket.socketpair()
    with closing(far):
        workers = Workers(("a:1", "b:2"), 0)
        listening = links.Link(near)
        monkeypatch.setattr(
            links.Link, "receive", lambda self, seconds=0.2, old=links.Link.receive: old(self, 0.2)
        )
        group = Group(workers, {1: listening}, workers.addresses)
        assert waits(group) == f"worker 1 (b:2) has ended: nothing was heard of it; {HINT}"
        group.__exit__(None, None, None)


def test_an_error_of_tensorflow_is_that_of_the_lost_worker(three):
    class AbortedError(Exception):
        __module__ = "tensorflow.python.framework.errors_impl"

    for link in three[2]._links.values():
        link.close()
    while three[0]._lost is None:
        time.sleep(0.01)
    assert "has ended" in str(three[0].lost(AbortedError("a long text")))
    assert three[0].lost(ValueError("a bug")) is None


def test_the_good_end(three):
    ended = threading.Event()

    def finish(group: Group) -> bool:
        if group.number == 0:
            time.sleep(0.1)
            ended.set()
        group.finish()
        if group.number == 0:
            group.__exit__(None, None, None)
        return ended.is_set()

    assert on_all(three, finish) == [True] * 3
    assert [group._lost for group in three] == [None] * 3


def test_what_one_does_after_the_good_end_keeps_no_other_one(three, monkeypatch):
    monkeypatch.setattr(groups, "SIGN_SECONDS", 3600)

    def finish(worker: Group) -> None:
        worker.finish()
        if worker.number:
            worker.__exit__(None, None, None)

    on_all(three, finish)  # worker 0 has not left its block, and gives no more signs
    with pytest.raises(ZeroDivisionError), three[0]:
        raise ZeroDivisionError
    assert [worker._lost for worker in three] == [None] * 3


def test_a_message_may_take_longer_than_a_worker_may_be_silent(monkeypatch):
    monkeypatch.setattr(links, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(links, "_PORTION", 1 << 16)
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    sender, receiver = map(links.Link, ends)
    content = bytes(1_500_000)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(sender.send, links.BYTES, content)
        read, started = len(ends[1].recv(1)), time.monotonic()
        sender.give_sign()  # something is being sent: it waits for nothing, and sends nothing
        assert time.monotonic() - started < 0.5
        while read < links._HEADER.size + len(content):
            read += len(ends[1].recv(1 << 16))
            time.sleep(0.05)
        sent.result()
    assert time.monotonic() - started > 1.0
    for link in (sender, receiver):
        link.close()


def refusals(*all_workers: Workers, seconds: float = 1.0) -> list[str]:
    messages = []
    for future in start(*all_workers, seconds=seconds):
        with pytest.raises(RunError) as raised:
            future.result()
        messages.append(str(raised.value))
    return messages


def test_one_that_does_not_come(monkeypatch):
    monkeypatch.setattr(meeting, "WAIT_SECONDS", 1.0)
    addresses = free_addresses(3)
    line = (
        f"worker 2 ({addresses[2]}): has not come in 1 s; start it with --worker 2 and the same "
        f"--workers; its machine must reach {addresses[0]}"
    )
    assert refusals(Workers(addresses, 0), Workers(addresses, 1)) == [line] * 2
    (alone,) = refusals(Workers(addresses, 1))
    assert alone == (
        f"worker 0 ({addresses[0]}): cannot be reached in 1 s: connection refused; start it with "
        "--worker 0, and check its address in --workers"
    )


def test_a_port_in_use_and_an_address_of_another_machine():
    addresses = free_addresses(2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(addresses[0].rpartition(":")[2])))
        taken.listen()
        for number, own in enumerate(addresses):
            with socket.socket() as second:
                if number:
                    second.bind(("127.0.0.1", int(own.rpartition(":")[2])))
                    second.listen()
                (line,) = refusals(Workers(addresses, number))
                assert line == (
                    f"{own}: the port is in use; name another one in --workers, on every worker"
                )
    (line,) = refusals(Workers(("192.0.2.1:5000", addresses[1]), 0))
    assert line == (
        "192.0.2.1:5000: is no address of this machine; --worker says which of --workers this one "
        "is, counted from 0"
    )
    (line,) = refusals(Workers(("no.such.host.invalid:5000", addresses[1]), 0))
    assert line == (
        "no.such.host.invalid:5000: no such host is known; correct --workers, on every worker"
    )


def test_other_versions_and_other_lists(monkeypatch):
    addresses = free_addresses(3)
    pair, other = addresses[:2], (addresses[0], addresses[2])
    line = (
        f"worker 1: has other --workers: {','.join(other)}; here {','.join(pair)}; give all of "
        "them the same list"
    )
    assert refusals(Workers(pair, 0), Workers(other, 1), seconds=20) == [line] * 2
    known = [{"tlcli": "1", "keras": "3.15"}, {"tlcli": "1", "keras": "3.14"}]
    monkeypatch.setattr(meeting, "versions", lambda: known[threading.current_thread().name == "1"])

    def come(number: int) -> str:
        threading.current_thread().name = str(number)
        with pytest.raises(RunError) as raised:
            meet(Workers(pair, number), 20)
        return str(raised.value)

    with ThreadPoolExecutor(2) as pool:
        lines = [future.result() for future in [pool.submit(come, n) for n in (0, 1)]]
    line = (
        f"worker 1 ({pair[1]}): has keras 3.14, worker 0 has 3.15; install the same version on all"
    )
    assert lines == [line] * 2


def test_strangers_at_the_port_are_passed_over():
    addresses = free_addresses(2)
    (first,) = start(Workers(addresses, 0))
    port = int(addresses[0].rpartition(":")[2])
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"", b"V\0\0\0\0\0\0\0\2{}"):
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.01)
        with stranger:
            stranger.sendall(words)
    (second,) = start(Workers(addresses, 1))
    met = [first.result(), second.result()]
    assert on_all(met, lambda group: group.sum([1])) == [[2]] * 2
    for group in met:
        group.__exit__(None, None, None)


def test_who_answers_in_the_place_of_worker_0():
    addresses = free_addresses(2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", int(addresses[0].rpartition(":")[2])))
        server.listen()
        (other,) = start(Workers(addresses, 1), seconds=5)
        with server.accept()[0] as answer, pytest.raises(RunError) as raised:
            answer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            other.result()
    assert str(raised.value) == (
        f"worker 0 ({addresses[0]}): it does not speak as a worker of this version of tlcli does; "
        "what answers there is no worker 0 of this run, or it has ended; check --workers"
    )
