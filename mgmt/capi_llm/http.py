"""The web: the only module that imports httpx.

:func:`download` survives what downloads meet: it goes on where it stopped (also in a
later run, if the server can tell that the file is still the same one), notices a file
that is cut short, corrupt or stalled, tries again where that can help, and puts the
file in its place only when it is whole. Proxies come from the environment, as usual.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import tenacity

from capi_llm import versions
from capi_llm.errors import CapiLlmError, FetchFailed
from capi_llm.partfile import PartFile, content_range, length, mark
from capi_llm.waiting import Cancel, Wakeup

CONNECT_TIMEOUT = 3.0
STALL_TIMEOUT = 30.0
ATTEMPTS = 4
_MAX_REDIRECTS = 10
_CHUNK = 1 << 16
_TEXT_LIMIT = 4 << 20
_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}

Progress = Callable[[int, int | None], None]
"""Hears how many bytes are there, and of how many if the server said so."""


class Unreachable(FetchFailed):
    """No connection to the server came about at all; another file from it will not come either."""


class _TryAgain(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.after = after


@dataclass(frozen=True)
class Limits:
    """How patient to be: seconds to connect, seconds without a byte, failures in a row, first pause."""

    connect: float = CONNECT_TIMEOUT
    stall: float = STALL_TIMEOUT
    attempts: int = ATTEMPTS
    pause: float = 0.5


PATIENT = Limits()


def fetch_text(url: str, *, cancel: Cancel | None = None, limits: Limits = PATIENT) -> str:
    """The text at ``url`` (at most 4 MiB). Raises FetchFailed, Interrupted."""

    def attempt() -> str:
        with _get(url, {}, limits, cancel) as response:
            _refuse_errors(response)
            data = b""
            for chunk in response.iter_bytes(_CHUNK):
                data += chunk
                if len(data) > _TEXT_LIMIT:
                    raise FetchFailed("the answer is too long for a text", on=url, why="more than 4 MiB")
            return data.decode("utf-8", "replace")

    return _persist(attempt, url, limits, cancel, lambda: 0)


def download(
    url: str,
    to: Path,
    *,
    sha256: str | None = None,
    progress: Progress = lambda done, total: None,
    cancel: Cancel | None = None,
    limits: Limits = PATIENT,
) -> str:
    """Download ``url`` to the file ``to`` and return its SHA-256 as hex digits.

    What has come is kept beside it as ``.part`` and used by the next call. Raises
    FetchFailed with what answered, Unreachable if nothing did, Interrupted.
    """
    part = PartFile(to, url)
    farthest = 0
    wrong = 0

    def attempt() -> str:
        nonlocal farthest, wrong
        try:
            _transfer(url, part, limits, cancel, progress)
        except Unreachable as error:
            if farthest:  # it was there a moment ago
                raise _TryAgain(error.why) from error
            raise
        finally:
            farthest = max(farthest, part.size())
        found = part.sha256()
        if sha256 is None or found == sha256.lower():
            return found
        part.forget()
        wrong += 1
        why = f"its SHA-256 is {found}, expected {sha256.lower()}"
        if wrong > 1:  # the first time an old part may have been to blame
            raise FetchFailed("the download is not the file that was published", on=url, why=why)
        raise _TryAgain(why)

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        found = _persist(attempt, url, limits, cancel, lambda: farthest)
        part.finish()
    except OSError as error:
        raise CapiLlmError(
            "a download can not be written", on=str(to), why=error.strerror or str(error),
            fix="make room on that disk, or make the folder writable",
        ) from error
    return found


def _transfer(url: str, part: PartFile, limits: Limits, cancel: Cancel | None, progress: Progress) -> None:
    """One request; afterwards the part is whole, or _TryAgain or FetchFailed is raised."""
    have, known = part.size(), part.mark()
    headers = {"Range": f"bytes={have}-", "If-Range": known} if have and known else {}
    with _get(url, headers, limits, cancel) as response:
        if headers and response.status_code == 416:
            # The part is as long as the file or longer. Whether it is the file is not known.
            part.forget()
            raise _TryAgain("the server has nothing after the part that is already here")
        _refuse_errors(response)
        if response.status_code == 206:
            start, total = content_range(response.headers)
            if not headers or start != have or mark(response.headers) not in {"", known}:
                part.forget()
                raise _TryAgain("it sent another piece than the one asked for")
        else:
            have, total = 0, length(response.headers)
            part.begin(mark(response.headers))
        progress(have, total)
        with part.path.open("ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                have += len(chunk)
                if total is not None and have > total:
                    break
                progress(have, total)
    if total is not None and have != total:
        if have > total:
            part.forget()
        raise _TryAgain(f"it ended after {have} of {total} bytes")


@contextlib.contextmanager
def _get(
    url: str, headers: dict[str, str], limits: Limits, cancel: Cancel | None
) -> Iterator[httpx.Response]:
    """The answer to GET after redirects. Transport errors become _TryAgain, Unreachable or Interrupted."""
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
            raise _unreachable(url, error, _reason(error)) from error
        except httpx.ReadTimeout as error:
            raise _TryAgain(f"not one byte came for {limits.stall:g} s") from error
        except httpx.RemoteProtocolError as error:
            raise _TryAgain(f"it broke off: {_reason(error)}") from error
        except httpx.TransportError as error:
            if cancel is not None:
                cancel.check()
            raise _TryAgain(_reason(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed("the download failed", on=url, why=_reason(error)) from error
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
        if here.startswith("https:") and target.scheme != "https" and not _loopback(target.hostname):
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


def _persist(
    attempt: Callable[[], str], url: str, limits: Limits, cancel: Cancel | None, gained: Callable[[], int]
) -> str:
    """Call ``attempt`` until it succeeds, or fails ``limits.attempts`` times in a row without new bytes."""
    patience = _Patience(limits, gained)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TryAgain),
        stop=patience.is_over,
        wait=patience.pause,
        sleep=lambda seconds: _sleep(seconds, cancel),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except _TryAgain as error:
        why = f"{error.why} ({patience.all_failures} attempts)"
        raise FetchFailed("the download failed", on=url, why=why) from error


class _Patience:
    """Counts failures; bytes that no attempt had before start the count anew."""

    def __init__(self, limits: Limits, gained: Callable[[], int]) -> None:
        self._limits = limits
        self._gained = gained
        self._best = gained()
        self._failures = 0
        self.all_failures = 0

    def is_over(self, state: tenacity.RetryCallState) -> bool:
        self.all_failures += 1
        gained = self._gained()
        if gained > self._best:
            self._best, self._failures = gained, 0
        self._failures += 1
        return self._failures >= self._limits.attempts

    def pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.after if isinstance(error, _TryAgain) and error.after is not None else 0.0
        return max(asked, self._limits.pause * 2.0 ** (self._failures - 1))


def _sleep(seconds: float, cancel: Cancel | None) -> None:
    bell = Wakeup()
    if cancel is not None:
        cancel.attach(bell)
    try:
        if cancel is not None:
            cancel.check()
        bell.wait(0, seconds)
        if cancel is not None:
            cancel.check()
    finally:
        if cancel is not None:
            cancel.detach(bell)


def _refuse_errors(response: httpx.Response) -> None:
    code = response.status_code
    if code in {200, 206}:
        return
    said = f"{urlsplit(str(response.url)).netloc} answered {code} {response.reason_phrase}".strip()
    if code in _RETRY_STATUS:
        raise _TryAgain(said, _retry_after(response))
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


def _reason(error: BaseException) -> str:
    """The innermost message; the outer ones are often empty."""
    text = ""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen) or text
        seen = seen.__cause__ or seen.__context__
    return text or type(error).__name__


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
