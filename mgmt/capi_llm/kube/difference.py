"""What an apply would change: the live object against the server's dry run of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from capi_llm.kube.resources import Object

_SERVER_OWNED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def changed_paths(live: Object, wanted: Object, *, manager: str, status: bool = False) -> tuple[str, ...]:
    """Paths that differ, such as ``spec.replicas``; empty where a write would change nothing.

    Fields that the server writes are left out, and ``status`` unless asked for. That
    ``manager`` comes to own other fields counts as ``metadata.managedFields``, because a
    later apply removes only what its manager owns.
    """
    paths = list(_compare("", _plain(live, status), _plain(wanted, status)))
    if _owned(live, manager) != _owned(wanted, manager):
        paths.append("metadata.managedFields")
    return tuple(paths)


def _plain(obj: Object, status: bool) -> Object:
    plain = {key: value for key, value in obj.items() if status or key != "status"}
    metadata = plain.get("metadata") or {}
    plain["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_OWNED}
    return plain


def _owned(obj: Object, manager: str) -> Any:
    for entry in (obj.get("metadata") or {}).get("managedFields") or []:
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            return entry.get("apiVersion"), entry.get("fieldsV1")
    return None


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


def _below(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
