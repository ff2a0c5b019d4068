"""Texts and files from the web."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capi_llm.errors import CapiLlmError, FetchFailed
from capi_llm.http.limits import PATIENT, Limits, Unreachable
from capi_llm.http.partfile import PartFile, content_range, length, mark
from capi_llm.http.persistence import persist
from capi_llm.http.transport import TryAgain, get, refuse_errors
from capi_llm.waiting import Cancel

_CHUNK = 1 << 16
_TEXT_LIMIT = 4 << 20

Progress = Callable[[int, int | None], None]
"""Hears how many bytes are there, and of how many if the server said so."""


def fetch_text(url: str, *, cancel: Cancel | None = None, limits: Limits = PATIENT) -> str:
    """The text at ``url`` (at most 4 MiB). Raises FetchFailed, Interrupted."""

    def attempt() -> str:
        with get(url, {}, limits, cancel) as response:
            refuse_errors(response)
            data = b""
            for chunk in response.iter_bytes(_CHUNK):
                data += chunk
                if len(data) > _TEXT_LIMIT:
                    raise FetchFailed("the answer is too long for a text", on=url, why="more than 4 MiB")
            return data.decode("utf-8", "replace")

    return persist(attempt, url, limits, cancel, lambda: 0)


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
                raise TryAgain(error.why) from error
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
        raise TryAgain(why)

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        found = persist(attempt, url, limits, cancel, lambda: farthest)
        part.finish()
    except OSError as error:
        raise CapiLlmError(
            "a download can not be written",
            on=str(to),
            why=error.strerror or str(error),
            fix="make room on that disk, or make the folder writable",
        ) from error
    return found


def _transfer(url: str, part: PartFile, limits: Limits, cancel: Cancel | None, progress: Progress) -> None:
    """One request; afterwards the part is whole, or TryAgain or FetchFailed is raised."""
    have, known = part.size(), part.mark()
    headers = {"Range": f"bytes={have}-", "If-Range": known} if have and known else {}
    with get(url, headers, limits, cancel) as response:
        if headers and response.status_code == 416:
            # The part is as long as the file or longer. Whether it is the file is not known.
            part.forget()
            raise TryAgain("the server has nothing after the part that is already here")
        refuse_errors(response)
        if response.status_code == 206:
            start, total = content_range(response.headers)
            if not headers or start != have or mark(response.headers) not in {"", known}:
                part.forget()
                raise TryAgain("it sent another piece than the one asked for")
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
        raise TryAgain(f"it ended after {have} of {total} bytes")
