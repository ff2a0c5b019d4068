"""Which field of what Cluster API rendered made machines roll. Pure but for :func:`rendered`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm.clusters import tree
from capi_llm.kube.cache import Informers
from capi_llm.kube.resources import (
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    Object,
    Resource,
)
from capi_llm.rehearsal.mapping import DEV_CLUSTERS, DEV_MACHINE_TEMPLATES, ORIGINAL
from capi_llm.rehearsal.world import Key, PoolKey

CONFIG_TEMPLATES = Resource(
    "bootstrap.cluster.x-k8s.io", "v1beta1", "kubeadmconfigtemplates", "KubeadmConfigTemplate"
)

_SECRET = re.compile(r"content|passw|token|secret|credential|data$|.key$|cert", re.IGNORECASE)
"""Fields whose values are not shown."""

_LONGEST = 60

NO_VALUE = "<no value>"
"""What Go's text/template writes for a variable that is not there; Cluster API lets it pass
(internal/controllers/topology/cluster/patches/inline/json_patch_generator.go)."""


@dataclass(frozen=True)
class Rendered:
    """What was rendered for a cluster: per pool, part → content; and its infrastructure."""

    pools: Mapping[PoolKey, Mapping[str, Any]] = field(default_factory=dict)
    infrastructure: Mapping[str, Any] = field(default_factory=dict)


def rendered(informers: Informers, cluster: Key) -> Rendered:
    """What there is now for ``cluster``."""
    api, where = informers.api, cluster.namespace
    machines = {obj["metadata"]["name"]: obj for obj in api.list(DEV_MACHINE_TEMPLATES, where)}
    configs = {obj["metadata"]["name"]: obj for obj in api.list(CONFIG_TEMPLATES, where)}
    label = f"{tree.CLUSTER_NAME}={cluster.name}"
    pools: dict[PoolKey, Mapping[str, Any]] = {}
    for obj in api.list(KUBEADM_CONTROL_PLANES, where, label):
        spec = obj["spec"]
        template = spec.get("machineTemplate") or {}
        infrastructure = machines.get((template.get("infrastructureRef") or {}).get("name", ""))
        pools[PoolKey(where, cluster.name)] = {
            "version": spec.get("version"),
            "kubeadmConfigSpec": spec.get("kubeadmConfigSpec"),
            **_original(infrastructure),
            "machineTemplate": {
                key: value for key, value in template.items() if key not in ("infrastructureRef", "metadata")
            },
            "replicas": spec.get("replicas"),
            "rolloutStrategy": spec.get("rolloutStrategy"),
            "rolloutAfter": spec.get("rolloutAfter"),
        }
    for obj in api.list(MACHINE_DEPLOYMENTS, where, label):
        spec = obj["spec"]["template"]["spec"]
        config = configs.get(((spec.get("bootstrap") or {}).get("configRef") or {}).get("name", ""))
        infrastructure = machines.get((spec.get("infrastructureRef") or {}).get("name", ""))
        own = (obj["metadata"].get("labels") or {}).get(tree.POOL_NAME, obj["metadata"]["name"])
        pools[PoolKey(where, cluster.name, own)] = {
            "version": spec.get("version"),
            "KubeadmConfigTemplate": _template_spec(config),
            **_original(infrastructure),
            "template": {
                key: value
                for key, value in spec.items()
                if key not in ("bootstrap", "infrastructureRef", "version", "clusterName")
            },
            "replicas": obj["spec"].get("replicas"),
            "strategy": obj["spec"].get("strategy"),
            "rolloutAfter": obj["spec"].get("rolloutAfter"),
        }
    found: dict[str, Any] = {}
    for obj in api.list(DEV_CLUSTERS, where, label):
        found = dict(obj["spec"].get(ORIGINAL) or {})
    return Rendered(pools, found)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """``path: old → new`` for all that differs, values shortened, and secret ones left out."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif old != new:
        yield f"{path}: {_shown(path, old)} → {_shown(path, new)}"


def reasons(before: Rendered, after: Rendered) -> dict[PoolKey, tuple[str, ...]]:
    """What differs, per pool that is there before and after."""
    return {
        pool: tuple(differences(before.pools[pool], after.pools[pool]))
        for pool in sorted(before.pools.keys() & after.pools.keys())
        if before.pools[pool] != after.pools[pool]
    }


def empty(rendered: Rendered) -> Iterator[str]:
    """Places where a patch's template has put the words that Go has for a variable that is not there."""
    for pool, parts in sorted(rendered.pools.items()):
        for path in _holding(NO_VALUE, parts):
            yield f"{pool.pool or 'control plane'}: {path}"
    for path in _holding(NO_VALUE, rendered.infrastructure):
        yield f"infrastructure: {path}"


def _holding(word: str, value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in sorted(value.items()):
            yield from _holding(word, item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _holding(word, item, f"{path}[{index}]")
    elif isinstance(value, str) and word in value:
        yield path


def _original(template: Object | None) -> dict[str, Any]:
    """Real kind → its spec, of the in-memory template that stands for it."""
    return dict(_template_spec(template).get(ORIGINAL) or {})


def _template_spec(template: Object | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (((template or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    return found


def _shown(path: str, value: Any) -> str:
    if value is None:
        return "none"
    if _SECRET.search(path.rpartition(".")[2]) or (isinstance(value, list | dict) and _holds_secret(value)):
        return "(not shown)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_SECRET.search(str(key)) or _holds_secret(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_secret(item) for item in value)
