"""Looking at many things side by side, and waiting for none of them for ever.

Threads are daemons: one that hangs where nothing can be interrupted (a name server, a
network file system) does not keep the process from ending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from capi_llm.errors import CapiLlmError

PROBE_SECONDS = 4.0
"""Longest wait for one answer of something outside."""

ALL_SECONDS = 20.0
"""Longest wait for a theme. A program that does not answer gets 5 seconds more to end by itself; the rest is
for a machine that does much else: who gives up earlier leaves the program behind."""

T = TypeVar("T")


class Look(Generic[T]):
    """What came of one job: ``value``, or None and ``why``."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.why = "it has not answered yet"

    def fill(self, job: Callable[[], T]) -> None:
        try:
            self.value, self.why = job(), ""
        except CapiLlmError as error:
            self.why = error.brief
        except Exception as error:  # one broken look must not take the others with it
            self.why = f"{type(error).__name__}: {error}"


def side_by_side(jobs: Mapping[str, Callable[[], T]], *, seconds: float) -> dict[str, Look[T]]:
    """Run all ``jobs`` at once; after ``seconds`` those that have not ended are given up."""
    looks: dict[str, Look[T]] = {name: Look() for name in jobs}
    threads = [
        threading.Thread(target=looks[name].fill, args=(job,), name=f"look-{name}", daemon=True)
        for name, job in jobs.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: _settled(look, seconds) for name, look in looks.items()}


def _settled(look: Look[T], seconds: float) -> Look[T]:
    """A copy that a late thread can not change any more."""
    settled: Look[T] = Look()
    settled.value, settled.why = look.value, look.why
    if settled.value is None and settled.why == Look[T]().why:
        settled.why = f"no answer within {seconds:g} s"
    return settled
