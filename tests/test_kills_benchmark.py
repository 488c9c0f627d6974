"""The moments of the benchmark of kills, and what counts as one."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from builders.stores import keys, row_values, rows_of

from tlcli.system.files import features_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

FOLDER = Path(__file__).parents[1] / "benchmarks"

WRITER = """
import sqlite3, time
index = sqlite3.connect("index.sqlite")
index.execute("PRAGMA cache_size = 1")
index.execute("CREATE TABLE rows (number, text)")
index.execute("INSERT INTO rows VALUES (1, '')")
index.commit()
for number in range(2000):  # more than the cache holds, so that some of it is in the file
    index.execute("INSERT INTO rows VALUES (?, ?)", (number, "x" * 1000))
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@contextmanager
def running(program: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", program], text=True, **options) as process:
        yield process
        process.kill()


def test_the_moments_of_rows_are_spread_over_them():
    from moments import row_moment

    assert [row_moment(number, 10, 1000).rows for number in range(10)] == [*range(50, 1000, 100)]
    assert row_moment(0, 1, 1000).rows == 500
    assert row_moment(0, 10, 3).rows == 1


def test_a_moment_of_rows_comes_once_they_are_stored(tmp_path: Path):
    from moments import Moment
    from stored_rows import count_rows

    assert count_rows(tmp_path) == 0
    with running("import time; time.sleep(60)") as process:
        with closing(rows_of(features_folder(tmp_path))) as rows:
            rows.append(keys(1, 2), row_values(1, 2))
        Moment(rows=2).wait(tmp_path, process)
        assert process.poll() is None
        assert count_rows(tmp_path) == 2


def test_a_moment_of_a_process_that_has_ended_is_over(tmp_path: Path):
    from moments import Moment
    from processes import kill

    with running("") as process:
        Moment(rows=1).wait(tmp_path, process)
        Moment(seconds=60).wait(tmp_path, process)
        assert not kill([process.pid])


def test_a_moment_that_does_not_come_ends_the_process(tmp_path: Path, monkeypatch):
    import moments

    monkeypatch.setattr(moments, "PATIENCE", 0.05)
    with running("import time; time.sleep(60)") as process:
        with pytest.raises(SystemExit, match=r"rows=1\) has not come after 0.05 s"):
            moments.Moment(rows=1).wait(tmp_path, process)
        assert process.wait() == -signal.SIGKILL


def test_rows_that_a_killed_process_left_are_counted_in_a_copy(tmp_path: Path):
    from processes import kill
    from stored_rows import count_rows, count_rows_left

    trunk = features_folder(tmp_path) / "trunk"
    trunk.mkdir(parents=True)
    with running(WRITER, cwd=trunk, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == "written\n"
        assert kill([process.pid])
    left = {path.name: path.read_bytes() for path in trunk.iterdir()}
    assert sorted(left) == ["index.sqlite", "index.sqlite-journal"]
    assert count_rows_left(tmp_path) == 1
    with pytest.raises(sqlite3.OperationalError):  # a commit is to be undone, which only reads
        count_rows(tmp_path)
    assert {path.name: path.read_bytes() for path in trunk.iterdir()} == left


def test_a_kill_that_does_not_count_is_tried_again(capsys):
    from kills import try_until

    done = {"stored": 0, "rows": 9, "identical": 9, "repeated": 0, "same": 1, "hit": 1, "amid": 0}
    tried = iter([done, {**done, "stored": 5, "amid": 1}])
    assert try_until("amid", "merge", lambda: next(tried))["stored"] == 5
    assert "merge: not amid the rows, does not count (try 1 of 3)" in capsys.readouterr().err
    assert try_until("amid", "merge", lambda: done) == done
    assert capsys.readouterr().err.count("does not count") == 3
    lost = {**done, "same": 0}
    assert try_until("amid", "merge", iter([lost]).__next__) == lost
