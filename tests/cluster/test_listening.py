"""Where a worker listens, by what its machine knows of its own name."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tlcli.cluster.addresses import Workers
from tlcli.cluster.group import Group
from tlcli.cluster.listening import listen
from tlcli.cluster.meeting import meet
from tlcli.errors import RunError

#: What each of several machines has in its list of hosts; a thread of a test is a machine.
HOSTS = threading.local()


@pytest.fixture(autouse=True)
def hosts_of_each_machine(monkeypatch):
    ask = socket.getaddrinfo

    def look_up(host, *arguments, **options):
        return ask(getattr(HOSTS, "known", {}).get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


def address_of(workers: Workers, **known: str) -> str:
    """The address at which a worker listens where names have these addresses."""
    HOSTS.known = {name.replace("_", "-"): number for name, number in known.items()}
    with closing(listen(workers)) as listener:
        return listener.getsockname()[0]


def test_machines_that_have_their_own_names_on_loopback_meet():
    names = (f"node-1:{free_port()}", f"node-2:{free_port()}")

    def come(number: int) -> Group:
        # As Debian writes /etc/hosts. 127.0.0.1 stands for the address that the other one sees.
        HOSTS.known = {"node-1": "127.0.0.1", "node-2": "127.0.0.1"}
        HOSTS.known[f"node-{number + 1}"] = "127.0.1.1"
        if number == 0:
            HOSTS.known["node-2"] = "192.0.2.1"  # which is never called from there
        return meet(Workers(names, number), 20)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(come, (0, 1))
    with first, second, ThreadPoolExecutor(2) as pool:
        assert [*pool.map(lambda group: group.sum([1]), (first, second))] == [[2]] * 2
        assert first.servers == second.servers
        assert first.servers[0].startswith("node-1:")


def test_a_name_on_loopback_is_everywhere_if_another_worker_is_elsewhere():
    workers = Workers((f"node-1:{free_port()}", "node-2:5000"), 0)
    assert address_of(workers, node_1="127.0.1.1", node_2="192.0.2.1") == "0.0.0.0"
    assert address_of(workers, node_1="127.0.1.1", node_2="no.such.host.invalid") == "0.0.0.0"
    assert address_of(workers, node_1="::1", node_2="192.0.2.1") == "::"


def test_workers_of_one_machine_stay_on_loopback():
    workers = Workers((f"node-1:{free_port()}", f"localhost:{free_port()}"), 0)
    assert address_of(workers, node_1="127.0.1.1") == "127.0.1.1"
    number = Workers((f"127.0.0.1:{free_port()}", "node-2:5000"), 0)
    assert address_of(number, node_2="192.0.2.1") == "127.0.0.1"


def test_a_name_of_another_machine_is_one_line():
    HOSTS.known = {"node-1": "192.0.2.77", "node-2": "127.0.1.1"}
    with pytest.raises(RunError) as raised:
        listen(Workers(("node-1:5000", "node-2:5000"), 0))
    assert str(raised.value) == (
        "node-1:5000: is no address of this machine; --worker says which of --workers this one is, "
        "counted from 0"
    )


def test_a_port_that_is_in_use_at_one_address_only():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        HOSTS.known = {"node-1": "127.0.1.1", "node-2": "192.0.2.1"}
        with pytest.raises(RunError, match="the port is in use; name another one in --workers"):
            listen(Workers((f"node-1:{port}", "node-2:5000"), 0))
