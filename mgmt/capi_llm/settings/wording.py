"""One word of a map at a time, each mistake with its place and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from capi_llm import fields
from capi_llm.documents import below
from capi_llm.errors import BadInput
from capi_llm.fields.names import shown

_LONGEST_SECONDS = 86400


def words(value: Any, where: str, known: Iterable[str]) -> Mapping[str, Any]:
    """The map ``value`` without what has no value. Raises BadInput for a word that is not ``known``."""
    if not isinstance(value, dict):
        raise BadInput(f"{where}: {shown(value)} is not a map of words and values", fix="write `word: value`")
    for word in value:
        if word not in known:
            raise none_of(f"{below(where, word)} is not known", str(word), known)
    return {word: item for word, item in value.items() if item is not None}


def required(said: Mapping[str, Any], word: str, where: str, check: Callable[[Any, str], str]) -> str:
    """What ``check`` makes of ``word``, which has to be there."""
    if said.get(word) is None:
        raise BadInput(f"{where}: `{word}` is missing", fix=f"write `{word}: …`")
    return check(said[word], below(where, word))


def one_of(known: tuple[str, ...]) -> Callable[[Any, str], str]:
    """A check that a value is one of ``known``."""

    def check(value: Any, where: str) -> str:
        if value not in known:
            raise none_of(f"{where}: {shown(value)} is not known", str(value), known)
        return str(value)

    return check


def none_of(what: str, word: str, known: Iterable[str]) -> BadInput:
    """The error for ``word`` that is none of ``known``; its fix names the nearest."""
    names = list(known)
    close = fields.nearest(word, names)
    return BadInput(
        what,
        why=f"known are {', '.join(names)}",
        fix=f"did you mean {close!r}?" if close else f"use {names[0]!r}, or another of them",
    )


def text(value: Any, where: str) -> str:
    """``value``, if it is a text."""
    if not isinstance(value, str):
        raise BadInput(f"{where}: {shown(value)} is not a text", fix="write it in quotes")
    return value


def matching(value: Any, where: str, pattern: str, what: str, fix: str) -> str:
    """``value``, if it matches; ``what`` it would be, and what to do."""
    said = text(value, where)
    if not re.fullmatch(pattern, said):
        raise BadInput(f"{where}: {shown(said)} is not {what}", fix=fix)
    return said


def whole(said: Mapping[str, Any], word: str, where: str, least: int, most: int) -> int | None:
    """The whole number at ``word``, from ``least`` to ``most``."""
    value = said.get(word)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(
            f"{below(where, word)}: {shown(value)} is not a whole number from {least} to {most}",
            fix=f"e.g. {word}: {max(least, 10)}",
        )
    return value


def seconds(said: Mapping[str, Any], word: str, where: str) -> float | None:
    """The seconds at ``word``, at most a day."""
    value = said.get(word)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_SECONDS:
        raise BadInput(
            f"{below(where, word)}: {shown(value)} is not a number of seconds up to {_LONGEST_SECONDS}",
            fix=f"e.g. {word}: 120",
        )
    return value
