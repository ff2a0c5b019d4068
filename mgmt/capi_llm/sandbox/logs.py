"""Reads the log of a part, and follows it through rotation."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from capi_llm.errors import NotFound

_POLL_SECONDS = 0.3


def lines(path: Path, *, tail: int, follow: bool) -> Iterator[str]:
    """The last ``tail`` lines of ``path``; with ``follow``, every line after them, for ever."""
    try:
        file = path.open(errors="replace")
    except OSError as error:
        raise NotFound("there is no such log yet", on=str(path), why=error.strerror or "") from error
    try:
        yield from (line.rstrip("\n") for line in deque(file, maxlen=tail))
        while follow:
            for line in file:
                yield line.rstrip("\n")
            time.sleep(_POLL_SECONDS)
            if _rotated(file.fileno(), path):
                file.close()
                file = path.open(errors="replace")
    finally:
        file.close()


def _rotated(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino != path.stat().st_ino
    except OSError:
        return False
