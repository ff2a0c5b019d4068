"""Another Host header for every request of a connection, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.errors import BadInput
from capi_llm.forward.heads import LONGEST, HostRewriter

HOST = "ollama.llm.svc.cluster.local"


def rewritten(text: bytes, size: int = 1 << 20) -> bytes:
    rewriter = HostRewriter(HOST)
    return b"".join(rewriter.feed(text[at : at + size]) for at in range(0, len(text), size))


def request(target: str, *fields: str, body: bytes = b"", host: str = "127.0.0.1:11434") -> bytes:
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


LENGTH = request("/a", "Content-Length: 11", body=b"Host: x\r\n\r\n")
CHUNKED = request(
    "/b", "Transfer-Encoding: chunked", "Content-Length: 3",
    body=b"5;x=y\r\nGET /\r\n" b"10\r\nHost: evil\r\n\r\n00\r\n" b"0\r\nTrailer: t\r\n\r\n",
)  # fmt: skip
PLAIN = request("/c", "Accept: */*")
ALL = LENGTH + CHUNKED + PLAIN + LENGTH


def expected(text: bytes) -> bytes:
    return text.replace(b"Host: 127.0.0.1:11434", b"Host: " + HOST.encode())


def test_bodies_pass_untouched() -> None:
    assert rewritten(ALL) == expected(ALL)


@given(st.lists(st.sampled_from([LENGTH, CHUNKED, PLAIN]), max_size=5), st.integers(1, 60))
def test_pieces_of_any_size(requests: list[bytes], size: int) -> None:
    text = b"".join(requests)
    assert rewritten(text, size) == expected(text)


def test_a_head_is_sent_when_it_is_whole_and_a_body_as_it_comes() -> None:
    rewriter = HostRewriter(HOST)
    assert rewriter.feed(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-") == b""
    assert rewriter.feed(b"Length: 10\r\n\r\nabc").endswith(b"\r\n\r\nabc")
    assert rewriter.feed(b"defg") == b"defg"
    assert rewriter.feed(b"hijGET / HTTP/1.1\r\n\r\n").startswith(
        b"hijGET / HTTP/1.1\r\nHost: " + HOST.encode()
    )


def test_one_host_whatever_came() -> None:
    text = b"GET / HTTP/1.1\r\nHOST: a\r\nX: 1\r\nhost:b\r\n\r\n"
    assert rewritten(text) == f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX: 1\r\n\r\n".encode()


def test_after_an_upgrade_nothing_is_looked_at() -> None:
    text = request("/ws", "Connection: keep-alive, Upgrade", "Upgrade: websocket")
    frames = b"\x81\x05Host: x\r\n\r\n" * 3
    assert rewritten(text + frames, 7) == expected(text) + frames


def test_an_offer_of_http2_stays_http1() -> None:
    text = request("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c") + PLAIN
    assert rewritten(text) == expected(text)


@pytest.mark.parametrize(
    "text",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\n\r\n\r\n",
        b"hello\nworld\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * LONGEST,
    ],
)
def test_what_is_not_http1_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput):
        rewritten(text, 4096)
