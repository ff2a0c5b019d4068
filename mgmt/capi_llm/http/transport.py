"""One GET request: redirects, proxies, timeouts, and the user's wish to stop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from capi_llm import versions
from capi_llm.errors import FetchFailed
from capi_llm.fields.addresses import loopback
from capi_llm.http.limits import Limits, Unreachable
from capi_llm.waiting import Cancel, Wakeup

_MAX_REDIRECTS = 10
_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}


class TryAgain(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.after = after


@contextlib.contextmanager
def get(url: str, headers: dict[str, str], limits: Limits, cancel: Cancel | None) -> Iterator[httpx.Response]:
    """The answer to GET after redirects. Transport errors become TryAgain, Unreachable or Interrupted."""
    timeout = httpx.Timeout(limits.stall, connect=limits.connect)
    base = {"User-Agent": f"capi-llm/{versions.CLI}", "Accept-Encoding": "identity"}
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(_client(timeout, base))
            hang_up = _HangUp()
            if cancel is not None:
                cancel.attach(hang_up)
                stack.callback(cancel.detach, hang_up)
                cancel.check()
            yield _follow(client, stack, url, headers, hang_up)
        except httpx.ConnectTimeout as error:
            raise _unreachable(url, error, f"no answer within {limits.connect:g} s") from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise _unreachable(url, error, reason(error)) from error
        except httpx.ReadTimeout as error:
            raise TryAgain(f"not one byte came for {limits.stall:g} s") from error
        except httpx.RemoteProtocolError as error:
            raise TryAgain(f"it broke off: {reason(error)}") from error
        except httpx.TransportError as error:
            if cancel is not None:
                cancel.check()
            raise TryAgain(reason(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed("the download failed", on=url, why=reason(error)) from error
        finally:
            if cancel is not None:
                cancel.check()


def _client(timeout: httpx.Timeout, headers: dict[str, str]) -> httpx.Client:
    try:
        return httpx.Client(timeout=timeout, headers=headers)
    except (ValueError, ImportError, OSError) as error:
        raise FetchFailed(
            "the settings for the web in the environment can not be used",
            why=str(error),
            fix="look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def _follow(
    client: httpx.Client,
    stack: contextlib.ExitStack,
    url: str,
    headers: dict[str, str],
    hang_up: _HangUp,
) -> httpx.Response:
    here = url
    for _ in range(_MAX_REDIRECTS + 1):
        request = client.stream("GET", here, headers=headers, extensions={"trace": hang_up.trace})
        response = stack.enter_context(request)
        if response.status_code not in {301, 302, 303, 307, 308}:
            return response
        there = urljoin(here, response.headers.get("Location", ""))
        target = urlsplit(there)
        if target.scheme not in {"http", "https"} or not target.hostname or there == here:
            raise FetchFailed("the server redirects to nowhere", on=here, why=f"to {there!r}")
        if here.startswith("https:") and target.scheme != "https" and not loopback(target.hostname):
            raise FetchFailed(
                "a redirect from https to http is not followed", on=here, why=f"it leads to {there}"
            )
        here = there
    raise FetchFailed("too many redirects", on=url, why=f"more than {_MAX_REDIRECTS}, the last to {here}")


class _HangUp(Wakeup):
    """Ends the connection when the user stops, so that a read that waits for bytes ends too."""

    def __init__(self) -> None:
        super().__init__()
        self._stream: Any = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpx at every step of a request; connecting returns the network stream."""
        result = info.get("return_value")
        if hasattr(result, "get_extra_info"):
            self._stream = result
            if self.rings():
                self._shut()

    def ring(self) -> None:
        super().ring()
        self._shut()

    def _shut(self) -> None:
        connection = self._stream.get_extra_info("socket") if self._stream is not None else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def refuse_errors(response: httpx.Response) -> None:
    code = response.status_code
    if code in {200, 206}:
        return
    said = f"{urlsplit(str(response.url)).netloc} answered {code} {response.reason_phrase}".strip()
    if code in _RETRY_STATUS:
        raise TryAgain(said, _retry_after(response))
    raise FetchFailed("the download failed", on=str(response.url), why=said)


def _retry_after(response: httpx.Response) -> float | None:
    """The pause that the server asks for, at most half a minute."""
    try:
        return min(30.0, max(0.0, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return None


def _unreachable(url: str, error: httpx.TransportError, why: str) -> Unreachable:
    try:
        server = error.request.url.netloc.decode()
    except RuntimeError:
        server = urlsplit(url).netloc
    return Unreachable(f"{server} can not be reached", on=url, why=why)


def reason(error: BaseException) -> str:
    """The innermost message; the outer ones are often empty."""
    text = ""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen) or text
        seen = seen.__cause__ or seen.__context__
    return text or type(error).__name__
