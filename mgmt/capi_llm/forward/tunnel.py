"""One connection to one port of one pod: a WebSocket to the API server, which asks the kubelet.

Subprotocol ``v4.channel.k8s.io``: the first byte of a message is its channel, 0 for data and 1 for
what went wrong; each begins with two bytes that repeat the port
(https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/kubelet/portforward, and
https://github.com/kubernetes/kubernetes/blob/v1.33.0/staging/src/k8s.io/apimachinery/pkg/util/httpstream/wsstream).
Every TCP connection has a WebSocket of its own, so that a slow one holds up none of the others.

The subprotocol can not say "I have sent all" in one direction only: who closes, closes both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from capi_llm import versions
from capi_llm.errors import ApiError, NotFound
from capi_llm.forward.routes import Endpoint
from capi_llm.kube import failures
from capi_llm.kube.credentials import Login
from capi_llm.kube.resources import PODS

PROTOCOL = Subprotocol("v4.channel.k8s.io")
OPEN_SECONDS = 15.0
"""Longest wait for a connection; a kubelet that does not answer must not hold up the next pod."""

_DATA, _ERROR = 0, 1
_LONGEST_MESSAGE = 32 * 1024 * 1024
_QUEUE = 16
"""Messages (32 KiB each from a kubelet) that are kept for a slow reader before reading stops."""
_WRITE_LIMIT = 256 * 1024

_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)  # every failure is told by whoever gets the exception


class Broken(Exception):
    """The connection ended in the middle. ``refused``: before anything reached the pod."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Tunnel:
    """An open connection to ``endpoint``. Made by :meth:`open`."""

    def __init__(self, connection: ClientConnection, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = connection
        self._heard = time.monotonic()
        self._silent_channels = {_DATA, _ERROR}
        self._asked: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, login: Login, endpoint: Endpoint) -> Tunnel:
        """Connect. Raises from the tree in :mod:`capi_llm.errors` as the Kubernetes API does."""
        path = f"{PODS.path(endpoint.namespace, endpoint.pod)}/portforward?ports={endpoint.port}"
        error: ApiError | NotFound
        what, on = "can not forward to a pod", str(endpoint)
        try:
            connection = await connect(
                # https becomes wss, http ws.
                f"ws{login.server.removeprefix('http')}{path}",
                subprotocols=[PROTOCOL],
                additional_headers=dict(login.headers),
                user_agent_header=f"capi-llm/{versions.CLI}",
                compression=None,
                proxy=login.proxy or None,
                open_timeout=OPEN_SECONDS,
                close_timeout=1,
                ping_interval=None,  # see keep_alive
                max_size=_LONGEST_MESSAGE,
                max_queue=_QUEUE,
                write_limit=_WRITE_LIMIT,
                process_exception=_as_it_is,
                logger=_quiet,
                **_tls(login),
            )
        except InvalidStatus as refusal:
            answer = refusal.response
            error = failures.from_response(
                answer.status_code, answer.headers, bytes(answer.body or b""), what=what, on=on
            )
            raise error from refusal
        except (OSError, TimeoutError, WebSocketException) as broken:
            raise failures.from_connection(broken, server=login.server, what=what, on=on) from broken
        _notice_a_dead_line(connection.transport.get_extra_info("socket"))
        return cls(connection, endpoint)

    async def receive(self) -> memoryview | None:
        """Bytes from the pod, None at their end. Raises Broken."""
        while True:
            try:
                message = await self._connection.recv(decode=False)
            except ConnectionClosedOK:
                return None
            except ConnectionClosed as error:
                raise Broken(f"the connection to {self.endpoint} broke ({_reason(error)})") from error
            self._heard = time.monotonic()
            if not message:
                continue
            if message[0] == _DATA and self._begun(_DATA):
                return memoryview(message)[1:]
            if message[0] == _ERROR and self._begun(_ERROR):
                text = message[1:].decode(errors="replace").strip()
                raise Broken(f"{self.endpoint}: {text}", refused="connection refused" in text)

    def _begun(self, channel: int) -> bool:
        """False for the first message of a channel, which repeats the port."""
        if channel in self._silent_channels:
            self._silent_channels.remove(channel)
            return False
        return True

    async def send(self, data: bytes) -> None:
        """Bytes to the pod; returns when most of them are on their way. Raises Broken."""
        try:
            await self._connection.send(b"\0" + data)
        except ConnectionClosed as error:
            raise Broken(f"the connection to {self.endpoint} broke ({_reason(error)})") from error

    async def keep_alive(self) -> None:
        """Ask for a sign of life, and keep whatever counts idle time on the way from ending the connection.

        The ping is answered by the kubelet; the empty message is what its own idle limit counts.
        """
        with contextlib.suppress(ConnectionClosed):
            answer = await self._connection.ping()
            self._asked = asyncio.ensure_future(self._note(answer))
            await self._connection.send(b"\0")

    async def _note(self, answer: Awaitable[float]) -> None:
        with contextlib.suppress(ConnectionClosed):
            await answer
            self._heard = time.monotonic()

    @property
    def silent(self) -> float:
        """Seconds since anything came."""
        return time.monotonic() - self._heard

    async def close(self) -> None:
        """End the connection, without waiting long for the other side."""
        with contextlib.suppress(Exception):
            await self._connection.close()


def _as_it_is(error: Exception) -> Exception:
    return error


def _tls(login: Login) -> dict[str, Any]:
    if not login.server.startswith("https:"):
        return {}
    return {"ssl": login.tls} | ({"server_hostname": login.server_name} if login.server_name else {})


def _reason(error: ConnectionClosed) -> str:
    closed = error.rcvd
    return closed.reason or f"code {closed.code}" if closed else "without a word"


def _notice_a_dead_line(line: socket.socket | None) -> None:
    """Have the system notice an API server's machine that is gone, which says nothing any more."""
    if line is None:
        return  # it was closed again at once
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4),
                        ("TCP_USER_TIMEOUT", 45_000)):  # fmt: skip
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
