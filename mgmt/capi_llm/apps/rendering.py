"""From helm's output to the objects of an app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from capi_llm import documents
from capi_llm.apps.engine import Release
from capi_llm.errors import BadInput, NotFound
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import CRDS, Object

HOOK = "helm.sh/hook"
_NO_PART_OF_IT = {
    "test", "test-success", "test-failure", "pre-delete", "post-delete", "pre-rollback", "post-rollback",
}  # fmt: skip
"""Hooks of Helm that are not for having the app there (https://helm.sh/docs/topics/charts_hooks)."""

_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)

Namespaced = Callable[[Object], bool]


def objects(text: str, release: Release, namespaced: Namespaced) -> tuple[Object, ...]:
    """The objects in helm's output, each with its namespace, in helm's order.

    Raises BadInput for what is no object, or twice there.
    """
    try:
        found = [obj for document in documents.manifests(text) for obj in _flat(document)]
    except yaml.YAMLError as error:
        raise _bad(release, f"helm's output is not YAML: {documents.problem(error)}") from None
    result, seen = [], set()
    for obj in found:
        if not isinstance(obj, dict) or not obj.get("kind") or not (obj.get("metadata") or {}).get("name"):
            raise _bad(release, "a manifest has no kind or no metadata.name")
        if not _part_of_it(obj):
            continue
        metadata = {key: value for key, value in obj["metadata"].items() if value is not None}
        if namespaced(obj):
            metadata.setdefault("namespace", release.namespace)
        else:
            metadata.pop("namespace", None)
        name = (obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])
        if name in seen:
            raise _bad(release, f"{' '.join(filter(None, name[1:]))} is there twice")
        seen.add(name)
        result.append({**_without_what_is_filled_in(obj), "metadata": metadata})
    return tuple(result)


def scope(discovery: Discovery, others: Iterable[str] = ()) -> Namespaced:
    """Whether a kind has namespaces: as the server says, or a definition in ``others``, helm's outputs.

    What nobody knows is taken to have one, as most do.
    """
    coming: dict[tuple[str, str], bool] = {}
    for text in others:
        if f"kind: {CRDS.kind}" in text:
            for document in documents.manifests(text):
                for crd in _flat(document):
                    if isinstance(crd, dict) and crd.get("kind") == CRDS.kind:
                        spec = crd["spec"]
                        coming[spec["group"], spec["names"]["kind"]] = spec["scope"] == "Namespaced"

    def namespaced(obj: Object) -> bool:
        group = str(obj["apiVersion"]).rpartition("/")[0]
        if (group, obj["kind"]) in coming:
            return coming[group, obj["kind"]]
        try:
            return discovery.resource_for(obj).namespaced
        except NotFound:
            return True

    return namespaced


def served(api: Api) -> tuple[str, ...]:
    """What the server serves, as charts ask for it: ``apps/v1`` and ``apps/v1/Deployment``."""
    found: dict[str, None] = {}
    for path in ("/api", "/apis"):
        answer = api.request("GET", path, accept=_AGGREGATED, what="can not discover", on=path)
        for group in answer.get("items") or []:
            name = (group.get("metadata") or {}).get("name") or ""
            for version in group.get("versions") or []:
                word = f"{name}/{version['version']}" if name else version["version"]
                found[word] = None
                for resource in version.get("resources") or []:
                    if kind := (resource.get("responseKind") or {}).get("kind"):
                        found[f"{word}/{kind}"] = None
    return tuple(found)


def _flat(document: Any) -> Iterable[Any]:
    if (
        isinstance(document, Mapping)
        and str(document.get("kind", "")).endswith("List")
        and "items" in document
    ):
        return document["items"] or []
    return (document,)


def _without_what_is_filled_in(obj: Object) -> Object:
    """``obj`` without rules that a controller of Kubernetes owns: those of an aggregated ClusterRole, which
    charts write as an empty list
    (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles)."""
    if obj.get("aggregationRule"):
        return {key: value for key, value in obj.items() if key != "rules"}
    return obj


def _part_of_it(obj: Object) -> bool:
    hooks = str((obj["metadata"].get("annotations") or {}).get(HOOK, ""))
    return not hooks or bool({hook.strip() for hook in hooks.split(",")} - _NO_PART_OF_IT)


def _bad(release: Release, why: str) -> BadInput:
    return BadInput(
        f"app {release.app} can not be rendered",
        on=str(release.bundle.folder),
        why=why,
        fix="correct its chart",
    )
