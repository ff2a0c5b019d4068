"""Answers the sandbox's health check: ``/readyz`` on loopback, over plain HTTP like the managers'."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable


class Readiness:
    """A server on ``address`` (``127.0.0.1:PORT``) that says 200 where ``ready`` does."""

    def __init__(self, address: str, ready: Callable[[], bool]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                good = ready() and self.path in ("/readyz", "/healthz")
                body = b"ok\n" if good else b"not ready: the API server's objects are not known yet\n"
                self.send_response(200 if good else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        host, _, port = address.rpartition(":")
        self._server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Readiness:
        threading.Thread(target=self._server.serve_forever, name="readiness", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
