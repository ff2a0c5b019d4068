"""What Fleet says of clusters: their agents, and every bundle on them, whoever made it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from capi_llm.apps.fleet.kinds import (
    BUNDLE_DEPLOYMENTS,
    CLUSTER_NAME,
    CLUSTER_NAMESPACE,
    CONFIG,
    FLEET_CLUSTERS,
)
from capi_llm.clusters.view import Node
from capi_llm.contract import fleet
from capi_llm.errors import NotFound
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object
from capi_llm.waiting import Status


@dataclass(frozen=True)
class FleetView:
    """A Fleet Cluster: how its agent is, and how each bundle is on it, by the bundle's name."""

    name: str
    namespace: str
    agent: Status
    bundles: tuple[tuple[str, Status], ...]

    def node(self) -> Node:
        """Lines for people."""
        deployments = tuple(Node(f"BundleDeployment {name}", status) for name, status in self.bundles)
        return Node(f"Fleet Cluster {self.namespace}/{self.name}", self.agent, deployments)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "agent": _as_json(self.agent),
            "bundles": [{"name": name, **_as_json(status)} for name, status in self.bundles],
        }


def look(api: Api, clusters: Collection[tuple[str, str]]) -> tuple[FleetView, ...]:
    """What Fleet says of ``clusters``, by namespace and name; nothing of those it does not know."""
    try:
        registered = api.list(FLEET_CLUSTERS)
        deployments = api.list(BUNDLE_DEPLOYMENTS)
    except NotFound:
        return ()  # no Fleet here
    every = fleet.check_in(api.find(CONFIG))
    on: dict[tuple[str, str], list[Object]] = {}
    for bd in deployments:
        labels = bd["metadata"].get("labels") or {}
        on.setdefault((labels.get(CLUSTER_NAMESPACE, ""), labels.get(CLUSTER_NAME, "")), []).append(bd)
    found = []
    for obj in registered:
        key = str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])
        if key in clusters:
            bundles = tuple(
                (str(bd["metadata"]["name"]), fleet.bundle_deployment(bd)) for bd in on.get(key, ())
            )
            found.append(FleetView(key[1], key[0], fleet.agent(obj, every=every), bundles))
    return tuple(found)


def _as_json(status: Status) -> dict[str, str]:
    return {"state": status.state.value, "message": status.message, "cause": status.cause, "fix": status.fix}
