"""Load balancers of workload clusters, which do not come back with Docker.

The Docker provider makes every container with restart policy ``on-failure``, and haproxy ends without a
failure when Docker stops it. Machines are not started here: one that was killed is replaced by Cluster API.
"""

from __future__ import annotations

from collections.abc import Collection

from capi_llm.containers.docker import CLUSTER_LABEL, Docker
from capi_llm.errors import NotFound
from capi_llm.kube.resources import CLUSTERS
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.kind_cluster import docker
from capi_llm.waiting import Status, pending, ready

ROLE = "io.x-k8s.kind.role=external-load-balancer"
"""Label of such a container
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/docker/internal/docker/manager.go)."""


class LoadBalancers(Step):
    """Those of the plane's clusters run."""

    name = "load-balancers"
    timeout = budgets.PROCESS
    needs = ("management-cluster",)

    def probe(self, ctx: Context) -> Status:
        names = stopped(docker(ctx), _clusters(ctx))
        if names:
            return pending(f"stopped: {', '.join(names)}", fix="capi-llm bootstrap starts it")
        return ready("of all clusters")

    def apply(self, ctx: Context) -> None:
        here = docker(ctx)
        here.start(stopped(here, _clusters(ctx)))


def stopped(here: Docker, clusters: Collection[str]) -> list[str]:
    """The load balancers of ``clusters`` that do not run."""
    return [
        item.name
        for item in here.containers(CLUSTER_LABEL, ROLE)
        if not item.running and item.cluster in clusters
    ]


def _clusters(ctx: Context) -> set[str]:
    try:
        return {obj["metadata"]["name"] for obj in ctx.api().list(CLUSTERS)}
    except NotFound:
        return set()  # Cluster API is not there yet
