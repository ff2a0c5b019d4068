"""One way to wait, for everything.

A *probe* is a function without arguments that looks at the world and returns a
:class:`Status`: READY, PENDING or FAILED, with a message. The same probe serves
skipping a step, waiting for it, ``status``, and the text of a timeout.

:func:`until` calls a probe until it is READY or FAILED, or the deadline passes.
Between calls it sleeps on a :class:`Wakeup`, which informers ring on every event,
so that a wait follows the API server's watch and not a poll interval.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from capi_llm.errors import CapiLlmError, Interrupted, TimedOut, Unavailable


class State(enum.StrEnum):
    """How far a thing is."""

    READY = "Ready"
    PENDING = "Pending"
    FAILED = "Failed"


@dataclass(frozen=True)
class Status:
    """What a probe saw.

    ``message`` is one line for a person; ``cause`` and ``fix`` are filled where they are known.
    """

    state: State
    message: str = ""
    cause: str = ""
    fix: str = ""

    @property
    def ready(self) -> bool:
        return self.state is State.READY

    @property
    def failed(self) -> bool:
        return self.state is State.FAILED


def ready(message: str = "") -> Status:
    return Status(State.READY, message)


def pending(message: str, *, cause: str = "", fix: str = "") -> Status:
    return Status(State.PENDING, message, cause, fix)


def failed(message: str, *, cause: str = "", fix: str = "") -> Status:
    return Status(State.FAILED, message, cause, fix)


Probe = Callable[[], Status]
Report = Callable[[Status], None]


class Wakeup:
    """A bell that many may ring and many may wait for; a ring between two waits is not lost."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    def ring(self) -> None:
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def rings(self) -> int:
        """How often it has rung; pass it to :meth:`wait`."""
        with self._condition:
            return self._rings

    def wait(self, since: int, timeout: float) -> None:
        """Return when it has rung after ``since``, or after ``timeout`` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings != since, timeout)


class Cancel:
    """Says to everything under way that the user wants to stop. Rings ``bells`` when set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._bells: list[Wakeup] = []

    def attach(self, bell: Wakeup) -> None:
        self._bells.append(bell)

    def detach(self, bell: Wakeup) -> None:
        self._bells.remove(bell)

    def set(self) -> None:
        self._event.set()
        for bell in list(self._bells):
            bell.ring()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as the user asks to stop."""
        self._event.wait(seconds)

    def check(self) -> None:
        """Raise :class:`Interrupted` if the user asked to stop."""
        if self._event.is_set():
            raise Interrupted("interrupted", fix="run the same command again; it goes on where it stopped")


@dataclass
class Waiter:
    """How to wait: the bell, the user's wish to stop, and who hears what is waited for.

    ``interval`` (seconds) bounds the time between two looks where no bell rings, ``rest`` is
    the least time between two looks where it rings all the time, for probes that look at much.
    """

    wakeup: Wakeup = field(default_factory=Wakeup)
    cancel: Cancel = field(default_factory=Cancel)
    report: Report = lambda status: None
    interval: float = 1.0
    rest: float = 0.0


def look(probe: Probe) -> Status:
    """Call ``probe`` once; a server that can not answer just now is PENDING with that message."""
    try:
        return probe()
    except Unavailable as error:
        return pending(error.brief)


def until(probe: Probe, *, what: str, timeout: float, waiter: Waiter | None = None) -> Status:
    """Wait until ``probe`` is READY and return its status.

    ``timeout`` is in seconds. Raises :class:`TimedOut` with the last status at the
    deadline, :class:`CapiLlmError` if the probe says FAILED, :class:`Interrupted` if the
    user stops. Errors other than Unavailable (401 and 403 among them) are raised as they are.
    """
    waiter = waiter or Waiter()
    started = time.monotonic()
    last: Status | None = None
    waiter.cancel.attach(waiter.wakeup)
    try:
        while True:
            rings = waiter.wakeup.rings()
            waiter.cancel.check()
            status = look(probe)
            if status != last:
                waiter.report(status)
                last = status
            if status.ready:
                return status
            if status.failed:
                raise CapiLlmError(f"{what} failed", why=_why(status), fix=status.fix)
            left = started + timeout - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"{what} is not ready after {timeout:.0f} s",
                    why=_why(status),
                    fix=status.fix
                    or "run the same command again to go on waiting, or give a longer --timeout",
                )
            waiter.cancel.sleep(min(left, waiter.rest))
            waiter.wakeup.wait(rings, max(0.0, min(left, waiter.interval) - waiter.rest))
    finally:
        waiter.cancel.detach(waiter.wakeup)


def _why(status: Status) -> str:
    return f"{status.message}; {status.cause}" if status.cause else status.message
