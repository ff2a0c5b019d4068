"""Counts writes as the API server saw them: its audit log has every mutating request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Write:
    """One mutating request without dryRun; Leases and Events are not in the log."""

    agent: str
    user: str
    verb: str
    uri: str
    code: int


def writes(log: Path, *, agent: str = "", after: int = 0) -> list[Write]:
    """Writes by clients whose user agent begins with ``agent``, from byte ``after`` of the log on."""
    found = []
    for line in _lines(log, after):
        event = json.loads(line)
        if parse_qs(urlsplit(event["requestURI"]).query).get("dryRun"):
            continue
        found.append(
            Write(
                event.get("userAgent", ""),
                event["user"]["username"],
                event["verb"],
                event["requestURI"],
                event.get("responseStatus", {}).get("code", 0),
            )
        )
    return [write for write in found if write.agent.startswith(agent)]


def _lines(log: Path, after: int) -> Iterator[str]:
    with log.open() as file:
        if log.stat().st_size < after:  # the API server has begun another file
            older = max(log.parent.glob(f"{log.stem}-*{log.suffix}"))  # with its time in its name
            with older.open() as before:
                before.seek(after)
                yield from before
        else:
            file.seek(after)
        # The last line may be half there: somebody writes all the time.
        yield from (line for line in file if line.endswith("\n"))
