"""Names and versions of what the run builds, as kind, kubeadm, Cluster API and the product ask for it."""

from __future__ import annotations

from capi_llm import versions

KUBERNETES = versions.KUBERNETES
UPGRADE = "v1.33.13"
"""Workload clusters begin with the first and are upgraded to the second. Both are Go module graphs here."""

ETCD = {KUBERNETES: "3.5.16-0", UPGRADE: "3.5.24-0"}
COREDNS = {KUBERNETES: "v1.11.3", UPGRADE: "v1.12.0"}
"""The tags that each version's kubeadm asks for (`kubeadm config images list`); what is in the images is
versions.ETCD and COREDNS_BUILT."""
COREDNS_BUILT = "v1.12.0"
PAUSE = "3.10"

CNI_PLUGINS = "v1.7.1"
"""As in kind's node image (https://github.com/kubernetes-sigs/kind/blob/v0.30.0/images/base/Dockerfile)."""
LOCAL_PATH = versions.BUNDLES["local-path-storage"]
"""That of our bundle; under the tag of kind's own image, too."""

REGISTRY = "registry.k8s.io"
HAPROXY = "kindest/haproxy:v20230606-42a2262b"
"""Load balancer of Cluster API's Docker provider
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/docker/internal/loadbalancer/const.go)."""

CAPI = versions.CLUSTER_API
MANAGERS = {
    "capi-core": f"{REGISTRY}/cluster-api/cluster-api-controller:{CAPI}",
    "capi-bootstrap": f"{REGISTRY}/cluster-api/kubeadm-bootstrap-controller:{CAPI}",
    "capi-control-plane": f"{REGISTRY}/cluster-api/kubeadm-control-plane-controller:{CAPI}",
    "capi-docker": f"gcr.io/k8s-staging-cluster-api/capd-manager:{CAPI}",
}


def node(version: str) -> str:
    """The node image's name, which the Docker provider makes from the Kubernetes version too."""
    return f"kindest/node:{version}"


def on_any_node(version: str) -> tuple[str, str]:
    """kube-proxy and CoreDNS of ``version``: during an upgrade they run on nodes of the other one too. A
    registry would have them."""
    return f"{REGISTRY}/kube-proxy:{version}", f"{REGISTRY}/coredns/coredns:{COREDNS[version]}"
