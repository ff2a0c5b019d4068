"""Cluster API on a cluster of pods: its objects, then each of its managers."""

from __future__ import annotations

from capi_llm import versions
from capi_llm.contract import workloads
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import DEPLOYMENTS, PODS, Object
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.steps import budgets, components
from capi_llm.steps.choices import Choices
from capi_llm.steps.cluster_api import Recorded, unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.kind_cluster import SOCKET_LABEL
from capi_llm.steps.webhook_certs import authority, folder
from capi_llm.waiting import Status, ready


class ClusterApiObjects(Recorded):
    """CRDs, RBAC, Services and webhooks of Cluster API, and with cert-manager its Certificates.

    Those of another version are left as they are without ``upgrade``.
    """

    name = "cluster-api"
    version = versions.CLUSTER_API

    def __init__(self, needs: tuple[str, ...], *, upgrade: bool = False) -> None:
        self.needs = needs
        self._upgrade = upgrade

    def probe(self, ctx: Context) -> Status:
        return self._left(ctx) or super().probe(ctx)

    def glance(self, ctx: Context) -> Status:
        return self._left(ctx) or super().glance(ctx)

    def apply(self, ctx: Context) -> None:
        if self._left(ctx) is None:
            super().apply(ctx)

    def _left(self, ctx: Context) -> Status | None:
        other = kept_version(ctx, "capi-core", upgrade=self._upgrade)
        return ready(_left_as_it_is(other)) if other else None

    def objects(self, ctx: Context) -> list[Object]:
        return components.load(folder(ctx), authority=_authority(ctx), node_label=_node_label(ctx))

    def key(self, ctx: Context) -> str:
        return components.fingerprint(folder(ctx), _authority(ctx), _node_label(ctx))


class Manager(Step):
    """The Deployment of one manager is as it is to be, and available.

    One of another version is left as it is without ``upgrade``, and has to be available too.
    """

    interval = 1.0
    timeout = budgets.MANAGER
    version = versions.CLUSTER_API

    def __init__(self, name: str, needs: tuple[str, ...], *, upgrade: bool = False) -> None:
        self.name = name
        self.needs = needs
        self._upgrade = upgrade

    def probe(self, ctx: Context) -> Status:
        wanted = self._wanted(ctx)
        other = self._other(ctx)
        if not other:
            in_place = unapplied(apply(ctx.api(), [wanted], dry_run=True))
            if not in_place.ready:
                return in_place
        status = workloads.of(ctx.api().get(DEPLOYMENTS.ref(wanted)))
        if status.ready:
            return ready(_left_as_it_is(other)) if other else status
        return self._held(ctx, wanted) or status

    def apply(self, ctx: Context) -> None:
        if not self._other(ctx):
            apply(ctx.api(), [self._wanted(ctx)])

    def _other(self, ctx: Context) -> str:
        return kept_version(ctx, self.name, upgrade=self._upgrade)

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


def other_version(ctx: Context, manager: str) -> str:
    """The version of a manager that is there, where it is another than that of this capi-llm; else ""."""
    live = ctx.api().find(DEPLOYMENTS.ref(components.deployment(folder(ctx), manager)))
    if live is None:
        return ""
    image = str(live["spec"]["template"]["spec"]["containers"][0]["image"])
    tag = image.partition("@")[0].rpartition(":")[2]
    return tag if tag != versions.CLUSTER_API else ""


def kept_version(ctx: Context, manager: str, *, upgrade: bool) -> str:
    """The same where it stays as it is: an older one without ``upgrade``, a newer one always."""
    found = other_version(ctx, manager)
    return "" if found and upgrade and not versions.newer(found, versions.CLUSTER_API) else found


def _left_as_it_is(version: str) -> str:
    if versions.newer(version, versions.CLUSTER_API):
        return f"{version}, newer than {versions.CLUSTER_API}; left as it is"
    return f"{version} is there; bootstrap --upgrade takes it to {versions.CLUSTER_API}"


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
assert set(_PODS) == set(MANAGERS) == set(versions.CLUSTER_API_IMAGES)


def _authority(ctx: Context) -> str:
    choices = Choices.of(ctx.identity)
    return ctx.once("authority", lambda: authority(ctx.api())) if choices.webhook_certs == "self" else ""


def _node_label(ctx: Context) -> str:
    return SOCKET_LABEL if ctx.identity.kind == "kind" else ""
