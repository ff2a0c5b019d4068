"""The beginning of a downloaded file, kept so that a later request can go on where it ends.

Beside ``NAME.part`` stands ``NAME.part.json`` with the address and the mark by which the
server knows that its file is still the same one (RFC 9110, 13.1.5: If-Range).
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path


class PartFile:
    """The part of the file ``to`` that has come from ``url``."""

    def __init__(self, to: Path, url: str) -> None:
        self.path = to.with_name(to.name + ".part")
        self._to = to
        self._about = to.with_name(to.name + ".part.json")
        self._url = url

    def size(self) -> int:
        """How many bytes are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def mark(self) -> str:
        """ETag or date of the file that this is a part of; empty if it can not be continued."""
        try:
            about = json.loads(self._about.read_text())
            return str(about["mark"]) if about["url"] == self._url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, mark: str) -> None:
        """Start from nothing."""
        self.forget()
        self.path.touch()
        self._about.write_text(json.dumps({"url": self._url, "mark": mark}))

    def sha256(self) -> str:
        """Digest of what is here, as hex digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def forget(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def finish(self) -> None:
        """It is whole: put it in its place."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self._to)
        self._about.unlink(missing_ok=True)


def mark(headers: Mapping[str, str]) -> str:
    """What If-Range takes of a response: a strong ETag, or a date; else empty."""
    etag = headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    date = headers.get("Last-Modified", "")
    return date if email.utils.parsedate(date) is not None else ""


def length(headers: Mapping[str, str]) -> int | None:
    """``Content-Length``, if there is a sensible one."""
    value = headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def content_range(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Start and total of ``Content-Range: bytes 5-9/10``; the start is -1 if it says nothing useful."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if match is None:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])
