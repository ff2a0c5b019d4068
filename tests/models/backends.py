"""A small OpenAI-compatible server on loopback that behaves well or badly, by the first word of the path.

``http://127.0.0.1:PORT/KIND`` is one server of a kind; see :data:`KINDS`.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODEL = "small"
KEY = "sk-of-this-test"
WORDS = ("One ", "two ", "three ", "four ", "five")

KINDS = (
    "good", "plain", "thinking", "silent", "silent-later", "dripping", "empty", "empty-stream", "error",
    "error-later", "cut", "endless", "no-json", "locked", "down-behind", "no-models", "other-host",
)  # fmt: skip


@dataclass
class Seen:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


class Backends:
    """The server; ``seen`` has what was asked."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # as real ones do: each token leaves at once

            def do_GET(self) -> None:
                outer.get(self)

            def do_POST(self) -> None:
                outer.post(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients hang up on purpose here

        self.server = Server(("127.0.0.1", 0), Handler)

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{kind}"

    def asked(self, kind: str) -> list[Seen]:
        return [item for item in self.seen if item.path.startswith(f"/{kind}/")]

    def get(self, to: http.server.BaseHTTPRequestHandler) -> None:
        kind, path = self._asked(to)
        if kind == "other-host" and to.headers["Host"] != "gateway.local":
            _send(to, 404, b"default backend - 404")
        elif path == "/health/liveliness":
            if kind == "plain":
                _send(to, 404, b"{}")
            elif kind == "no-json":
                _send(to, 502, b"<html>Bad \x1b[31mgateway</html>")
            else:
                _send(to, 200, b'"I\'m alive!"')
        elif kind == "locked" and to.headers.get("Authorization") != f"Bearer {KEY}":
            said = f"Authentication Error, received {to.headers.get('Authorization')}"
            _send(to, 401, json.dumps({"error": {"message": said}}).encode())
        else:
            there = [] if kind == "no-models" else [{"id": "all/*"}, {"id": MODEL}]
            _send(to, 200, json.dumps({"data": there}).encode())

    def post(self, to: http.server.BaseHTTPRequestHandler) -> None:
        length = int(to.headers["Content-Length"])
        body = json.loads(to.rfile.read(length))
        kind, _ = self._asked(to, body)
        if kind == "silent" or (kind == "silent-later" and body.get("stream")):
            self.over.wait(60)
        elif kind == "down-behind":
            _send(to, 500, json.dumps({"error": {"message": f"no route to {KEY}"}}).encode())
        elif kind == "error":
            _send(to, 200, b'{"error": {"message": "CUDA out of memory", "code": 500}}')
        elif body.get("stream"):
            self._stream(to, kind)
        else:
            text = "" if kind == "empty" else "One two three"
            message = {"role": "assistant", "content": text}
            if kind == "thinking":
                message = {"role": "assistant", "content": None, "reasoning_content": "Hm."}
            usage = {"prompt_tokens": 5, "completion_tokens": 0 if kind == "empty" else 3, "total_tokens": 8}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            _send(to, 200, json.dumps(_whole("chat.completion", [choice]) | {"usage": usage}).encode())

    def _stream(self, to: http.server.BaseHTTPRequestHandler, kind: str) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "text/event-stream")
        to.send_header("Connection", "close")
        to.send_header("x-litellm-model-id", f"id-of-{kind}")
        to.send_header("x-litellm-model-api-base", "http://user:secret@10.0.0.1:8000/v1")
        to.end_headers()
        if kind == "dripping":
            while not self.over.wait(0.05):
                to.wfile.write(b": still here\n\n")
                to.wfile.flush()
        name = "reasoning_content" if kind == "thinking" else "content"
        words = () if kind in ("empty", "empty-stream") else WORDS
        for number, word in enumerate(words):
            if kind == "error-later" and number == 2:
                _event(to, {"error": {"message": "the worker died"}})
            if kind == "cut" and number == 3:
                return
            choice = {"index": 0, "delta": {"role": "assistant", name: word}, "finish_reason": None}
            _event(to, _whole("chat.completion.chunk", [choice]))
            self.over.wait(10 if kind == "endless" and number else 0.01)
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        _event(to, _whole("chat.completion.chunk", [last]))
        if kind != "empty-stream":
            usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
            _event(to, _whole("chat.completion.chunk", []) | {"usage": usage})
        to.wfile.write(b"data: [DONE]\n\n")

    def _asked(
        self, to: http.server.BaseHTTPRequestHandler, body: dict[str, Any] | None = None
    ) -> tuple[str, str]:
        self.seen.append(Seen(to.path, dict(to.headers), body or {}))
        kind, _, rest = to.path.removeprefix("/").partition("/")
        assert kind in KINDS
        return kind, f"/{rest}"


def _whole(what: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "1", "object": what, "created": 1, "model": MODEL, "choices": choices}


def _event(to: http.server.BaseHTTPRequestHandler, found: dict[str, Any]) -> None:
    to.wfile.write(f"data: {json.dumps(found)}\n\n".encode())
    to.wfile.flush()


def _send(to: http.server.BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    to.send_response(status)
    to.send_header("Content-Type", "application/json")
    to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    to.wfile.write(body)


@contextlib.contextmanager
def serving() -> Iterator[Backends]:
    found = Backends()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        found.server.shutdown()
        thread.join()
        found.server.server_close()
