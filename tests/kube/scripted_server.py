"""A server that answers with bytes from a script, for what a real API server can not be made to do."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from typing import Any

from control_plane import Pki


class ScriptedServer:
    """Answers each HTTPS connection with the next bytes of its script; the last ones repeat."""

    def __init__(self, pki: Pki, answers: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki.folder / "server.crt", pki.folder / "server.key")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with (
                contextlib.suppress(OSError),
                self._context.wrap_socket(plain, server_side=True) as connection,
            ):
                connection.settimeout(10)
                request = _read(connection)
                if request:
                    self.requests.append(request)
                    index = min(len(self.requests), len(self._answers)) - 1
                    connection.sendall(self._answers[index])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def _read(connection: ssl.SSLSocket) -> bytes:
    """One request with its body: closing before it is read would reset the connection."""
    request = b""
    while True:
        head, end, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            return request
        piece = connection.recv(65536)
        if not piece:
            return b""
        request += piece


def reply(status: int, body: Any = None, **headers: str) -> bytes:
    """One HTTP answer that ends its connection."""
    data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    lines = [f"HTTP/1.1 {status} X", "Connection: close", f"Content-Length: {len(data)}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data
