"""One HTTP connection pool to one API server: log in, send, retry, stream.

A request that was turned away is sent again for a bounded time: any request that surely
did nothing (connection refused, 429, a server that is still starting), and those that may
safely arrive twice (``idempotent``) after any other passing trouble. ``Retry-After`` is honoured.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import tenacity
import urllib3
from urllib3.exceptions import HTTPError

from capi_llm import versions
from capi_llm.errors import ApiError, NotFound, Unauthorized, Unavailable
from capi_llm.kube import failures
from capi_llm.kube.credentials import Credentials
from capi_llm.waiting import Cancel, Wakeup

POOL_SIZE = 16
_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10.0
_LONGEST_PAUSE = 2.0
_STARTING = 4
"""A server that says that it is starting is given so many times the time of one that does not answer."""


@dataclass(frozen=True)
class Answer:
    """An answer with a status below 400."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; text where it is not JSON; None where it is empty."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode(errors="replace")


class Stream:
    """The lines of an answer that goes on, such as a watch. :meth:`close` works from any thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, server: str, what: str, on: str) -> None:
        self._response = response
        self._server, self._what, self._on = server, what, on
        self._closing = threading.Event()

    def lines(self) -> Iterator[bytes]:
        """Every whole line, without its end; a line that was cut off is dropped.

        Ends when the server ends the stream. Raises Unavailable when the connection breaks,
        and :class:`TimeoutError` when nothing came for the read timeout.
        """
        rest = b""
        try:
            for piece in self._pieces():
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TimeoutError("nothing came for the read timeout") from error
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # Closing the socket under a reader shows as any of these.
            if self._closing.is_set():
                return
            where = {"server": self._server, "what": self._what, "on": self._on}
            raise failures.from_connection(error, **where) from error
        finally:
            self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        if getattr(self._response, "chunked", False):
            yield from self._response.read_chunked()
        else:
            while piece := self._response.read1(65536):
                yield piece

    def close(self) -> None:
        """End the stream at once; a reader blocked in :meth:`lines` returns."""
        self._closing.set()
        # Any of these: it has ended already.
        with contextlib.suppress(HTTPError, OSError, ValueError, RuntimeError, AttributeError):
            self._response.shutdown()


class Transport:
    """Sends requests to one API server. Thread-safe. ``cancel`` ends pauses between retries."""

    def __init__(self, credentials: Credentials, *, retry_for: float, cancel: Cancel | None) -> None:
        self._credentials = credentials
        self._cancel = cancel or Cancel()
        self._bell = Wakeup()
        self._cancel.attach(self._bell)
        self._pool = credentials.pool(POOL_SIZE)
        self._agent = f"{credentials.agent}/{versions.CLI}"
        self._closed = False
        self.retry_for = retry_for
        self.server = credentials.server

    def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
        what: str,
        on: str,
        idempotent: bool = False,
        retry_for: float | None = None,
        accept: str = "application/json",
    ) -> Answer:
        """Send one request and return its answer. ``timeout`` and ``retry_for`` are in seconds.

        Raises from the tree in :mod:`capi_llm.errors` with ``what`` and ``on`` in the message.
        """
        limit = self.retry_for if retry_for is None else retry_for

        def worth_it(error: BaseException) -> bool:
            if self._closed or self._cancel.is_set or not isinstance(error, Unavailable):
                return False
            return idempotent or failures.never_arrived(error)

        def once() -> Answer:
            return self._once(method, path, query, body, content_type, timeout, what, on, accept)

        if limit <= 0:
            return once()
        late, later = tenacity.stop_before_delay(limit), tenacity.stop_before_delay(_STARTING * limit)

        def over(state: tenacity.RetryCallState) -> bool:
            if state.outcome is not None and failures.starting(state.outcome.exception()):
                return later(state)
            # A first try that got no answer in its whole time has used up the limit alone: it gets another,
            # as an API server whose etcd has just come back leaves what it was asked meanwhile hanging.
            hung = state.attempt_number == 1 and (state.seconds_since_start or 0) >= timeout
            return late(state) and not hung

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_it),
            stop=over,
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(once)

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str],
        read_timeout: float | None,
        what: str,
        on: str,
        accept: str = "application/json",
    ) -> Stream:
        """Open a GET whose answer is read line by line; not retried."""
        limits = urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_timeout)
        response = self._send("GET", path, query, None, "", limits, what, on, accept, preload=False)
        return Stream(response, server=self.server, what=what, on=on)

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        timeout: float,
        what: str,
        on: str,
        accept: str,
    ) -> Answer:
        limits = urllib3.Timeout(connect=min(timeout, _CONNECT_SECONDS), read=timeout)
        started = time.monotonic()
        response = self._send(method, path, query, body, content_type, limits, what, on, accept)
        took = (time.monotonic() - started) * 1000
        _log.debug(
            "%s %s %s", method, path, response.status, extra={"ms": round(took), "query": dict(query or {})}
        )
        return Answer(response.status, response.headers, response.data)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        timeout: urllib3.Timeout,
        what: str,
        on: str,
        accept: str = "application/json",
        *,
        preload: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        for attempt in (1, 2):
            headers = self._credentials.headers()
            headers |= {"User-Agent": self._agent, "Accept": accept}
            if data is not None:
                headers["Content-Type"] = content_type
            try:
                response = self._pool.request(
                    method,
                    url,
                    body=data,
                    headers=headers,
                    timeout=timeout,
                    retries=False,
                    redirect=False,
                    preload_content=preload,
                )
                if response.status < 400:
                    return response
                # Reading the rest of a refusal also frees its connection.
                error = failures.from_response(
                    response.status, response.headers, response.data, what=what, on=on, sent=body
                )
            except (HTTPError, OSError) as broken:
                raise failures.from_connection(broken, server=self.server, what=what, on=on) from broken
            if attempt == 1 and isinstance(error, Unauthorized) and self._credentials.reload():
                self._pool = self._credentials.pool(POOL_SIZE)
                continue
            raise self._while_starting(error)
        raise AssertionError("unreachable")

    def _while_starting(self, error: ApiError | NotFound) -> ApiError | NotFound:
        """A 401 or 403 of a server that is still starting is no verdict: its caches are not filled.

        Everybody who is known may ask whether it is ready (ClusterRole system:public-info-viewer,
        https://kubernetes.io/docs/reference/access-authn-authz/rbac): one that forbids even that has not
        read its roles yet.
        """
        if not isinstance(error, ApiError) or error.status not in (401, 403):
            return error
        try:
            headers = self._credentials.headers()
            answer = self._pool.request(
                "GET", f"{self.server}/readyz", headers=headers, timeout=5.0, retries=False
            )
        except (HTTPError, OSError):
            return error
        if answer.status not in (500, 403):
            return error
        return Unavailable(
            error.what,
            status=error.status,
            reason=failures.STARTING if answer.status == 500 else error.reason,
            on=error.on,
            why=f"the API server is still starting ({error.why})",
            fix=error.fix,
        )

    def server_clock(self, timeout: float = 30.0) -> float:
        """The API server's time of day in seconds since the epoch, at a resolution of one second."""
        answer = self.exchange(
            "GET", "/version", what="can not ask", on=self.server, idempotent=True, timeout=timeout
        )
        try:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5
        except (KeyError, ValueError):
            return time.time()

    def close(self) -> None:
        """Give the connections back and end pauses between retries."""
        if not self._closed:
            self._closed = True
            self._cancel.detach(self._bell)
            self._bell.ring()
        self._pool.clear()

    def _sleep(self, seconds: float) -> None:
        rings = self._bell.rings()
        if not self._closed and not self._cancel.is_set:
            self._bell.wait(rings, seconds)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Unavailable) and error.retry_after is not None:
        return error.retry_after
    return tenacity.wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE)(state)
