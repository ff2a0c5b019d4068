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
        file = path.open("rb")
    except OSError as error:
        raise NotFound("there is no such log yet", on=str(path), why=error.strerror or "") from error
    try:
        last = deque(file, maxlen=tail)
        # A line that is still being written is shown when it is complete, if anybody waits for that.
        rest = last.pop() if follow and last and not last[-1].endswith(b"\n") else b""
        yield from map(_text, last)
        while follow:
            # Asked before reading, so that the end of a rotated file is read too.
            rotated = _rotated(file.fileno(), path)
            for line in file:
                rest += line
                if rest.endswith(b"\n"):
                    yield _text(rest)
                    rest = b""
            if rotated:
                fresh = path.open("rb")
                file.close()
                file = fresh
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        file.close()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\n")


def _rotated(handle: int, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False  # between two files
