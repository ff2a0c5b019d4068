"""A local web server that does what real ones do on bad days.

Each path has a queue of :class:`Act`; the last one stays. All requests are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Act:
    """How to answer one request. ``at`` is the number of body bytes after which ``then`` happens."""

    body: bytes = b""
    status: int = 200
    etag: str = ""
    modified: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    at: int | None = None
    then: str = ""  # "close", "reset", "stall"
    ranges: str = "honest"  # "honest", "none", "ignore-if-range", "wrong"
    length: bool = True
    gate: threading.Event | None = None


@dataclass
class Request:
    path: str
    headers: dict[str, str]


class Hostile:
    """The server: :meth:`on` says how a path answers, ``requests`` what was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._acts: dict[str, list[Act]] = {}
        self._lock = threading.Lock()
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients hang up on purpose here

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.scheme = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *acts: Act) -> str:
        self._acts[path] = list(acts)
        return self.url(path)

    def asked(self, path: str) -> list[dict[str, str]]:
        return [request.headers for request in self.requests if request.path == path]

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append(Request(handler.path, dict(handler.headers.items())))
            acts = self._acts.get(handler.path, [Act(status=404)])
            act = acts.pop(0) if len(acts) > 1 else acts[0]
        if act.gate is not None:
            act.gate.wait(30)
        body, status, start = act.body, act.status, 0
        wish = handler.headers.get("Range", "")
        mark = handler.headers.get("If-Range", "")
        if status == 200 and wish and act.ranges != "none":
            same = mark in {act.etag, act.modified} or act.ranges == "ignore-if-range"
            if same:
                start = int(wish.removeprefix("bytes=").split("-")[0])
                status = 206 if start < len(body) else 416
        handler.send_response(status)
        if status == 206:
            told = start + 1 if act.ranges == "wrong" else start
            handler.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        if act.etag:
            handler.send_header("ETag", act.etag)
        if act.modified:
            handler.send_header("Last-Modified", act.modified)
        for name, value in act.headers.items():
            handler.send_header(name, value)
        rest = body[start:] if status != 416 else b""
        if act.length:
            handler.send_header("Content-Length", str(len(rest)))
        else:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        sent = rest if act.at is None else rest[: act.at]
        handler.wfile.write(sent)
        handler.wfile.flush()
        if act.then:
            handler.close_connection = True
        if act.then == "stall":
            self.over.wait(30)
        elif act.then == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def speak_tls(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https"


@contextlib.contextmanager
def hostile(prepare: Callable[[Hostile], None] = lambda server: None) -> Iterator[Hostile]:
    server = Hostile()
    prepare(server)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
