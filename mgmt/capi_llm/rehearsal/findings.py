"""What a rehearsal has to say besides what becomes of machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""``error``: the change would be refused or would break something; ``note``: what was not rehearsed."""


@dataclass(frozen=True)
class Finding:
    """One of them: ``code`` for programs, ``on`` the object, ``why`` the reason, ``fix`` what to do."""

    level: Level
    code: str
    on: str
    what: str
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.on}: {self.what}"
        return f"{text}: {self.why}" if self.why else text


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, errors first, otherwise as they came."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: LEVELS.index(finding.level)))
