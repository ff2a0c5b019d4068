"""``KEY=VALUE`` of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from capi_llm import documents, secret_names
from capi_llm.errors import BadInput
from capi_llm.fields.names import shown


def key_value(text: str, where: str) -> tuple[str, str]:
    """``KEY=VALUE`` in its two parts."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInput(f"{where}: {shown(text)} is not KEY=VALUE", fix=f"{where} {key or 'KEY'}=VALUE")
    return key, value


def plain_value(text: str, where: str) -> Any:
    """The value of ``--set VAR=VALUE``: JSON where it is that exactly, a list or map as YAML, else text.

    Text stays text where a number would lose something: ``1.10``, ``007``.
    """
    if text[:1] in ("{", "["):
        found = documents.load(text, where)
        if len(found) != 1:
            value = secret_names.GONE if secret_names.on_path(where) else shown(text)
            raise BadInput(f"{where}: {value} is not a list or map", why="it holds several documents")
        return found[0].data
    try:
        value = json.loads(text, parse_constant=_no_constant)
        same = json.dumps(value) == text
    except (ValueError, RecursionError):
        return text
    return value if same and not isinstance(value, str) else text


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def variables(texts: Iterable[str], where: str = "--set") -> dict[str, Any]:
    """Several ``VAR=VALUE``; those of the form ``VAR.KEY=VALUE`` become one map. Raises BadInput."""
    found: dict[str, Any] = {}
    for text in texts:
        path, value = key_value(text, where)
        name, dot, key = path.partition(".")
        at = f"{where} {path}" if secret_names.on_path(path) else where
        twice = BadInput(f"{where}: {name} is said both as a whole and by its keys")
        if not dot:
            if name in found and isinstance(found[name], dict):
                raise twice
            found[name] = plain_value(value, at)
            continue
        if not isinstance(found.setdefault(name, {}), dict):
            raise twice
        found[name] = found[name] | {key: plain_value(value, at)}
    return found
