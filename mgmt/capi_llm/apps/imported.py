"""What stands for a cluster on its plane beside Cluster API: its import in Rancher, its Fleet Cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from capi_llm.apps.fleet.kinds import FLEET_CLUSTERS
from capi_llm.clusters.view import ClusterView, Node
from capi_llm.contract import fleet, rancher
from capi_llm.errors import NotFound
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CAPI_PROVIDERS,
    NAMESPACES,
    RANCHER_CLUSTERS,
    RANCHER_SETTINGS,
    Object,
    Ref,
    Resource,
)
from capi_llm.waiting import Status

CONFIGS = Resource(
    "addons.cluster.x-k8s.io", "v1alpha1", "fleetaddonconfigs", "FleetAddonConfig", namespaced=False
)
PROVIDER = Ref(CAPI_PROVIDERS, "fleet", "fleet-addon-system")

_SETTINGS = ("server-url", "agent-tls-mode", "cacerts")


@dataclass(frozen=True)
class Beside:
    """What of Rancher and Fleet is on a plane; None for what is not there at all."""

    rancher: Sequence[Object] | None
    fleet: Sequence[Object] | None
    namespaces: Sequence[Object] = ()
    settings: tuple[tuple[str, str], ...] = ()
    provider: Object | None = None
    config: Object | None = None

    def nodes(self, cluster: Object) -> tuple[Node, ...]:
        """Lines on ``cluster``, which is one of Cluster API; none where neither is there."""
        found = []
        name = str(cluster["metadata"]["name"])
        where = str(cluster["metadata"].get("namespace") or "default")
        own = next((obj for obj in self.fleet or () if _named(obj, where, name)), None)
        if self.rancher is not None:
            space = next((obj for obj in self.namespaces if obj["metadata"]["name"] == where), None)
            stands = rancher.of_cluster(cluster, self.rancher)
            found.append(Node("Rancher", rancher.imported(cluster, space, stands, dict(self.settings))))
            status = rancher.fleet_cluster(cluster, own, provider=self.provider, config=self.config)
            found.append(Node("Fleet Cluster", status))
        elif own is not None:
            found.append(Node("Fleet Cluster", fleet.agent(own)))
        return tuple(found)


def collect(source: Api | Informers) -> Beside:
    """What is there now, asked for or as the informers know it."""
    api = source.api if isinstance(source, Informers) else source
    managed = _listed(source, RANCHER_CLUSTERS)
    if managed is None:
        return Beside(None, _listed(source, FLEET_CLUSTERS))
    settings = {name: api.find(Ref(RANCHER_SETTINGS, name)) or {} for name in _SETTINGS}
    return Beside(
        managed,
        _listed(source, FLEET_CLUSTERS),
        _listed(source, NAMESPACES) or (),
        tuple((name, str(obj.get("value") or obj.get("default") or "")) for name, obj in settings.items()),
        api.find(PROVIDER),
        api.find(Ref(CONFIGS, "fleet-addon-config")),
    )


def add(beside: Beside, clusters: Iterable[Object], views: Iterable[ClusterView]) -> list[ClusterView]:
    """``views`` with what stands beside each; one that is ready but for that is not ready."""
    by_key = {
        (obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]): obj for obj in clusters
    }
    found = []
    for view in views:
        nodes = beside.nodes(by_key[view.namespace, view.name])
        wrong = verdict(nodes)
        status = wrong if wrong is not None and view.status.ready else view.status
        found.append(replace(view, beside=nodes, status=status))
    return found


def verdict(nodes: Iterable[Node]) -> Status | None:
    """The first of ``nodes`` that is not ready, in words that name it; None where all are."""
    for node in nodes:
        if not node.status.ready:
            return replace(node.status, message=f"{node.label}: {node.status.message}")
    return None


def _listed(source: Api | Informers, resource: Resource) -> Sequence[Object] | None:
    try:
        if isinstance(source, Informers):
            return source.of(resource).items()
        return source.list(resource, slim=True)
    except NotFound:
        return None


def _named(obj: Object, namespace: str, name: str) -> bool:
    metadata = obj["metadata"]
    return bool(metadata["name"] == name and (metadata.get("namespace") or "default") == namespace)
