"""Trying again: how often, after which pause, and when it is no use."""

from __future__ import annotations

from collections.abc import Callable

import tenacity

from capi_llm.errors import FetchFailed
from capi_llm.http.limits import Limits
from capi_llm.http.transport import TryAgain
from capi_llm.waiting import Cancel, Wakeup


def persist(
    attempt: Callable[[], str], url: str, limits: Limits, cancel: Cancel | None, gained: Callable[[], int]
) -> str:
    """Call ``attempt`` until it succeeds, or fails ``limits.attempts`` times in a row without new bytes."""
    patience = _Patience(limits, gained)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TryAgain),
        stop=patience.is_over,
        wait=patience.pause,
        sleep=lambda seconds: _sleep(seconds, cancel),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except TryAgain as error:
        why = f"{error.why} ({patience.all_failures} attempts)"
        raise FetchFailed("the download failed", on=url, why=why) from error


class _Patience:
    """Counts failures; bytes that no attempt had before start the count anew."""

    def __init__(self, limits: Limits, gained: Callable[[], int]) -> None:
        self._limits = limits
        self._gained = gained
        self._best = gained()
        self._failures = 0
        self.all_failures = 0

    def is_over(self, state: tenacity.RetryCallState) -> bool:
        self.all_failures += 1
        gained = self._gained()
        if gained > self._best:
            self._best, self._failures = gained, 0
        self._failures += 1
        return self._failures >= self._limits.attempts

    def pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.after if isinstance(error, TryAgain) and error.after is not None else 0.0
        return max(asked, self._limits.pause * 2.0 ** (self._failures - 1))


def _sleep(seconds: float, cancel: Cancel | None) -> None:
    bell = Wakeup()
    if cancel is not None:
        cancel.attach(bell)
    try:
        if cancel is not None:
            cancel.check()
        bell.wait(0, seconds)
        if cancel is not None:
            cancel.check()
    finally:
        if cancel is not None:
            cancel.detach(bell)
