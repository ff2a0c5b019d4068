"""How patient a download is, and the one failure that callers tell apart. Imports no httpx."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.errors import FetchFailed


class Unreachable(FetchFailed):
    """No connection to the server came about at all; another file from it will not come either."""


@dataclass(frozen=True)
class Limits:
    """How patient to be: seconds to connect, seconds without a byte, failures in a row, first pause."""

    connect: float = 3.0
    stall: float = 30.0
    attempts: int = 4
    pause: float = 0.5


PATIENT = Limits()
