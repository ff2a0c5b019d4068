"""Local ports: taken before anything is promised, and named with their holder where they are busy."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from capi_llm.errors import BadInput, PrerequisiteMissing
from capi_llm.settings import listener

_AUTO = 100
"""Ports above the wanted one that are tried, before any free one is taken."""


def bind(address: str, port: int, *, auto: bool, name: str, known: Callable[[int], str]) -> socket.socket:
    """A socket that listens on ``port`` of ``address`` (0: any), or with ``auto`` on the next free one.

    ``known`` says which of our own forwards has a port. Raises PrerequisiteMissing where the port is
    busy, with its holder where that can be found; BadInput where the address is none of this machine's.
    """
    tries = [port, *range(port + 1, min(port + _AUTO, 1 << 16)), 0] if auto and port else [port]
    for number in tries:
        try:
            return _listen(address, number)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and number != tries[-1]:
                continue
            raise _explained(error, address, port, name, known) from error
    raise AssertionError("unreachable")


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(1024)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _explained(
    error: OSError, address: str, port: int, name: str, known: Callable[[int], str]
) -> BadInput | PrerequisiteMissing:
    on = f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        holder = known(port) or listener(port)
        return PrerequisiteMissing(
            f"the local port of {name} is in use",
            on=on,
            why=f"{holder} listens there" if holder else "another program listens there",
            fix=f"end it, name another port ({name}:{port + 1}), or add --auto-port",
        )
    if error.errno == errno.EACCES:
        return PrerequisiteMissing(
            f"the local port of {name} needs root", on=on, fix=f"name one from 1024 on: {name}:{port + 8000}"
        )
    return BadInput(f"nothing can listen on {address}", on=on, why=error.strerror or str(error),
                    fix="give --address an address of this machine")  # fmt: skip
