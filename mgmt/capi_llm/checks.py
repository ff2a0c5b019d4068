"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass

GIB = 1024**3
MIB = 1024**2


class State(enum.StrEnum):
    """How a prerequisite is."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class Check:
    """One prerequisite: what was seen, and what to do where that is not enough."""

    name: str
    state: State
    message: str
    fix: str = ""


def ok(name: str, message: str) -> Check:
    return Check(name, State.OK, message)


def warning(name: str, message: str, fix: str) -> Check:
    """It can work as it is, and may fail later."""
    return Check(name, State.WARNING, message, fix)


def missing(name: str, message: str, fix: str) -> Check:
    """It can not work without this."""
    return Check(name, State.MISSING, message, fix)


def not_needed(name: str, message: str) -> Check:
    return Check(name, State.NOT_NEEDED, message)


def size(count: float) -> str:
    """``1.3 GiB``, ``640 MiB``."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"
