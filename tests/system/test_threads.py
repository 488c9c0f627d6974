"""Work in threads: in order, not too far ahead, and stopped with whoever listens."""

from __future__ import annotations

import threading
import time

import pytest

from tlcli.system.threads import MAX_AHEAD, map_in_order


def test_results_come_in_order_whatever_takes_longest():
    def work(number: int) -> int:
        time.sleep(0.02 if number % 5 == 0 else 0)
        return number * number

    assert list(map_in_order(work, range(100), workers=4)) == [n * n for n in range(100)]
    assert list(map_in_order(work, [], workers=4)) == []


def test_it_runs_a_few_ahead_and_no_further():
    taken = []

    def items():
        for number in range(1_000):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number, items(), workers=2)
    assert next(results) == 0
    assert len(taken) == 2 * MAX_AHEAD + 1
    results.close()
    assert len(taken) == 2 * MAX_AHEAD + 1


def test_pieces_run_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    assert sorted(map_in_order(lambda _: both.wait(), range(2), workers=2)) == [0, 1]


def test_an_error_is_raised_in_its_place():
    def work(number: int) -> float:
        return 1 / (number - 3)

    results = map_in_order(work, range(6), workers=2)
    assert [next(results) for _ in range(3)] == [-1 / 3, -1 / 2, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
