"""Health checks against real servers, healthy and not."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from capi_llm.sandbox import health as health_module
from capi_llm.sandbox import pki
from capi_llm.sandbox.health import health
from capi_llm.sandbox.layout import Layout
from capi_llm.waiting import State, Status


class Handler(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/healthz": (200, b"ok"),
        "/readyz": (500, b"[+]ping ok\n[-]poststarthook failed\nreadyz check failed\n"),
        "/empty": (503, b""),
        "/binary": (503, b"\xff\xfe" * 1000),
    }

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # handshakes that clients break off


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with QuietServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


Ask = Callable[..., Status]


@pytest.fixture
def made(here: Layout) -> Layout:
    pki.ensure(here)
    return here


@pytest.fixture
def ask(made: Layout) -> Ask:
    def ask(url: str, authority: str = "ca", client: str = "admin") -> Status:
        return health(
            url,
            authority=made.certificate(authority),
            certificate=made.certificate(client),
            key=made.key(client),
        )

    return ask


@pytest.fixture
def plain() -> Iterator[str]:
    with serving() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secure(made: Layout) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate("serving"), made.key("serving"))
    context.load_verify_locations(made.certificate("ca"))
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as port:
        yield f"https://127.0.0.1:{port}"


def test_what_answers_200_is_ready(ask: Ask, plain: str, secure: str) -> None:
    assert ask(f"{plain}/healthz").ready
    assert ask(f"{secure}/healthz").ready


def test_what_answers_otherwise_is_waited_for_with_its_own_words(ask: Ask, plain: str, secure: str) -> None:
    for url in (plain, secure):
        status = ask(f"{url}/readyz")
        assert status.state is State.PENDING
        assert status.message == f"{url.partition('://')[2]} answers 500: readyz check failed"
    assert ask(f"{plain}/empty").message.endswith("answers 503: nothing")
    assert len(ask(f"{plain}/binary").message) < 500


def test_a_closed_port_is_waited_for(ask: Ask) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for scheme in ("http", "https"):
            status = ask(f"{scheme}://127.0.0.1:{port}/healthz")
            assert status.state is State.PENDING
            assert f"not answering on 127.0.0.1:{port}" in status.message


def test_a_server_that_never_answers_is_not_waited_for_long(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            status = ask(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/healthz")
            assert status.state is State.PENDING
            assert "timed out" in status.message


def test_a_server_that_speaks_something_else_is_waited_for(ask: Ask, plain: str) -> None:
    assert ask(plain.replace("http", "https", 1) + "/healthz").state is State.PENDING
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def talk() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        status = ask(f"http://127.0.0.1:{odd.getsockname()[1]}/healthz")
        thread.join()
    assert status.state is State.PENDING


def test_neither_side_accepts_another_authority(ask: Ask, secure: str) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in ask(f"{secure}/healthz", authority="etcd-ca").message
    assert ask(f"{secure}/healthz", client="etcd-client").state is State.PENDING


def test_certificates_that_are_not_there_are_no_reason_to_fail(ask: Ask, secure: str) -> None:
    assert ask(f"{secure}/healthz", client="nobody").state is State.PENDING
    assert ask(f"{secure}/healthz", authority="nobody").state is State.PENDING
