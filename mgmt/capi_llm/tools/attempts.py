"""What was tried for a part, and what answered: the material of the report where nothing works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from capi_llm.errors import CapiLlmError


class Progress(Protocol):
    """Hears what is being done for which part, and how far it is (0 to 1, None: not known)."""

    def __call__(self, part: str, message: str, fraction: float | None) -> None: ...


def quiet(part: str, message: str, fraction: float | None) -> None:
    """The progress that nobody hears."""


@dataclass(frozen=True)
class Attempt:
    """One way that did not work: what was tried, what answered, what would make it work."""

    tried: str
    answered: str
    fix: str = ""

    @classmethod
    def of(cls, tried: str, error: CapiLlmError) -> Attempt:
        on = f"{error.on}: " if error.on and error.on not in tried else ""
        why = f": {error.why}" if error.why else ""
        return cls(tried, f"{on}{error.what}{why}", error.fix)


def report(tried: Mapping[str, Sequence[Attempt]]) -> str:
    """What was tried for each part, in order; parts with the same story are told of together."""
    stories: dict[tuple[Attempt, ...], list[str]] = {}
    for name, attempts in tried.items():
        stories.setdefault(tuple(attempts), []).append(name)
    lines = []
    for attempts, names in stories.items():
        lines.append(", ".join(names))
        for attempt in attempts or [Attempt("nothing", "no source was allowed")]:
            first, *more = attempt.answered.strip().splitlines() or ["no answer"]
            lines.append(f"  {attempt.tried}: {first}")
            lines += [f"      {line}" for line in more]
    return "\n" + "\n".join(lines)
