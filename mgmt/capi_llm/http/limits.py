"""How patient a download is, and the failures that callers tell apart. Imports no httpx."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.errors import FetchFailed


class Unreachable(FetchFailed):
    """No connection to the server came about at all; another file from it will not come either."""


class Silent(FetchFailed):
    """The server took the request and did not answer, or not to the end, in the time it had."""


class BrokenOff(FetchFailed):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Limits:
    """How patient to be: seconds to connect, seconds without a byte, failures in a row, first pause."""

    connect: float = 3.0
    stall: float = 30.0
    attempts: int = 4
    pause: float = 0.5


PATIENT = Limits()
