"""The namespaces of apps. They are made where they are missing and stay when an app is removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from capi_llm.apps.engine import Release
from capi_llm.errors import Conflict
from capi_llm.kube.client import Api
from capi_llm.kube.resources import NAMESPACES, Object, Ref

_OF_KUBERNETES = ("default", "kube-system", "kube-public", "kube-node-lease")


def labels_of(releases: Iterable[Release]) -> dict[str, dict[str, str]]:
    """Namespace → the labels that the bundles of ``releases`` want of it (``namespaceLabels``)."""
    found: dict[str, dict[str, str]] = {}
    for release in releases:
        wanted: Mapping[str, str] = release.bundle.document.data.get("namespaceLabels") or {}
        found.setdefault(release.namespace, {}).update({key: str(value) for key, value in wanted.items()})
    return found


def objects(releases: Iterable[Release], rendered: Iterable[Object]) -> list[Object]:
    """The namespaces that ``releases`` need and no chart of theirs has."""
    brought = {obj["metadata"]["name"] for obj in rendered if obj["kind"] == NAMESPACES.kind}
    return [
        {
            "apiVersion": "v1",
            "kind": NAMESPACES.kind,
            "metadata": {"name": name} | ({"labels": labels} if labels else {}),
        }
        for name, labels in labels_of(releases).items()
        if name not in brought and name not in _OF_KUBERNETES
    ]


def ensure(api: Api, wanted: Iterable[Object]) -> None:
    """Have the namespaces with their labels. Other labels stay; nothing is written where nothing lacks."""
    for obj in wanted:
        name, labels = obj["metadata"]["name"], obj["metadata"].get("labels") or {}
        live = api.find(Ref(NAMESPACES, name))
        if live is None:
            with suppress(Conflict):
                api.create(NAMESPACES, obj)
                continue
            live = api.get(Ref(NAMESPACES, name))
        if not labels.items() <= (live["metadata"].get("labels") or {}).items():
            api.merge_patch(Ref(NAMESPACES, name), {"metadata": {"labels": labels}})
