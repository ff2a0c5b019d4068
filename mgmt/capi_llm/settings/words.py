"""The words about a cluster: the same in ``new-cluster -f FILE`` and in ``cluster:`` of capi-llm.yaml.

One table says how each is checked, what it is without anybody saying it, and what it means.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from capi_llm import versions
from capi_llm.fields.quantities import DEFAULT_WORKERS
from capi_llm.settings import kinds
from capi_llm.settings.kinds import Kind

DEFAULT_NAMESPACE = "default"
DEFAULT_PODS = "192.168.0.0/16"
DEFAULT_SERVICES = "10.96.0.0/24"
DEFAULT_DOMAIN = "cluster.local"
DEFAULT_CONTROL_PLANE = 1
DEFAULT_CPU = "2"
DEFAULT_MEMORY = "4Gi"


class Word(NamedTuple):
    """One word: its field in :class:`~capi_llm.clusters.spec.Given`, kind, default and meaning."""

    word: str
    field: str
    kind: Kind
    default: Any
    help: str


CLUSTER = (
    Word("class", "cluster_class", kinds.CLASS, None, "ClusterClass, NAME or NAMESPACE/NAME"),
    Word("namespace", "namespace", kinds.NAME, DEFAULT_NAMESPACE, "namespace of the Cluster object"),
    Word("version", "version", kinds.KUBERNETES, versions.WORKLOAD_KUBERNETES, "Kubernetes of the cluster"),
    Word("pods", "pods", kinds.NETWORK, DEFAULT_PODS, "pod network"),
    Word("services", "services", kinds.NETWORK, DEFAULT_SERVICES, "service network"),
    Word("serviceDomain", "service_domain", kinds.DOMAIN, DEFAULT_DOMAIN, "DNS domain of Services"),
    Word(
        "controlPlane", "control_plane", kinds.CONTROL_PLANE, DEFAULT_CONTROL_PLANE, "control-plane machines"
    ),
    Word("workers", "workers", kinds.WORKERS, DEFAULT_WORKERS, "first pool: MIN..MAX, or a fixed number"),
    Word("cpu", "cpu", kinds.CPU, DEFAULT_CPU, "CPUs that an autoscaler takes a worker to have"),
    Word(
        "memory", "memory", kinds.MEMORY, DEFAULT_MEMORY, "memory that an autoscaler takes a worker to have"
    ),
    Word("labels", "labels", kinds.LABELS, None, "labels of the Cluster object"),
    Word("variables", "variables", kinds.VARIABLES, None, "variables of the ClusterClass"),
)
"""What both files can say."""

FORMER = {"service-domain": "serviceDomain", "control-plane": "controlPlane"}
"""Earlier spellings that ClusterSpec files and the annotation of older clusters may have."""
