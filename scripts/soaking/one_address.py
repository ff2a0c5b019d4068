"""One address before several servers, as a Service with readiness probes is: every connection to a ready one.

A server that is taken out gets no new connection; those that are under way go on, as they do behind
kube-proxy until the pod ends.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator


class Address:
    """``port`` of loopback; ``backends`` are the ports that connections go to, in turn."""

    def __init__(self) -> None:
        self.backends: tuple[int, ...] = ()
        self._turn = itertools.count()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._server.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        backends = self.backends
        with client, contextlib.suppress(OSError):
            port = backends[next(self._turn) % len(backends)]
            with socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()

    def close(self) -> None:
        self._server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def address() -> Iterator[Address]:
    found = Address()
    threading.Thread(target=found.serve, daemon=True).start()
    try:
        yield found
    finally:
        found.close()
