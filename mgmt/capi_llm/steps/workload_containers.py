"""The containers of workload clusters, which do not come back with Docker by themselves.

A cluster is known by the address of its load balancer, which stands in every kubeconfig and certificate,
and its control plane by the addresses of its machines, which stand in etcd and in haproxy's configuration.
Docker gives addresses anew when it starts containers, in any order; and the node image, which finds itself
at another address, removes the API server's certificate, to make one as kind's own clusters have it. On a
machine of Cluster API that fails, and the certificate is gone (fix_certificate in
https://github.com/kubernetes-sigs/kind/blob/v0.30.0/images/base/files/usr/local/bin/entrypoint).

So Docker is told not to start them (:func:`hold`, as soon as a cluster is ready), and this step does, with
the addresses that they had. Where something else of ours has taken one meanwhile, that container moves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from capi_llm.containers import networks
from capi_llm.containers.docker import CLUSTER_LABEL, Container, Docker
from capi_llm.contract.conditions import deleting
from capi_llm.errors import NotFound, Refused
from capi_llm.kube.resources import CLUSTERS
from capi_llm.settings import command_environment
from capi_llm.steps import budgets
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context, Plane
from capi_llm.steps.engine import Step
from capi_llm.steps.kind_cluster import docker
from capi_llm.waiting import Status, pending, ready, until

ROLE = "io.x-k8s.kind.role"
"""Label of a container, and two of its values
(https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/test/infrastructure/docker/internal/docker/manager.go)."""

LOAD_BALANCER = "external-load-balancer"
WORKER = "worker"

_HAPROXY = "/usr/local/etc/haproxy/haproxy.cfg"
_SERVER = re.compile(r"^\s*server (\S+) (\d+\.\d+\.\d+\.\d+):\d+", re.MULTILINE)
_LAST_ADDRESS = "/kind/old-ipv4"
"""Where the node image keeps the address that its files are written for."""


@dataclass(frozen=True)
class Way:
    """The way back. ``moves``: container → the address to give it; ``starts``: those to start as they are;
    ``members``: all that the plane has, by name."""

    moves: Mapping[str, str]
    starts: tuple[str, ...]
    members: Mapping[str, Container]

    @property
    def names(self) -> list[str]:
        return sorted({*self.moves, *self.starts})


class WorkloadContainers(Step):
    """Those of the plane's clusters run, at the addresses by which the clusters know them."""

    name = "workload-containers"
    timeout = budgets.CONTAINERS
    needs = ("management-cluster",)

    def probe(self, ctx: Context) -> Status:
        names = _way(ctx, docker(ctx)).names
        if names:
            return pending(
                f"stopped, or at another address: {', '.join(names)}",
                fix="capi-llm bootstrap brings them back",
            )
        return ready("of all clusters")

    def apply(self, ctx: Context) -> None:
        here = docker(ctx)
        way = _way(ctx, here)
        ctx.report.progress(self.name, f"bringing back {', '.join(way.names)}")
        here.stop([name for name in way.moves if way.members[name].running])
        for name, address in way.moves.items():
            networks.place(here, networks.KIND, name, address)
            if way.members[name].labels.get(ROLE) == WORKER:
                # Its files name no address of its own, but the control plane's, which its last one may be.
                here.write(name, _LAST_ADDRESS, address)
        here.start([*way.moves, *way.starts])
        if any(way.members[name].cluster == Choices.of(ctx.identity).cluster for name in way.moves):
            until(lambda: ctx.api().ready(), what=self.name, timeout=self.timeout, waiter=ctx.waiter)


def hold(plane: Plane, clusters: Iterable[str]) -> None:
    """Have Docker not start the containers of workload clusters by itself; on planes of kind ``kind``."""
    here = Docker.here(command_environment()) if plane.identity.kind == "kind" else None
    if here is None:
        return
    for cluster in clusters:
        here.never_restart([item.name for item in here.of_cluster(cluster) if item.restarts != "no"])


def way_back(
    members: Collection[Container], wanted: Mapping[str, str], holders: Mapping[str, str]
) -> tuple[dict[str, str], list[str], list[str]]:
    """What has to move to where, who has to make room, and which of those are not among ``members``. Pure.

    ``wanted``: container → the address that it has to have; ``holders``: running container → its address.
    """
    moves = {name: address for name, address in wanted.items() if holders.get(name) != address}
    room = sorted(name for name, at in holders.items() if name not in moves and at in moves.values())
    known = {item.name for item in members}
    return moves, [name for name in room if name in known], [name for name in room if name not in known]


def servers(text: str) -> dict[str, str]:
    """The control-plane machines in haproxy's configuration: container → address. Pure."""
    return dict(_SERVER.findall(text))


def _way(ctx: Context, here: Docker) -> Way:
    endpoints = _endpoints(ctx)
    members = _members(ctx, here, endpoints)
    if all(item.cluster not in endpoints for item in members):
        return Way({}, (), {})
    wanted = _wanted(here, members, endpoints)
    holders = networks.holders(here, networks.KIND)
    moves, room, foreign = way_back(members, wanted, holders)
    if foreign:
        raise Refused(
            f"an address of a workload cluster is taken by {', '.join(foreign)}",
            on=f"Docker's network {networks.KIND}",
            why=f"{', '.join(sorted(moves))} had it, and is known by it",
            fix=f"stop it (docker stop {' '.join(foreign)}), and run the same command again",
        )
    taken = {*holders.values(), *wanted.values()}
    moves |= dict(zip(room, networks.free(here, networks.KIND, taken, len(room)), strict=True))
    stopped = [item.name for item in members if item.state == "exited" and item.cluster in endpoints]
    starts = tuple(name for name in stopped if name not in moves)
    return Way(moves, starts, {item.name: item for item in members})


def _endpoints(ctx: Context) -> dict[str, str]:
    """The plane's clusters that are not on their way out: name → the address in their kubeconfigs."""
    try:
        clusters = ctx.api().list(CLUSTERS)
    except NotFound:
        return {}  # Cluster API is not there yet
    return {
        obj["metadata"]["name"]: str((obj["spec"].get("controlPlaneEndpoint") or {}).get("host") or "")
        for obj in clusters
        if not deleting(obj)
    }


def _members(ctx: Context, here: Docker, endpoints: Mapping[str, str]) -> list[Container]:
    """The containers of the plane: of its own cluster, and of its workload clusters."""
    names = {Choices.of(ctx.identity).cluster, *endpoints}
    return [item for item in here.containers(CLUSTER_LABEL) if item.cluster in names]


def _wanted(here: Docker, members: Iterable[Container], endpoints: Mapping[str, str]) -> dict[str, str]:
    """The addresses that are known to others: of load balancers, and of control planes behind them."""
    there = {item.name for item in members}
    wanted: dict[str, str] = {}
    for item in members:
        host = endpoints.get(item.cluster, "")
        if item.labels.get(ROLE) != LOAD_BALANCER or not host:
            continue
        wanted[item.name] = host
        machines = servers(here.read(item.name, _HAPROXY))
        wanted |= {name: address for name, address in machines.items() if name in there}
    return wanted
