"""The queue of the KWOK provider, with a clock of the test's own."""

from __future__ import annotations

import threading

import pytest

from capi_llm.provider.queue import FIRST_PAUSE, LONGEST_PAUSE, Queue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue[str]:
    return Queue(clock)


def test_each_key_once_and_the_one_that_waits_for_longest_first(queue: Queue[str], clock: Clock) -> None:
    queue.add("a")
    clock.now = 1
    queue.add("b")
    queue.add("a")
    assert [queue.take(), queue.take()] == ["a", "b"]
    queue.done("a")
    queue.done("b")
    queue.close()
    assert queue.take() is None


def test_the_earlier_time_counts(queue: Queue[str], clock: Clock) -> None:
    queue.add("late", 50)
    queue.add("key", 20)
    queue.add("key", 10)
    queue.add("key", 30)
    clock.now = 10
    assert queue.take() == "key"
    queue.done("key", 5)
    clock.now = 15
    assert queue.take() == "key"
    queue.done("key")
    clock.now = 50
    assert queue.take() == "late"


def test_what_changes_while_it_is_looked_at_is_looked_at_again(queue: Queue[str], clock: Clock) -> None:
    queue.add("a")
    queue.add("b", 1)
    assert queue.take() == "a"
    queue.add("a")
    clock.now = 1
    assert queue.take() == "b"  # never by two at once
    queue.done("a")
    assert queue.take() == "a"


def test_pauses_of_what_fails_grow_up_to_a_limit_and_begin_anew(queue: Queue[str], clock: Clock) -> None:
    pauses = []
    for _ in range(60):
        queue.add("a")
        assert queue.take() == "a"
        pauses.append(queue.failed("a"))
        clock.now += pauses[-1]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert queue.take() == "a"
    queue.done("a")
    queue.add("a")
    assert queue.take() == "a"
    assert queue.failed("a") == FIRST_PAUSE


def test_many_workers_take_every_key_and_no_key_twice_at_once() -> None:
    queue: Queue[int] = Queue()
    lock, working, seen = threading.Lock(), set[int](), dict[int, int]()
    wrong: list[int] = []

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                if key in working:
                    wrong.append(key)
                working.add(key)
                seen[key] = seen.get(key, 0) + 1
                last = len(seen) == 50 and all(count >= 3 for count in seen.values())
            with lock:
                working.discard(key)
            queue.done(key, 0.0 if seen[key] < 3 else None)
            if last:
                queue.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for key in [*range(50), *range(50)]:
        queue.add(key)
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
    assert wrong == []
    assert set(seen) == set(range(50))
