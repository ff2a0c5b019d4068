"""The bell that informers ring from their threads, heard in the event loop."""

from __future__ import annotations

import asyncio
import contextlib

from capi_llm.waiting import Wakeup


class LoopBell(Wakeup):
    """Rung from any thread; coroutines of ``loop`` wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._next = asyncio.Event()

    def ring(self) -> None:
        super().ring()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        event, self._next = self._next, asyncio.Event()
        event.set()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next ring. Take it before looking at what may change, so that no ring is missed."""
        return self._next


async def heard(event: asyncio.Event, seconds: float) -> bool:
    """Wait for ``event``, at most so long; whether it came."""
    with contextlib.suppress(TimeoutError):
        # Not asyncio.wait_for: before Python 3.12 it forgets that it was cancelled where the event
        # comes in the same moment (https://github.com/python/cpython/issues/86296).
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
