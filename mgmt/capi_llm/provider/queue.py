"""What is to be looked at, and when: each key once, however often it is asked for, never by two at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 20.0
"""Seconds between two looks at a key that fails again and again: doubled each time, up to this."""

Key = TypeVar("Key")


class Queue(Generic[Key]):
    """Keys with the time at which each is due. Thread-safe.

    A key that is added while it is worked on is due again afterwards. ``clock`` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key, after: float = 0.0) -> None:
        """``key`` is due in ``after`` seconds, or earlier where it already is."""
        with self._changed:
            due = self._clock() + after
            self._due[key] = min(due, self._due.get(key, due))
            self._changed.notify_all()

    def take(self) -> Key | None:
        """The key that is due for longest, waited for; None when the queue is closed.

        It is the caller's until :meth:`done` or :meth:`failed`.
        """
        with self._changed:
            while not self._closed:
                key, due = self._next()
                if key is not None and due <= self._clock():
                    del self._due[key]
                    self._working.add(key)
                    self._changed.notify()  # another may have waited for this one
                    return key
                self._changed.wait(None if key is None else due - self._clock())
            return None

    def done(self, key: Key, again: float | None = None) -> None:
        """``key`` was looked at, and is due ``again`` after so many seconds, or when it is added."""
        with self._changed:
            self._failures.pop(key, None)
            self._release(key)
        if again is not None:
            self.add(key, again)

    def failed(self, key: Key) -> float:
        """The look at ``key`` failed: it is due again after a pause, which is returned (seconds)."""
        with self._changed:
            before = self._failures.get(key, 0)
            self._failures[key] = before + 1
            self._release(key)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(before, 20))
        self.add(key, pause)
        return pause

    def close(self) -> None:
        """Every :meth:`take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> tuple[Key | None, float]:
        free = [(due, index, key) for index, (key, due) in enumerate(self._due.items())
                if key not in self._working]  # fmt: skip
        if not free:
            return None, 0.0
        due, _, key = min(free, key=lambda item: item[:2])
        return key, due

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        self._changed.notify_all()
