"""Counts writes as the API server saw them: its audit log has every mutating request."""

from __future__ import annotations

import json
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
    with log.open() as file:
        file.seek(after)
        for line in file:
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
