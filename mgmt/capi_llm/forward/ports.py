"""Local ports: taken before anything is promised, and named with their holder where they are busy."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from capi_llm.errors import BadInput, PrerequisiteMissing
from capi_llm.fields import addresses
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


def peer_is_open(line: socket.socket) -> bool | None:
    """Whether the program at the other end still has its socket; None where that can not be seen.

    Who has closed a connection and who has only sent all look the same on the wire. On Linux the
    table of sockets tells them apart, for programs on this machine: a closed one has no inode.
    """
    try:
        peer, own = line.getpeername(), line.getsockname()
        if line.family != socket.AF_INET or not addresses.loopback(peer[0]):
            return None
        table = Path("/proc/net/tcp").read_text().splitlines()
    except OSError:
        return None
    wanted = [_entry(*peer), _entry(*own)]
    inode = next((words[9] for row in table if (words := row.split())[1:3] == wanted), "0")
    return inode != "0"


def _entry(address: str, port: int) -> str:
    """As in /proc/net/tcp: the address as a number of this machine's byte order, and the port, in hex."""
    (number,) = struct.unpack("=I", socket.inet_aton(address))
    return f"{number:08X}:{port:04X}"


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
