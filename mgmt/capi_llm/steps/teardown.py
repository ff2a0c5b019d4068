"""What goes before a kind plane's own cluster: the workload clusters on it, whose machines are containers.

Cluster API deletes them in order, as long as it works. What it does not delete in time (of a cluster
whose load balancer is gone it never does) is removed: the containers that are called like its
machines, and carry its name as their label.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from capi_llm.clusters import kubeconfig
from capi_llm.containers.docker import CLUSTER_LABEL, Docker
from capi_llm.errors import CapiLlmError, Interrupted, NotFound
from capi_llm.identity import check_uid
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINES, Ref
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.waiting import Status, pending, ready, until

_STEP = "management-cluster"


def workload_clusters(ctx: Context, docker: Docker) -> None:
    """Delete every workload cluster, then remove the containers that are left of them.

    Raises CapiLlmError where it is not known which there are, and containers are that may be theirs.
    """
    try:
        check_uid(ctx.identity, ctx.api().uid())
        clusters = [CLUSTERS.ref(obj) for obj in ctx.api().list(CLUSTERS)]
        names = _container_names(ctx.api())
    except NotFound:
        return  # Cluster API was never there
    except CapiLlmError as error:
        if ctx.identity.uid:
            _say_unknown(ctx, docker, error)
        return
    for ref in clusters:
        with contextlib.suppress(CapiLlmError):
            ctx.api().delete(ref)
    if clusters:
        _wait(ctx, clusters)
    for ref in clusters:
        kubeconfig.path(ref.name, ref.namespace or "default", ctx.settings.kubeconfigs).unlink(
            missing_ok=True
        )
        docker.remove([item.name for item in docker.of_cluster(ref.name) if item.name in names])


def _container_names(api: Api) -> set[str]:
    """What the containers of all workload clusters are called
    (https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/docker/internal/docker/util.go)."""
    names = {f"{obj['metadata']['name']}-lb" for obj in api.list(CLUSTERS)}
    for obj in api.list(MACHINES):
        name, cluster = obj["metadata"]["name"], obj["spec"]["clusterName"]
        names.add(name if name.startswith(cluster) else f"{cluster}-{name}")
    return names


def _wait(ctx: Context, clusters: list[Ref]) -> None:
    def probe() -> Status:
        left = [str(ref) for ref in clusters if ctx.api().find(ref) is not None]
        return pending(f"still there: {', '.join(left)}") if left else ready()

    waiter = replace(
        ctx.waiter, interval=1.0, report=lambda status: ctx.report.progress(_STEP, status.message)
    )
    try:
        until(probe, what="the deletion of workload clusters", timeout=budgets.TEARDOWN, waiter=waiter)
    except Interrupted:
        raise
    except CapiLlmError as error:
        ctx.report.progress(_STEP, f"{error.brief}; their containers are removed")


def _say_unknown(ctx: Context, docker: Docker, error: CapiLlmError) -> None:
    """The API server does not say which workload clusters there are: name what could be of one."""
    own = ctx.identity.choices.get("cluster", "")
    left = sorted({item.cluster for item in docker.containers(CLUSTER_LABEL)} - {own})
    if left:
        ctx.report.progress(
            _STEP,
            f"the plane does not answer ({error.brief}); containers of {', '.join(left)} stay, as they may "
            f"be somebody else's: docker ps -a --filter label={CLUSTER_LABEL}",
        )
