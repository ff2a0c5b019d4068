"""What is on a management cluster already, and who owns it.

A thing is known by its Deployment, or where that is gone by its CustomResourceDefinitions. Its owner
is who would undo a change of ours: a Helm release (``meta.helm.sh/release-name``), the Cluster API
operator or Turtles (an owner reference of theirs), clusterctl (its inventory), or somebody unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm.contract import helm
from capi_llm.errors import NotFound
from capi_llm.kube.apply import MANAGER
from capi_llm.kube.client import CHUNK, Api
from capi_llm.kube.resources import CRDS, DEPLOYMENTS, Object, Ref, Resource

CERT_MANAGER = "cert-manager"
RANCHER = "Rancher"
TURTLES = "Turtles"
FLEET = "Fleet"
NGROK = "ngrok operator"
CORE = "Cluster API core"
KUBEADM_BOOTSTRAP = "kubeadm bootstrap provider"
KUBEADM_CONTROL_PLANE = "kubeadm control plane provider"
DOCKER = "Docker provider"
CAAPF = "Fleet add-on provider"

PROVIDERS = Resource("clusterctl.cluster.x-k8s.io", "v1alpha3", "providers", "Provider")
"""clusterctl's inventory."""

OURS = "of capi-llm"

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_CAPI_PROVIDER = "cluster.x-k8s.io/provider"


@dataclass(frozen=True)
class Signs:
    """How software is known: names of its Deployment, one of its CRDs, its provider label."""

    deployments: tuple[str, ...]
    crd: str
    provider: str = ""


SOFTWARE: Mapping[str, Signs] = {
    CERT_MANAGER: Signs(("cert-manager",), "certificates.cert-manager.io"),
    RANCHER: Signs(("rancher",), "settings.management.cattle.io"),
    TURTLES: Signs(("rancher-turtles-controller-manager",), "capiproviders.turtles-capi.cattle.io"),
    FLEET: Signs(("fleet-controller",), "bundles.fleet.cattle.io"),
    NGROK: Signs(("ngrok-operator-manager",), "domains.ingress.k8s.ngrok.com"),
    CORE: Signs(("capi-controller-manager",), "clusters.cluster.x-k8s.io", "cluster-api"),
    KUBEADM_BOOTSTRAP: Signs(
        ("capi-kubeadm-bootstrap-controller-manager",),
        "kubeadmconfigs.bootstrap.cluster.x-k8s.io",
        "bootstrap-kubeadm",
    ),
    KUBEADM_CONTROL_PLANE: Signs(
        ("capi-kubeadm-control-plane-controller-manager",),
        "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io",
        "control-plane-kubeadm",
    ),
    DOCKER: Signs(
        ("capd-controller-manager",),
        "dockerclusters.infrastructure.cluster.x-k8s.io",
        "infrastructure-docker",
    ),
    CAAPF: Signs(
        ("caapf-controller-manager",), "fleetaddonconfigs.addons.cluster.x-k8s.io", "addon-rancher-fleet"
    ),
}


@dataclass(frozen=True)
class Installed:
    """One thing that is there. ``runs`` is false where only its CRDs are left."""

    what: str
    where: Ref
    version: str
    owner: str
    runs: bool = True
    release: str = ""
    """``NAMESPACE/NAME`` of the Helm release that it is of."""

    def __str__(self) -> str:
        text = f"{self.what} {self.version or 'of unknown version'}"
        return f"{text}, {self.owner}" if self.owner else text


def on(api: Api) -> dict[str, list[Installed]]:
    """All of :data:`SOFTWARE` that is there, by name; more than one where it is there several times."""
    deployments = api.list(DEPLOYMENTS)
    crds = {item["metadata"]["name"]: item for item in _metadata(api, CRDS.path())}
    inventory = {
        str(item.get("providerName")): item for item in _items(api, PROVIDERS) if item.get("providerName")
    }
    found: dict[str, list[Installed]] = {}
    for what, signs in SOFTWARE.items():
        here = [deployment for deployment in deployments if _is(deployment, signs)]
        installed = [of_deployment(what, item, inventory) for item in here]
        if not installed and signs.crd in crds:
            crd = crds[signs.crd]
            of = owner(crd, what, inventory)
            left = Installed(what, Ref(CRDS, signs.crd), "", of, runs=False, release=helm.owner(crd))
            installed = [left]
        if installed:
            found[what] = installed
    return found


def of_deployment(what: str, obj: Object, inventory: Mapping[str, Any]) -> Installed:
    """What a Deployment says of the software it runs. Pure."""
    metadata = obj["metadata"]
    where = Ref(DEPLOYMENTS, str(metadata["name"]), str(metadata.get("namespace") or "default"))
    return Installed(what, where, version_of(obj), owner(obj, what, inventory), release=helm.owner(obj))


def version_of(deployment: Object) -> str:
    """The tag of its first image; without one, what its label ``app.kubernetes.io/version`` says."""
    containers = (((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers")
    image = str((containers or [{}])[0].get("image") or "").partition("@")[0]
    tag = image.rpartition("/")[2].partition(":")[2]
    labels = (deployment.get("metadata") or {}).get("labels") or {}
    return tag or str(labels.get("app.kubernetes.io/version") or "")


def owner(obj: Object, what: str, inventory: Mapping[str, Any]) -> str:
    """Who put ``obj`` there, in words; empty where nothing says it. Pure."""
    if release := helm.owner(obj):
        return f"of Helm release {release}"
    metadata = obj.get("metadata") or {}
    managers = {
        entry.get("manager")
        for entry in metadata.get("managedFields") or []
        if entry.get("operation") == "Apply"
    }
    if MANAGER in managers:
        return OURS
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("kind") == "CAPIProvider":
            return f"of CAPIProvider {reference.get('name')}, so of Turtles"
        if str(reference.get("apiVersion", "")).startswith("operator.cluster.x-k8s.io/"):
            return f"of {reference.get('kind')} {reference.get('name')}, so of the Cluster API operator"
    provider = SOFTWARE[what].provider
    labels = metadata.get("labels") or {}
    if provider and provider in inventory:
        return "of clusterctl"
    if provider and "clusterctl.cluster.x-k8s.io" in labels and provider not in inventory:
        return "of clusterctl's manifests, applied by somebody"
    return ""


def _is(deployment: Object, signs: Signs) -> bool:
    name = str(deployment["metadata"]["name"])
    labels = deployment["metadata"].get("labels") or {}
    if signs.provider and labels.get(_CAPI_PROVIDER) == signs.provider:
        return True
    return name in signs.deployments


def _items(api: Api, resource: Resource) -> list[Object]:
    try:
        return api.list(resource, slim=True)
    except NotFound:
        return []


def _metadata(api: Api, path: str) -> Iterable[Any]:
    query = {"limit": str(CHUNK)}
    while True:
        page = api.request("GET", path, query=query, what="can not list", accept=_METADATA)
        yield from page.get("items") or []
        token = page["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token
