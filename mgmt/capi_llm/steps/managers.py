"""Cluster API on a cluster of pods: its objects, then each of its managers."""

from __future__ import annotations

from capi_llm import versions
from capi_llm.contract import workloads
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import DEPLOYMENTS, PODS, Object
from capi_llm.steps import budgets, components
from capi_llm.steps.choices import Choices
from capi_llm.steps.cluster_api import Recorded, unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.kind_cluster import SOCKET_LABEL
from capi_llm.steps.webhook_certs import authority, folder
from capi_llm.waiting import Status


class ClusterApiObjects(Recorded):
    """CRDs, RBAC, Services and webhooks of Cluster API, and with cert-manager its Certificates."""

    name = "cluster-api"

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def objects(self, ctx: Context) -> list[Object]:
        return components.load(folder(ctx), authority=_authority(ctx), node_label=_node_label(ctx))

    def key(self, ctx: Context) -> str:
        return components.fingerprint(folder(ctx), _authority(ctx), _node_label(ctx))


class Manager(Step):
    """The Deployment of one manager is as it is to be, and available."""

    interval = 1.0
    timeout = budgets.MANAGER

    def __init__(self, name: str, needs: tuple[str, ...]) -> None:
        self.name = name
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        wanted = self._wanted(ctx)
        in_place = unapplied(apply(ctx.api(), [wanted], dry_run=True))
        if not in_place.ready:
            return in_place
        status = workloads.of(ctx.api().get(DEPLOYMENTS.ref(wanted)))
        return status if status.ready else self._held(ctx, wanted) or status

    def apply(self, ctx: Context) -> None:
        apply(ctx.api(), [self._wanted(ctx)])

    def _wanted(self, ctx: Context) -> Object:
        return components.deployment(folder(ctx), self.name, node_label=_node_label(ctx))

    def _held(self, ctx: Context, wanted: Object) -> Status | None:
        """What its pod waits for or fails on, where it says so: an image, a mount, a crash."""
        labels = ",".join(f"{key}={value}" for key, value in (workloads.selector(wanted) or {}).items())
        for pod in ctx.api().list(PODS, wanted["metadata"]["namespace"], labels):
            status = workloads.pod(pod)
            if not status.ready:
                return status
        return None


def pods_of(manager: str) -> tuple[str, str]:
    """Namespace and label selector of a manager's pods."""
    return _PODS[manager]


_PODS = {
    "capi-core": ("capi-system", "cluster.x-k8s.io/provider=cluster-api"),
    "capi-bootstrap": ("capi-kubeadm-bootstrap-system", "cluster.x-k8s.io/provider=bootstrap-kubeadm"),
    "capi-control-plane": (
        "capi-kubeadm-control-plane-system",
        "cluster.x-k8s.io/provider=control-plane-kubeadm",
    ),
    "capi-docker": ("capd-system", "cluster.x-k8s.io/provider=infrastructure-docker"),
}
assert set(_PODS) == set(components.FILES) == set(versions.CLUSTER_API_IMAGES)


def _authority(ctx: Context) -> str:
    choices = Choices.of(ctx.identity)
    return ctx.once("authority", lambda: authority(ctx.api())) if choices.webhook_certs == "self" else ""


def _node_label(ctx: Context) -> str:
    return SOCKET_LABEL if ctx.identity.kind == "kind" else ""
