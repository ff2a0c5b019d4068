"""What a Helm release is, read from the Secrets in which helm keeps its revisions.

A revision is a Secret of type ``helm.sh/release.v1``, whose key ``release`` is gzipped JSON in base64
(https://github.com/helm/helm/blob/v3.17.4/pkg/storage/driver/util.go); its labels say ``name``,
``status`` and ``version``, and those that ``--labels`` gave.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm.contract.conditions import Object

TYPE = "helm.sh/release.v1"
UNFINISHED = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
"""States that only a helm that still runs, or one that died, leaves behind."""


@dataclass(frozen=True)
class Release:
    """One revision of a release. ``version`` is the chart's; ``values`` are those that were given to it."""

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    version: str
    app_version: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    manifest: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    """The name of the Secret that it is kept in."""

    @property
    def unfinished(self) -> bool:
        """Whether a run of helm has not come to its end."""
        return self.status in UNFINISHED

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def release(secret: Object) -> Release | None:
    """The revision in ``secret``; None where it is none, or can not be read."""
    if secret.get("type") != TYPE:
        return None
    try:
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        found = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        metadata, info = found["chart"]["metadata"], found.get("info") or {}
        return Release(
            name=str(found["name"]),
            namespace=str(found["namespace"]),
            revision=int(found["version"]),
            status=str(info.get("status") or ""),
            chart=str(metadata["name"]),
            version=str(metadata["version"]),
            app_version=str(metadata.get("appVersion") or ""),
            values=found.get("config") or {},
            manifest=str(found.get("manifest") or ""),
            description=str(info.get("description") or ""),
            labels=dict((secret.get("metadata") or {}).get("labels") or {}),
            secret=str((secret.get("metadata") or {}).get("name") or ""),
        )
    except (KeyError, TypeError, ValueError, binascii.Error, OSError, EOFError):
        return None


def newest(secrets: Iterable[Object]) -> list[Release]:
    """The last revision of every release in ``secrets``, by namespace and name."""
    last: dict[tuple[str, str], Release] = {}
    for secret in secrets:
        found = release(secret)
        if found is None:
            continue
        key = (found.namespace, found.name)
        if key not in last or last[key].revision < found.revision:
            last[key] = found
    return [last[key] for key in sorted(last)]


def owner(obj: Object) -> str:
    """``NAMESPACE/NAME`` of the release that ``obj`` belongs to; empty where none is said."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    name = annotations.get("meta.helm.sh/release-name")
    return f"{annotations.get('meta.helm.sh/release-namespace', '')}/{name}" if name else ""
