"""The objects of a plane that concern Cluster API and capi-llm, without what nobody may see.

Of Secrets only names, types and the names of their keys; of CRDs only their versions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

from capi_llm import versions
from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CRDS, NAMESPACES, NODES, SECRETS, Object, Resource

_GROUPS = ("cluster.x-k8s.io", versions.GROUP, "turtles-capi.cattle.io", "fleet.cattle.io")
"""API groups that are read whole, with those below them."""

_WITH_THEM = (
    ("", "v1", ("pods", "services", "configmaps", "serviceaccounts", "persistentvolumeclaims")),
    ("apps", "v1", ("deployments", "replicasets", "daemonsets", "statefulsets")),
    ("coordination.k8s.io", "v1", ("leases",)),
)
"""Group, version and kinds that are read in the namespaces where those of :data:`_GROUPS` are."""

_WEBHOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


def ours(api: Api) -> list[Resource]:
    """The kinds of :data:`_GROUPS` that the server can list, each at its preferred version."""
    answer = api.request("GET", "/apis", what="can not discover", on="API groups")
    found = []
    for group in answer.get("groups") or []:
        if any(group["name"] == name or group["name"].endswith(f".{name}") for name in _GROUPS):
            found += _listable(api, group["preferredVersion"]["groupVersion"])
    return found


def cluster_wide(api: Api) -> list[Resource]:
    """Kinds without a namespace that are read whole."""
    webhooks = _listable(api, "admissionregistration.k8s.io/v1")
    return [NAMESPACES, NODES, *(kind for kind in webhooks if kind.plural in _WEBHOOKS)]


def beside(api: Api) -> list[Resource]:
    """Kinds that are read in some namespaces only."""
    found = []
    for group, version, plurals in _WITH_THEM:
        kinds = _listable(api, f"{group}/{version}" if group else version)
        found += [kind for kind in kinds if kind.plural in plurals]
    return found


def namespaces(objects: Iterable[Object]) -> list[str]:
    """Where ``objects`` are."""
    found = {str((obj.get("metadata") or {}).get("namespace") or "") for obj in objects}
    return sorted(found - {""})


def secret_names(secrets: Iterable[Object]) -> list[dict[str, Any]]:
    """Of each Secret its name, namespace, type and the names of its keys."""
    return [
        {
            "namespace": secret["metadata"].get("namespace", ""),
            "name": secret["metadata"]["name"],
            "type": secret.get("type", ""),
            "keys": sorted(secret.get("data") or {}),
        }
        for secret in secrets
    ]


def secret_values(secrets: Iterable[Object]) -> Iterator[str]:
    """What the Secrets hold, so that it can be taken out wherever else it stands."""
    for secret in secrets:
        for value in (secret.get("data") or {}).values():
            try:
                yield base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
                continue  # bytes do not stand in a text


def all_secrets(api: Api) -> list[Object]:
    return api.list(SECRETS)


def definitions(api: Api) -> list[dict[str, Any]]:
    """Of each CRD its name, versions and conditions; its schema is in the software that brought it."""
    return [
        {
            "name": crd["metadata"]["name"],
            "labels": crd["metadata"].get("labels") or {},
            "versions": [
                {key: version.get(key) for key in ("name", "served", "storage")}
                for version in crd["spec"]["versions"]
            ],
            "storedVersions": (crd.get("status") or {}).get("storedVersions") or [],
            "conditions": (crd.get("status") or {}).get("conditions") or [],
        }
        for crd in api.list(CRDS)
    ]


def bare(obj: Object) -> Object:
    """``obj`` without what says nothing: managedFields, and the CA of webhooks."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    found = {**obj, "metadata": metadata}
    if isinstance(found.get("webhooks"), list):
        found["webhooks"] = [
            {**hook, "clientConfig": {**(hook.get("clientConfig") or {}), "caBundle": "(left out)"}}
            for hook in found["webhooks"]
        ]
    return found


def _listable(api: Api, api_version: str) -> list[Resource]:
    group, _, version = api_version.rpartition("/")
    path = f"/apis/{api_version}" if group else f"/api/{api_version}"
    try:
        answer = api.request("GET", path, what="can not discover", on=api_version)
    except CapiLlmError:
        return []
    return [
        Resource(group, version, entry["name"], entry["kind"], bool(entry["namespaced"]))
        for entry in answer.get("resources") or []
        if "/" not in entry["name"] and "list" in (entry.get("verbs") or ())
    ]
