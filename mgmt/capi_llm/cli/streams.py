"""stdout and stderr where they can not be written: a full disk, or a reader that has gone.

What goes to stdout was asked for: where it can not be written the command has failed. What
goes to stderr is about the work, and the work goes on without it.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import NoReturn

from capi_llm.errors import CapiLlmError


def guard() -> None:
    """Put both streams under guard. Where the locale has no ✓, a ? is shown."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Data(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Messages(sys.stderr)


def _end_quietly() -> NoReturn:
    """End as every program does that writes to a pipe without a reader (`| head`): by SIGPIPE."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # where it is blocked


class _Guarded(io.TextIOWrapper):
    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._name = str(stream.name)
        super().__init__(
            stream.detach(),
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        if text == "":
            return 0  # click writes nothing to see what a stream is, and swallows an error of that
        try:
            return super().write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        # What is left in the buffer would fail again when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if error.errno == errno.EPIPE:
            _end_quietly()


class _Data(_Guarded):
    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        raise CapiLlmError(
            "the output can not be written",
            on="stdout",
            why=error.strerror or str(error),
            fix="make room where stdout leads to, or name another file; what the command did is kept",
        ) from error


class _Messages(_Guarded):
    pass
