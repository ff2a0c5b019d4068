"""One way to wait: what ends it, what it says, and that no ring of the bell is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from capi_llm import waiting
from capi_llm.errors import CapiLlmError, Forbidden, Interrupted, TimedOut, Unavailable
from capi_llm.waiting import Cancel, Status, Waiter, Wakeup


def script(*statuses: Status | Exception) -> Callable[[], Status]:
    """A probe that sees each of these in turn, the last one for ever."""
    left = list(statuses)

    def probe() -> Status:
        status = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(status, Exception):
            raise status
        return status

    return probe


@pytest.fixture
def later() -> Iterator[Callable[[float, Callable[[], None]], None]]:
    """Call something on another thread after some seconds."""
    timers: list[threading.Timer] = []

    def start(seconds: float, action: Callable[[], None]) -> None:
        timers.append(threading.Timer(seconds, action))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.cancel()
        timer.join()


def test_ready_at_once_is_returned() -> None:
    assert waiting.until(script(waiting.ready("two of two")), what="x", timeout=0).message == "two of two"


def test_pending_then_ready_reports_each_new_status_once() -> None:
    seen: list[str] = []
    probe = script(
        waiting.pending("0 of 2"), waiting.pending("0 of 2"), waiting.pending("1 of 2"), waiting.ready()
    )
    waiter = Waiter(report=lambda status: seen.append(status.message), interval=0.01)
    waiting.until(probe, what="x", timeout=5, waiter=waiter)
    assert seen == ["0 of 2", "1 of 2", ""]


def test_failed_ends_the_wait_with_cause_and_fix() -> None:
    probe = script(waiting.pending("a"), waiting.failed("quota", cause="4 of 4 used", fix="raise the quota"))
    with pytest.raises(CapiLlmError) as caught:
        waiting.until(probe, what="cluster default/demo", timeout=5, waiter=Waiter(interval=0.01))
    assert str(caught.value) == "cluster default/demo failed: quota; 4 of 4 used\n  to go on: raise the quota"
    assert not isinstance(caught.value, TimedOut)


def test_deadline_says_the_last_status_and_what_to_do() -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        waiting.until(
            script(waiting.pending("1 of 2 workers", cause="no image")), what="cluster a/b", timeout=0.2
        )
    assert time.monotonic() - started < 5
    assert "cluster a/b is not ready after 0 s: 1 of 2 workers; no image" in str(caught.value)
    assert "to go on: " in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_server_that_is_away_is_pending_with_its_message() -> None:
    away = Unavailable("can not read", on="Cluster default/demo", why="connection refused")
    seen: list[str] = []
    waiter = Waiter(report=lambda status: seen.append(status.message), interval=0.01)
    waiting.until(script(away, waiting.ready("back")), what="x", timeout=5, waiter=waiter)
    assert seen == ["can not read (Cluster default/demo): connection refused", "back"]


def test_a_missing_permission_ends_the_wait() -> None:
    with pytest.raises(Forbidden):
        waiting.until(script(Forbidden("can not read", status=403)), what="x", timeout=5)


def test_the_bell_ends_the_pause(later: Callable[[float, Callable[[], None]], None]) -> None:
    waiter = Waiter(interval=30)
    state = {"status": waiting.pending("not yet")}

    def change() -> None:
        state["status"] = waiting.ready()
        waiter.wakeup.ring()

    later(0.1, change)
    started = time.monotonic()
    waiting.until(lambda: state["status"], what="x", timeout=30, waiter=waiter)
    assert time.monotonic() - started < 5


def test_a_ring_during_the_probe_is_not_lost() -> None:
    waiter = Waiter(interval=30)
    looks: list[int] = []

    def probe() -> Status:
        looks.append(1)
        if len(looks) == 1:
            # What the probe has just read changes before the wait begins.
            waiter.wakeup.ring()
            return waiting.pending("old")
        return waiting.ready()

    started = time.monotonic()
    waiting.until(probe, what="x", timeout=30, waiter=waiter)
    assert time.monotonic() - started < 5


def test_a_ring_reaches_all_who_wait() -> None:
    bell, woken = Wakeup(), threading.Semaphore(0)
    since = bell.rings()

    def wait() -> None:
        bell.wait(since, 30)
        woken.release()

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    bell.ring()
    assert all(woken.acquire(timeout=5) for _ in threads)
    for thread in threads:
        thread.join()


def test_cancel_ends_a_wait_at_once(later: Callable[[float, Callable[[], None]], None]) -> None:
    cancel = Cancel()
    waiter = Waiter(cancel=cancel, interval=30)
    later(0.1, cancel.set)
    started = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        waiting.until(script(waiting.pending("a")), what="x", timeout=30, waiter=waiter)
    assert time.monotonic() - started < 5
    assert caught.value.exit_code == 130


def test_cancelled_before_the_wait_does_not_probe() -> None:
    cancel = Cancel()
    cancel.set()

    def probe() -> Status:
        raise AssertionError("probed")

    with pytest.raises(Interrupted):
        waiting.until(probe, what="x", timeout=1, waiter=Waiter(cancel=cancel))
