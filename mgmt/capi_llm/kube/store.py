"""What an informer remembers: objects by namespace and name, and the version that they are at."""

from __future__ import annotations

import threading
from typing import Literal

from capi_llm.kube.resources import Object

Change = Literal["ADDED", "MODIFIED", "DELETED"]
Changes = list[tuple[Change, Object]]


class Store:
    """Thread-safe; one thread writes. Objects are kept without managedFields and are never changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], Object] = {}
        self._version = ""

    @property
    def version(self) -> str:
        """The resourceVersion of the state; empty when it has to be listed."""
        return self._version

    def bookmark(self, version: str) -> None:
        """The state is as it is at ``version``; empty: it has to be listed again."""
        self._version = version

    def put(self, obj: Object) -> Change:
        """Take over an added or changed object."""
        key = _key(obj)
        _trim(obj)
        with self._lock:
            change: Change = "MODIFIED" if key in self._objects else "ADDED"
            self._objects[key] = obj
            # Only after the object: a reader who sees the version must find the object.
            self._version = obj["metadata"]["resourceVersion"]
        return change

    def remove(self, obj: Object) -> Change:
        """Forget a deleted object."""
        with self._lock:
            self._objects.pop(_key(obj), None)
            self._version = obj["metadata"]["resourceVersion"]
        return "DELETED"

    def replace(self, items: list[Object], version: str) -> Changes:
        """Take over a whole list; returns what that changes, deletions included."""
        for obj in items:
            _trim(obj)
        new = {_key(obj): obj for obj in items}
        changes: Changes = []
        with self._lock:
            old = self._objects
            for key, obj in new.items():
                if key not in old:
                    changes.append(("ADDED", obj))
                elif old[key]["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                    changes.append(("MODIFIED", obj))
            changes += [("DELETED", obj) for key, obj in old.items() if key not in new]
            self._objects, self._version = new, version
        return changes

    def items(self) -> list[Object]:
        """All objects, by namespace and name."""
        with self._lock:
            return [self._objects[key] for key in sorted(self._objects)]

    def find(self, namespace: str, name: str) -> Object | None:
        """One object, or None; ``namespace`` is empty for kinds without."""
        with self._lock:
            return self._objects.get((namespace, name))

    def behind(self, version: str) -> bool:
        """Whether the state is older than ``version``; versions count up within one API server."""
        try:
            return int(self._version or 0) < int(version)
        except ValueError:
            return self._version != version


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _trim(obj: Object) -> None:
    obj["metadata"].pop("managedFields", None)
