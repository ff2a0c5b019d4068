"""Gives every request of a connection another Host header; everything else passes as it is.

What a client sends on one connection is a row of requests, each a head and a body whose length the
head says (RFC 9112, sections 6 and 7): that is all that has to be understood to find the next head.
After a request to switch protocols (a WebSocket) the rest is not HTTP any more and passes untouched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from capi_llm.errors import BadInput

LONGEST = 256 * 1024
"""Bytes of one head; servers take 8 to 64 KiB."""

_END = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_REQUEST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/1\.[0-9]")


class HostRewriter:
    """Takes what a client sends piece by piece and returns what the server is to get."""

    def __init__(self, host: str) -> None:
        self._host = host.encode()
        self._rest = b""
        self._body = 0
        """Bytes that pass before the next line or head is looked for."""
        self._chunked = False
        self._trailers = False
        self._raw = False

    def feed(self, data: bytes) -> bytes:
        """What to send on for ``data``. Raises BadInput where it is not HTTP/1."""
        if self._raw:
            return data
        self._rest += data
        return b"".join(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        while self._rest:
            if self._raw:
                piece, self._rest = self._rest, b""
            elif self._body:
                piece, self._rest = self._rest[: self._body], self._rest[self._body :]
                self._body -= len(piece)
            elif self._chunked:
                piece = self._chunk_line()
            else:
                piece = self._head()
            if not piece:
                if len(self._rest) > LONGEST:
                    raise BadInput("a request's head is too long", why=f"more than {LONGEST} bytes")
                return
            yield piece

    def _head(self) -> bytes:
        start = len(self._rest) - len(self._rest.lstrip(b"\r\n"))  # empty lines before a request are allowed
        match = _END.search(self._rest, start)
        if match is None:
            first = self._rest[start:].split(b"\n", 1)
            if len(first) > 1 and not _REQUEST.fullmatch(first[0].rstrip(b"\r")):
                raise self._not_http()
            return b""
        head, self._rest = self._rest[start : match.end()], self._rest[match.end() :]
        lines = head.splitlines()
        if not _REQUEST.fullmatch(lines[0]):
            raise self._not_http()
        fields = [line.partition(b":") for line in lines[1:] if line]
        named = {name.strip().lower(): value.strip() for name, _, value in fields}
        self._expect_body(named)
        kept = [line for line in lines[1:] if line and not line.lower().startswith(b"host:")]
        return b"\r\n".join([lines[0], b"Host: " + self._host, *kept, b"", b""])

    def _expect_body(self, fields: dict[bytes, bytes]) -> None:
        tokens = [word.strip().lower() for word in fields.get(b"connection", b"").split(b",")]
        # h2c is an upgrade that proxies do not take: the connection stays HTTP/1.
        if b"upgrade" in tokens and fields.get(b"upgrade", b"").lower() not in (b"", b"h2c"):
            self._raw = True
        elif b"transfer-encoding" in fields:
            self._chunked = True
        elif length := fields.get(b"content-length"):
            if not length.isdigit():
                raise BadInput("a request says no length of its body", why=f"Content-Length: {length[:40]!r}")
            self._body = int(length)

    def _chunk_line(self) -> bytes:
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return b""
        self._rest = rest
        text = line.rstrip(b"\r")
        if self._trailers:
            if not text:
                self._chunked = self._trailers = False
        elif match := _CHUNK.fullmatch(text):
            size = int(match[1], 16)
            self._trailers = size == 0
            self._body = size + 2 if size else 0  # with the line end behind it
        else:
            raise BadInput("a request's body is broken", why="a chunk has no size")
        return line + end

    def _not_http(self) -> BadInput:
        return BadInput(
            "what came is not an HTTP/1 request",
            why="a Knative Service is reached by the name in a request's Host header",
        )
