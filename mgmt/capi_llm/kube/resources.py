"""Which kinds of objects there are, and how one object is named.

A :class:`Resource` is one row of ``kubectl api-resources``; a :class:`Ref` names one
object of it. Versions are fixed here on purpose: several API groups have ``clusters``,
and a Cluster is always asked for as ``cluster.x-k8s.io/v1beta1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True)
class Resource:
    """A kind of object at one version of its API. ``group`` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """URL path of one object, or of the list where ``name`` is None.

        Without ``namespace``, a list spans all namespaces.
        """
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace and self.namespaced:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        if name:
            path += f"/{quote(name, safe='')}"
        return path

    def ref(self, obj: Object) -> Ref:
        """The name of ``obj``, which is of this kind; a missing namespace means ``default``."""
        metadata = obj.get("metadata") or {}
        namespace = (metadata.get("namespace") or "default") if self.namespaced else None
        return Ref(self, metadata.get("name") or "", namespace)

    def typed(self, obj: Object) -> Object:
        """``obj`` with apiVersion and kind."""
        return {"apiVersion": self.api_version, "kind": self.kind} | obj

    def items(self, page: Object, *, slim: bool = False) -> list[Object]:
        """The objects of a list, of which only the list itself carries the kind; ``slim``: without
        managedFields."""
        items = page.get("items") or []
        if slim:
            for item in items:
                item["metadata"].pop("managedFields", None)
        return [self.typed(item) for item in items]

    def in_words(self, namespace: str | None) -> str:
        """The list of this kind, for messages."""
        return f"{self} in {namespace}" if namespace and self.namespaced else str(self)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Ref:
    """The name of one object. Prints as ``Cluster default/demo``."""

    resource: Resource
    name: str
    namespace: str | None = None

    @property
    def path(self) -> str:
        """URL path of the object; of a namespaced kind without namespace, in ``default``."""
        namespace = (self.namespace or "default") if self.resource.namespaced else None
        return self.resource.path(namespace, self.name)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace and self.resource.namespaced else ""
        return f"{self.resource.kind} {where}{self.name}"


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
SERVICES = Resource("", "v1", "services", "Service")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

_CAPI = "cluster.x-k8s.io"
CLUSTERS = Resource(_CAPI, "v1beta1", "clusters", "Cluster")
CLUSTER_CLASSES = Resource(_CAPI, "v1beta1", "clusterclasses", "ClusterClass")
MACHINE_DEPLOYMENTS = Resource(_CAPI, "v1beta1", "machinedeployments", "MachineDeployment")
MACHINE_SETS = Resource(_CAPI, "v1beta1", "machinesets", "MachineSet")
MACHINES = Resource(_CAPI, "v1beta1", "machines", "Machine")
RANCHER_CLUSTERS = Resource("management.cattle.io", "v3", "clusters", "Cluster", namespaced=False)
RANCHER_SETTINGS = Resource("management.cattle.io", "v3", "settings", "Setting", namespaced=False)
CAPI_PROVIDERS = Resource("turtles-capi.cattle.io", "v1alpha1", "capiproviders", "CAPIProvider")
KUBEADM_CONTROL_PLANES = Resource(
    f"controlplane.{_CAPI}", "v1beta1", "kubeadmcontrolplanes", "KubeadmControlPlane"
)
