"""Talking with a web API: requests on one connection, answers whole or as they come.

For answers that are waited for by a person or a measurement: nothing is asked twice, no redirect is
followed, and every request has a time in which all of its answer has to be there.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from capi_llm import versions
from capi_llm.errors import BadInput, FetchFailed
from capi_llm.fields.addresses import loopback
from capi_llm.http.limits import BrokenOff, Silent, Unreachable
from capi_llm.http.transport import reason

_CONNECT_SECONDS = 10.0
_BODY_LIMIT = 4 << 20


@dataclass(frozen=True)
class Reply:
    """An answer that is here as a whole; names of ``headers`` are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Streamed:
    """An answer that comes bit by bit."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.reason = response.reason_phrase
        self.headers: Mapping[str, str] = dict(response.headers)

    def lines(self) -> Iterator[str]:
        """Line by line, each as soon as it is here."""
        return self._response.iter_lines()

    def rest(self) -> Reply:
        """All that still comes, at most 4 MiB."""
        body = b""
        for chunk in self._response.iter_bytes():
            body += chunk
            if len(body) > _BODY_LIMIT:
                raise FetchFailed("the answer is too long", on=str(self._response.url), why="more than 4 MiB")
        return Reply(self.status, self.reason, self.headers, body)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The authorities that are trusted, loaded once."""
    return httpx.create_ssl_context()


class Talk:
    """Requests below ``url``, one at a time. ``host`` is the Host header, where it is another than the URL's.

    This machine itself is never asked through a proxy.
    """

    def __init__(self, url: str, *, host: str = "") -> None:
        self._url = url.rstrip("/")
        self._host = host
        self._socket: socket.socket | None = None
        self._late = False
        self._over = False
        parts = urlsplit(url)
        self._name = parts.netloc
        try:
            self._client = httpx.Client(
                headers={"User-Agent": f"capi-llm/{versions.CLI}", "Accept-Encoding": "identity"},
                trust_env=not loopback(parts.hostname or ""),
                # Without TLS nothing is verified; certificates take longer to load than to ask.
                verify=_certificates() if parts.scheme == "https" else False,
            )
        except (ValueError, ImportError, OSError) as error:
            raise BadInput(
                "the settings for the web in the environment can not be used",
                why=str(error),
                fix="look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
            ) from error

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        within: float,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        """The whole answer, within that many seconds. Raises Unreachable, Silent, BrokenOff, FetchFailed."""
        with self.stream(method, path, within=within, headers=headers, body=body) as answer:
            return answer.rest()

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        within: float,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Iterator[Streamed]:
        """The answer as it comes. ``body`` is sent as JSON. Raises as :meth:`ask`, also in the block."""
        url = self._url + path
        extensions: dict[str, Any] = {"trace": self._trace}
        more = dict(headers or {})
        if self._host:
            more["Host"] = self._host
            extensions["sni_hostname"] = self._host.partition(":")[0]
        timeout = httpx.Timeout(within + 1, connect=min(_CONNECT_SECONDS, within))
        with (
            self._failures(url, within),
            self._deadline(within),
            self._client.stream(
                method, url, headers=more, json=body, timeout=timeout, extensions=extensions
            ) as response,
        ):
            yield Streamed(response)

    def hang_up(self) -> None:
        """End what is under way, from another thread; what is asked after that fails at once."""
        self._over = True
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        # Connecting, and TLS on top of it, return the network stream.
        result: Any = info.get("return_value")
        if hasattr(result, "get_extra_info"):
            self._socket = result.get_extra_info("socket")
            if self._over:  # it was still connecting
                self._cut()

    @contextlib.contextmanager
    def _deadline(self, within: float) -> Iterator[None]:
        # httpx limits the time between two pieces only: a server that drips would never end.
        self._late = False

        def late() -> None:
            self._late = True
            self._cut()

        timer = threading.Timer(within, late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _failures(self, url: str, within: float) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise self._unreachable(
                url, f"no connection within {min(_CONNECT_SECONDS, within):g} s"
            ) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise self._unreachable(url, reason(error)) from error
        except httpx.TransportError as error:
            if self._late or isinstance(error, httpx.TimeoutException):
                raise Silent(
                    f"{self._name} took the request and did not answer", on=url, why=f"waited {within:g} s"
                ) from error
            raise BrokenOff(f"{self._name} broke off its answer", on=url, why=reason(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise FetchFailed(f"{self._name} could not be asked", on=url, why=reason(error)) from error
        if self._late:  # a body without a length ends like this when the line is cut
            raise Silent(f"{self._name} did not come to an end", on=url, why=f"waited {within:g} s")

    def _unreachable(self, url: str, why: str) -> Unreachable:
        return Unreachable(f"{self._name} can not be reached", on=url, why=why)
