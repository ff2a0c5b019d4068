"""What an apply would change: the live object against the server's dry run of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from capi_llm.kube.owned import applied_fields
from capi_llm.kube.resources import Object

_SERVER_OWNED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


_NAMES = ("name", "class", "key", "type")
"""What tells the items of a list from each other, where all of them have it."""


@dataclass(frozen=True)
class Change:
    """One field that differs; ``old`` or ``new`` is None where the field is not there."""

    path: str
    old: Any
    new: Any


def changes(live: Object, wanted: Object) -> tuple[Change, ...]:
    """Fields that differ, with both values; status and what the server writes are left out.

    Items of a list are told apart by their name, so that one more does not make all differ:
    ``spec.topology.workers.machineDeployments[gpu].replicas``.
    """
    return tuple(_values("", _plain(live, False), _plain(wanted, False)))


def changed_paths(live: Object, wanted: Object, *, manager: str, status: bool = False) -> tuple[str, ...]:
    """Paths that differ, such as ``spec.replicas``; empty where a write would change nothing.

    Fields that the server writes are left out, and ``status`` unless asked for. That
    ``manager`` comes to own other fields counts as ``metadata.managedFields``, because a
    later apply removes only what its manager owns.
    """
    paths = list(_compare("", _plain(live, status), _plain(wanted, status)))
    if applied_fields(live, manager) != applied_fields(wanted, manager):
        paths.append("metadata.managedFields")
    return tuple(paths)


def _plain(obj: Object, status: bool) -> Object:
    plain = {key: value for key, value in obj.items() if status or key != "status"}
    metadata = plain.get("metadata") or {}
    plain["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_OWNED}
    return plain


def _compare(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            below = _below(path, key)
            if key not in old or key not in new:
                yield below
            else:
                yield from _compare(below, old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _compare(f"{path}[{index}]", before, after)
    elif old != new:
        yield path


def _values(path: str, old: Any, new: Any) -> Iterator[Change]:
    before, after = _children(old), _children(new)
    if before is None or after is None or type(old) is not type(new):
        if old != new:
            yield Change(path, old, new)
        return
    for key in dict.fromkeys([*before, *after]):
        below = f"{path}[{key}]" if isinstance(old, list) else _below(path, key)
        yield from _values(below, before.get(key), after.get(key))


def _children(value: Any) -> dict[str, Any] | None:
    """What is below ``value``, by key or name; None where it is a value of its own."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    for name in _NAMES:
        keys = [item.get(name) for item in value]
        if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
            return dict(zip(keys, value, strict=True))
    return None


def _below(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
