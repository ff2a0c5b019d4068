"""A Fleet Cluster for a Cluster of Cluster API, on planes where nobody else makes it.

With Rancher, its add-on provider for Fleet (or Rancher itself, from 2.14.1 on) registers clusters.
Elsewhere we do: a Fleet ``Cluster`` of the same name and namespace and with the same labels and that of its
Kubernetes, whose
``kubeConfigSecret`` is the Secret ``NAME-kubeconfig`` that Cluster API writes. Fleet installs its
agent with it. The Cluster of Cluster API owns it, so it goes when that one goes.
"""

from __future__ import annotations

from capi_llm.apps.fleet.kinds import BUNDLES, FLEET_CLUSTERS
from capi_llm.contract import rollout
from capi_llm.errors import NotFound, PrerequisiteMissing
from capi_llm.kube.apply import Applied, apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, CRDS, Object, Ref

ADD_ON_PROVIDER = "fleetaddonconfigs.addons.cluster.x-k8s.io"
RANCHER = "clusters.management.cattle.io"
"""CustomResourceDefinitions that are there where somebody else registers clusters."""

_OTHERS = {ADD_ON_PROVIDER: "the Cluster API add-on provider for Fleet", RANCHER: "Rancher"}


def require_fleet(api: Api) -> None:
    """Raise PrerequisiteMissing where the plane has no Fleet."""
    if api.find(Ref(CRDS, str(BUNDLES))) is None:
        raise PrerequisiteMissing(
            "this plane has no Fleet",
            why=f"there is no CustomResourceDefinition {BUNDLES}",
            fix="install Fleet, or leave delivery to capi-llm: apps.delivery: direct",
        )


def registrar(api: Api) -> str:
    """Who registers clusters with Fleet on this plane; empty where nobody does, so that we have to."""
    return next((name for crd, name in _OTHERS.items() if api.find(Ref(CRDS, crd)) is not None), "")


def manifest(cluster: Object) -> Object:
    """The Fleet Cluster of ``cluster``, which is one of Cluster API."""
    metadata, kubernetes = cluster["metadata"], rollout.kubernetes(cluster)
    # Of the cluster as it is by now, whatever its own label still says.
    own = {rollout.KUBERNETES: kubernetes} if kubernetes else {}
    return {
        "apiVersion": FLEET_CLUSTERS.api_version,
        "kind": FLEET_CLUSTERS.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata.get("namespace") or "default",
            "labels": dict(metadata.get("labels") or {}) | own,
            "ownerReferences": [
                {
                    "apiVersion": cluster["apiVersion"],
                    "kind": cluster["kind"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": {"kubeConfigSecret": f"{metadata['name']}-kubeconfig"},
    }


def register(api: Api, name: str, namespace: str = "default") -> Applied | None:
    """Register cluster ``name`` with Fleet; None where somebody else does that.

    Writes nothing where it is registered already as it is. Raises NotFound where Cluster API has no such
    cluster, PrerequisiteMissing without Fleet.
    """
    require_fleet(api)
    cluster = api.find(Ref(CLUSTERS, name, namespace))
    if cluster is None:
        raise NotFound("there is no such cluster", on=f"cluster {namespace}/{name}", fix="capi-llm status")
    if registrar(api):
        return None
    return apply(api, [manifest(cluster)])[0]
