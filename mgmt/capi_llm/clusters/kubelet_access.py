"""That the API servers of an upgraded control plane may speak with kubelets.

Newer patches of kubeadm (1.33.13 is one) issue the certificate by which an API server speaks with kubelets
for the user alone, without group ``kubeadm:cluster-admins``, and bind the user to ClusterRole
``system:kubelet-api-admin`` in ``init`` and ``upgrade apply``
(https://github.com/kubernetes/kubernetes/pull/138957). Machines of Cluster API only ever join, and it makes
the binding itself from v1.12.8 on (https://github.com/kubernetes-sigs/cluster-api/issues/13770). Under an
older one the upgrade of a cluster that began before stands still for ever after its first new machine:
KubeadmControlPlane does not reach etcd.
"""

from __future__ import annotations

from capi_llm.clusters import tree, workload
from capi_llm.contract import rollout
from capi_llm.errors import Unavailable
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, KUBEADM_CONTROL_PLANES, Ref, Resource
from capi_llm.waiting import Cancel

BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
NAME = "kubeadm:apiserver-kubelet-client"
"""As kubeadm calls it, so that a later one finds it."""

_BINDING = {
    "metadata": {"name": NAME},
    "roleRef": {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
    "subjects": [
        {"apiGroup": BINDINGS.group, "kind": "User", "name": "kube-apiserver-kubelet-client"},
    ],
}


def allow(management: Api, name: str, namespace: str, cancel: Cancel | None = None) -> str:
    """Make the binding on a workload cluster of kubeadm's where it is missing; returns what to say of it, if
    anything.

    In-memory machines have no kubelets. A cluster that does not answer here may answer to Cluster API, so
    that is said and not raised. Raises NotFound.
    """
    control_planes = management.list(KUBEADM_CONTROL_PLANES, namespace, f"{tree.CLUSTER_NAME}={name}")
    if not control_planes or rollout.in_memory(management.get(Ref(CLUSTERS, name, namespace))):
        return ""
    ref = Ref(BINDINGS, NAME)
    try:
        with workload.connected(management, name, namespace, cancel=cancel) as api:
            if api.find(ref) is not None:
                return ""
            api.create(BINDINGS, _BINDING)
    except Unavailable as error:
        return f"{error.brief}. Newer kubeadm counts on {ref}: make sure that it is there."
    return f"{ref} made in the cluster: newer kubeadm counts on it."
