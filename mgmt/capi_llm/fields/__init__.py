"""One value at a time: is it well formed, and if not, which one was probably meant.

Pure. Flags, files and the environment are all checked by these. Every function takes
``where``, the place that a person reads (``--pods``, ``demo.yaml:7: pools[0].workers``,
``CAPI_LLM_CLUSTER_PODS``), and raises BadInput that begins with it::

    names       labels and domains of RFC 1123, labels of Kubernetes; the nearest known word
    addresses   CIDRs, and whether they keep apart
    quantities  versions, CPUs, memory, numbers of machines
    images      container images, contexts of a kubeconfig
    pairs       KEY=VALUE of the command line
"""

from capi_llm.fields.addresses import HostNetwork, apart, cidr, network, networks, web_address
from capi_llm.fields.images import context, image
from capi_llm.fields.names import (
    class_name,
    dns_label,
    dns_subdomain,
    hostname,
    label,
    nearest,
    secret,
    unknown,
)
from capi_llm.fields.pairs import key_value, plain_value, variables
from capi_llm.fields.quantities import (
    MOST_MACHINES,
    Range,
    control_plane,
    cpu,
    kubernetes_version,
    memory,
    node_kubernetes,
    rancher_version,
    workers,
)

__all__ = [
    "MOST_MACHINES",
    "HostNetwork",
    "Range",
    "apart",
    "cidr",
    "class_name",
    "context",
    "control_plane",
    "cpu",
    "dns_label",
    "dns_subdomain",
    "hostname",
    "image",
    "key_value",
    "kubernetes_version",
    "label",
    "memory",
    "nearest",
    "network",
    "networks",
    "node_kubernetes",
    "plain_value",
    "rancher_version",
    "secret",
    "unknown",
    "variables",
    "web_address",
    "workers",
]
