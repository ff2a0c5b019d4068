"""Whether an object is as an apply would leave it, told from the object alone.

The API server notes in ``managedFields`` which fields each manager has applied. Where ours
are exactly those that we are to apply, and their values are the same, a server-side apply
changes nothing: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management

Everything that is not plain here (a default inside of a list, another order, an index) counts
as not in place: the caller asks the server then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from capi_llm.kube.resources import Object

_NOT_OWNED = {"apiVersion", "kind"}
_NOT_OWNED_METADATA = {"name", "namespace"}


def in_place(live: Object, wanted: Object, *, manager: str) -> bool:
    """Whether ``live`` has every field of ``wanted``, and ``manager`` has applied these and no others."""
    fields = applied_fields(live, manager)
    if fields is None or fields[0] != wanted.get("apiVersion"):
        return False
    body = {key: value for key, value in wanted.items() if key not in _NOT_OWNED}
    metadata = {key: value for key, value in body.pop("metadata").items() if key not in _NOT_OWNED_METADATA}
    if metadata:
        body["metadata"] = metadata
    return _same(fields[1], body, live)


def applied_fields(obj: Object, manager: str) -> tuple[str, Any] | None:
    """apiVersion and ``fieldsV1`` of what ``manager`` has applied of ``obj``; None where it has nothing."""
    for entry in obj["metadata"].get("managedFields") or []:
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            return str(entry.get("apiVersion")), entry.get("fieldsV1") or {}
    return None


def _same(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    if not fields:  # a value, or a map or list that has one owner as a whole
        return bool(wanted == live) and type(wanted) is type(live)
    below = {key: value for key, value in fields.items() if key != "."}
    if isinstance(wanted, dict) and isinstance(live, dict):
        return below.keys() == {f"f:{key}" for key in wanted} and all(
            key in live and _same(below[f"f:{key}"], value, live[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return _same_items(below, wanted, live)
    return False


def _same_items(fields: Mapping[str, Any], wanted: Sequence[Any], live: Sequence[Any]) -> bool:
    """Lists whose items are known by some of their fields (``k:``) or by their value (``v:``)."""
    if len(fields) != len(wanted):
        return False
    before = -1
    owned = list(fields.items())
    for item in wanted:
        path, below = next(((path, below) for path, below in owned if _names(path, item)), ("", {}))
        found = [index for index, other in enumerate(live) if path and _names(path, other)]
        if len(found) != 1 or found[0] < before or not _same(below, item, live[found[0]]):
            return False
        before = found[0]
        owned.remove((path, below))
    return True


def _names(path: str, item: Any) -> bool:
    kind, _, text = path.partition(":")
    if kind == "v":
        return bool(json.loads(text) == item)
    if kind == "k" and isinstance(item, dict):
        return all(key in item and item[key] == value for key, value in json.loads(text).items())
    return False
