"""What comes back from an OpenAI-compatible API: completions, who made them, and how asking fails. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from capi_llm.errors import CapiLlmError

_LONGEST = 300
"""Characters of a server's own words in a message."""


_AT_ONCE_SECONDS = 0.01
"""Tokens that came within less were held back together on their way: that says nothing of their speed."""


class Reason(enum.StrEnum):
    """What kind of failure it is."""

    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    MODEL_MISSING = "model-missing"
    SILENT = "silent"
    BROKEN_OFF = "broken-off"
    NO_TOKENS = "no-tokens"
    ERROR_BODY = "error-body"
    REFUSED = "refused"
    NOT_UNDERSTOOD = "not-understood"


class GatewayFailed(CapiLlmError):
    """A request to the gateway did not end with tokens; ``status`` is the HTTP status, 0 where none came."""

    def __init__(
        self, reason: Reason, what: str, *, status: int = 0, on: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, on=on, why=why, fix=fix)
        self.reason = reason
        self.status = status


@dataclass(frozen=True)
class Backend:
    """Who answered behind the gateway, as LiteLLM's headers tell; empty where nobody tells."""

    id: str = ""
    address: str = ""
    model: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.model, f"at {self.address}" if self.address else ""))) or self.id


@dataclass(frozen=True)
class Completion:
    """An answer. ``tokens`` are those that the server counted, or the pieces that came (``counted`` False).

    Times are seconds from the request: to the first token, to the last, to the end.
    """

    text: str
    tokens: int
    counted: bool
    seconds: float
    backend: Backend
    first: float | None = None
    last: float | None = None

    @property
    def rate(self) -> float | None:
        """Tokens per second after the first; None where it is not told, or they came at once."""
        if self.first is None or self.last is None or self.tokens < 2:
            return None
        between = self.last - self.first
        return (self.tokens - 1) / between if between >= _AT_ONCE_SECONDS else None


_TEXTS = ("content", "reasoning_content", "reasoning")
"""Where tokens are: the answer, and what a model thinks before it (DeepSeek's, vLLM's name for it)."""


def texts(found: Mapping[str, Any], part: str, names: tuple[str, ...] = _TEXTS) -> Iterator[str]:
    """What a completion (``part`` "message") or a piece of a stream ("delta") has of ``names``."""
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        inner = choice.get(part) if isinstance(choice, dict) else None
        for name in names:
            text = inner.get(name) if isinstance(inner, dict) else None
            if isinstance(text, str):
                yield text


def tokens(found: Mapping[str, Any]) -> int | None:
    """How many tokens were made, as the server counted them."""
    usage = found.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) and count > 0 else None


def finished(found: Mapping[str, Any]) -> bool:
    """Whether a piece of a stream says why the answer ends."""
    choices = found.get("choices")
    items = choices if isinstance(choices, list) else []
    return any(isinstance(choice, dict) and choice.get("finish_reason") for choice in items)


def backend(headers: Mapping[str, str]) -> Backend:
    """Who answered, from LiteLLM's headers."""
    where = urlsplit(headers.get("x-litellm-model-api-base", ""))
    base = f"{where.scheme}://{where.netloc.rpartition('@')[2]}{where.path}" if where.netloc else ""
    return Backend(headers.get("x-litellm-model-id", ""), base, headers.get("x-litellm-model-name", ""))


def clean(text: str) -> str:
    """``text`` on one line and not too long, without what would move a terminal's cursor."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
