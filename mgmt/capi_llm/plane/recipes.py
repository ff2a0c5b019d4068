"""The recipe of every kind of plane: which steps there are, and what each one needs.

A recipe is a literal tuple, in the order in which things are there; a step starts as soon as
the steps that it needs are ready. A plane of kind ``kind`` or ``existing`` is a ground (how its
API server comes about), and on it what the plane's choices ask for.
"""

from __future__ import annotations

from collections.abc import Sequence

from capi_llm import compatibility
from capi_llm.errors import Refused
from capi_llm.identity import Identity
from capi_llm.plane import rancher
from capi_llm.sandbox.parts import MANAGERS, PROVIDER
from capi_llm.settings import Provider
from capi_llm.steps import management_cluster, provider_manifests
from capi_llm.steps.certificates import Certificates
from capi_llm.steps.choices import Choices
from capi_llm.steps.classes import ClusterClasses
from capi_llm.steps.cluster_api import ClusterApi
from capi_llm.steps.docker import DockerNetwork, DockerRuns
from capi_llm.steps.engine import Recipe, Step
from capi_llm.steps.executables import Executables
from capi_llm.steps.found import DOCKER
from capi_llm.steps.images import Images, LoadedImages, NodeImage
from capi_llm.steps.kind_cluster import KindCluster
from capi_llm.steps.kwok_provider import ProviderKinds
from capi_llm.steps.management_cluster import ExistingCluster
from capi_llm.steps.managers import ClusterApiObjects, Manager
from capi_llm.steps.processes import ApiServer, Process, SupervisorRuns
from capi_llm.steps.simulated_node import SimulatedNode
from capi_llm.steps.there import PROVIDERS, IfThere, UnlessThere, WhatIsThere
from capi_llm.steps.webhook_certs import WebhookCertificates
from capi_llm.steps.workload_containers import WorkloadContainers

DEFAULT_CLASS = "kwok-llm-clusterclass"
"""Class of a cluster that names none, on a sandbox: its API server is a real one, apps can be put there."""

IN_MEMORY_CLASS = "in-memory-llm-clusterclass"
"""For many machines and rollouts of control planes: no process of its own for each cluster."""

DOCKER_CLASS = "docker-llm-clusterclass"
"""Class of a cluster that names none, on a plane of kind ``kind``: machines are containers."""

CLASS_NAMESPACE = "default"
"""Where bootstrap puts the shipped classes."""

SANDBOX: Recipe = (
    Executables(),
    Certificates(),
    SupervisorRuns(needs=("executables", "certificates")),
    Process("etcd", needs=("supervisor",)),
    ApiServer(needs=("etcd",)),
    Process("kube-controller-manager", needs=("kube-apiserver",)),
    Process("kube-scheduler", needs=("kube-apiserver",)),
    Process("kwok", needs=("kube-apiserver",)),
    SimulatedNode(needs=("kwok",)),
    ClusterApi(needs=("kube-apiserver",)),
    Process("capi-core", needs=("cluster-api",)),
    Process("capi-bootstrap", needs=("cluster-api",)),
    Process("capi-control-plane", needs=("cluster-api",)),
    Process("capi-docker", needs=("cluster-api",)),
    ProviderKinds(needs=("kube-apiserver",)),
    Process(PROVIDER, needs=("cluster-api", "kwok-kinds")),
    ClusterClasses((IN_MEMORY_CLASS, DEFAULT_CLASS), needs=(*MANAGERS, "kwok-kinds")),
)

PROGRAMS = ("kubectl", "helm", "capi-components")
"""Parts that every plane on a cluster is made with."""


def kind(*, upgrade: bool = False) -> Recipe:
    """A cluster of kind, with the images of what comes onto it."""
    return (
        Executables((*PROGRAMS, "kind")),
        DockerRuns(),
        DockerNetwork(),
        NodeImage(),
        Images(upgrade=upgrade),
        KindCluster(),
        WorkloadContainers(),
        LoadedImages(upgrade=upgrade),
    )


EXISTING: Recipe = (
    Executables(PROGRAMS),
    ExistingCluster(),
)

KINDS = ("sandbox", "kind", "existing")


def of(identity: Identity, *, upgrade: bool = False, more: Sequence[Provider] = ()) -> Recipe:
    """The recipe of a plane; with ``upgrade``, one that takes older versions of ours to this one's.

    ``more`` are providers of Cluster API that the settings add; a sandbox has none of them. Raises Refused
    or BadInput for a combination that there is no recipe for.
    """
    check_kind(identity)
    if identity.kind == "sandbox":
        return SANDBOX
    choices = Choices.of(identity)
    if choices.rancher:
        classes = ClusterClasses((DOCKER_CLASS,), needs=MANAGERS[1:])
        above: Recipe = (*rancher.recipe(choices, upgrade=upgrade, more=more), classes)
    else:
        above = without_rancher(identity.kind, choices, upgrade=upgrade, more=more)
    ground = kind(upgrade=upgrade) if identity.kind == "kind" else EXISTING
    return (*ground, *above)


def without_rancher(
    on: str, choices: Choices, *, upgrade: bool = False, more: Sequence[Provider] = ()
) -> Recipe:
    """Cluster API alone, and what the choices put beside it; what is there already is left as it is."""
    certificates: Step = (
        rancher.cert_manager(needs=(management_cluster.NAME,), upgrade=upgrade)
        if choices.webhook_certs == "cert-manager"
        else WebhookCertificates()
    )
    images = ("loaded-images",) if on == "kind" else ()
    own: Recipe = (
        certificates,
        ClusterApiObjects(needs=(certificates.name,), upgrade=upgrade),
        *(Manager(name, needs=("cluster-api", *images), upgrade=upgrade) for name in MANAGERS),
    )
    classes: Step = ClusterClasses((DOCKER_CLASS,), needs=MANAGERS)
    look: Recipe = ()
    if on == "existing":
        # What others have brought is used; on a kind plane everything is ours.
        look = (WhatIsThere(compatibility.WITHOUT_RANCHER, needs=(management_cluster.NAME,)),)
        own = tuple(UnlessThere(step, PROVIDERS) for step in own)
        classes = IfThere(classes, DOCKER)
    after = look[0].name if look else management_cluster.NAME
    fleet = rancher.fleet(choices, needs=(after,), upgrade=upgrade) if choices.delivery == "fleet" else ()
    others = provider_manifests.without_rancher(
        more,
        needs=(certificates.name, "cluster-api"),
        own_certificates=choices.webhook_certs == "self",
        upgrade=upgrade,
    )
    return (*look, *own, classes, *others, *fleet)


def default_class(kind: str) -> str:
    """The class of a cluster that names none, on a plane of ``kind``."""
    return DEFAULT_CLASS if kind == "sandbox" else DOCKER_CLASS


def check_kind(identity: Identity) -> None:
    """Raise Refused where the plane is of a kind that this capi-llm does not know."""
    if identity.kind not in KINDS:
        raise Refused(
            f"plane {identity.name!r} is of kind {identity.kind!r}, which this capi-llm does not know",
            why=f"it knows: {', '.join(KINDS)}",
            fix="use the capi-llm that made it",
        )
