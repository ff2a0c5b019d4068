"""What an API server or a webhook says when it refuses an object, in words for a person. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_KINDS = (
    "Invalid value|Forbidden|Required value|Not found|Unsupported value|Duplicate value|"
    "Too long|Too many|Internal error|Invalid type"
)
_START = r"(?:spec|metadata|status)(?:[.\[][^:\s]*)?"
_SPLIT = re.compile(rf", (?={_START}: (?:{_KINDS}))")
_FIELD = re.compile(rf"(?P<field>{_START}): (?P<kind>{_KINDS})(?:: (?P<rest>.*))?", re.DOTALL)
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*"|-?[0-9.]+|true|false|null): (.*)', re.DOTALL)
_IMMUTABLE = re.compile(r"(\w+) ([\w.]+) field is immutable")
_TYPED = re.compile(r"failed to create typed patch object \([^)]*\): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong: the ``field``, empty where none is named, and what is wrong with it.

    ``immutable`` is the kind of a template that can not be changed any more; else empty.
    """

    field: str
    message: str
    immutable: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def reasons(text: str) -> tuple[Reason, ...]:
    """The reasons in a refusal's message, without the webhook's name and without dumps of whole objects."""
    text = text.rpartition("denied the request: ")[2]
    if (typed := _TYPED.search(text)) is not None:
        return tuple(Reason("", line.strip().lstrip(".")) for line in typed[1].splitlines() if line.strip())
    _, found, rest = text.partition(" is invalid: ")
    if not found:
        return (Reason("", " ".join(text.split())),)
    if rest.startswith("[") and rest.endswith("]"):
        rest = rest[1:-1]
    return tuple(dict.fromkeys(_reason(part) for part in _SPLIT.split(rest)))


def _reason(text: str) -> Reason:
    match = _FIELD.match(text)
    if match is None:
        return Reason("", " ".join(text.split()))
    field, kind, rest = match["field"], match["kind"], match["rest"] or ""
    if (immutable := _IMMUTABLE.search(rest)) is not None:
        return Reason(field, f"a {immutable[1]} can not be changed once it is there", immutable[1])
    if kind == "Required value":
        return Reason(field, rest or "it is missing")
    if kind == "Forbidden":
        return Reason(field, " ".join(rest.split()))
    quoted = _QUOTED.match(rest)
    if quoted is not None:
        got, message = quoted[1], " ".join(quoted[2].split())
        return Reason(field, message if got in message or got.strip('"') in message else f"{message} ({got})")
    # The value is a dump of a Go struct: the message comes behind its end.
    return Reason(field, " ".join(re.split(r"[}\])]: ", rest)[-1].split()))
