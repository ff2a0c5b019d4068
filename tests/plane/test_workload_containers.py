"""Workload clusters' containers over a restart of a simulated Docker (the real one: scripts/e2e)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import simulated_docker
from capi_llm.containers.docker import Container
from capi_llm.errors import CapiLlmError, NotFound, Refused
from capi_llm.identity import Identities
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS
from capi_llm.plane import making
from capi_llm.plane.making import Chosen
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.steps import components, workload_containers
from capi_llm.steps.context import Context, Plane
from capi_llm.steps.docker import DockerNetwork
from capi_llm.steps.workload_containers import WorkloadContainers, servers, way_back
from capi_llm.waiting import Status, pending, ready, until
from control_plane import ControlPlane

MANAGEMENT = "llm-rancher-control-plane"
FIRST = {MANAGEMENT: "172.18.0.2", "demo-lb": "172.18.0.3", "demo-cp": "172.18.0.4", "demo-md": "172.18.0.5"}
"""The order in which containers are made, and so their addresses."""

HAPROXY = """
backend kube-apiservers
  option httpchk GET /healthz
  server demo-cp 172.18.0.4:6443 weight 100 check check-ssl verify none resolvers docker resolve-prefer ipv4
  server demo-gone 172.18.0.9:6443 weight 100 check check-ssl verify none resolvers docker resolve-prefer ipv4
"""
ROLES = {"demo-lb": "external-load-balancer", "demo-cp": "control-plane", "demo-md": "worker"}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    parts = executables.bring(Settings.from_environment())
    made = ControlPlane(parts, tmp_path_factory.mktemp("containers"))
    try:
        made.start()
        kinds = [
            item
            for item in components.load(parts["capi-components"])
            if item["metadata"]["name"] == "clusters.cluster.x-k8s.io"
        ]
        for item in kinds:
            item["spec"].pop("conversion")  # its webhook is not there
        with Api.from_kubeconfig(made.kubeconfig) as api:
            apply(api, kinds)
            until(lambda: _served(api), what="Clusters", timeout=30)
            spec = {"controlPlaneEndpoint": {"host": "172.18.0.3", "port": 6443}}
            api.create(CLUSTERS, {"metadata": {"name": "demo", "namespace": "default"}, "spec": spec})
        yield made
    finally:
        made.stop()


def _served(api: Api) -> Status:
    try:
        api.list(CLUSTERS)
    except NotFound:
        return pending("not served yet")
    return ready()


@dataclass(frozen=True)
class Place:
    """A simulated Docker with the containers of a plane and of a cluster on it."""

    machine: simulated_docker.Machine
    ctx: Context

    def restart(self, first: tuple[str, ...] = ()) -> None:
        """Docker restarts: it starts what it is to start, ``first`` before the others."""
        with self.machine.state() as state:
            found = state["containers"]
            for item in found.values():
                simulated_docker.stopped(item)
            for name in (*first, *(name for name in found if name not in first)):
                item = found[name]
                if item["HostConfig"]["RestartPolicy"]["Name"] != "no" and not name.endswith("-lb"):
                    simulated_docker.start(state, item)

    @property
    def addresses(self) -> dict[str, str]:
        """Container → address; "" for one that does not run."""
        with self.machine.state() as state:
            return {
                name: item["NetworkSettings"]["Networks"].get("kind", {}).get("IPAddress", "")
                for name, item in state["containers"].items()
            }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane) -> Iterator[Place]:
    machine = simulated_docker.make(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{machine.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CAPI_LLM_MANAGEMENT_RANCHER", "0")
    settings = Settings.from_environment()
    identity = making.identity(settings, Chosen("kind", "kind"))
    here = Plane(Identities(settings.state), identity)
    Path(identity.kubeconfig).parent.mkdir(parents=True)
    data = yaml.safe_load(control_plane.kubeconfig.read_text())
    data["contexts"][0]["name"] = data["current-context"] = identity.context
    Path(identity.kubeconfig).write_text(yaml.safe_dump(data))
    ctx = Context(settings, here)
    DockerNetwork().apply(ctx)
    for name, address in FIRST.items():
        machine.run(name, name.rpartition("-")[0] if name != MANAGEMENT else "llm-rancher", address=address)
    with machine.state() as state:
        state["files"]["demo-lb:/usr/local/etc/haproxy/haproxy.cfg"] = HAPROXY
        for name, role in ROLES.items():
            state["containers"][name]["Config"]["Labels"]["io.x-k8s.kind.role"] = role
    yield Place(machine, ctx)
    here.close()


def test_after_a_restart_they_have_the_addresses_that_they_are_known_by(place: Place) -> None:
    step = WorkloadContainers()
    assert step.probe(place.ctx).ready
    workload_containers.hold(place.ctx.plane, ["demo"])
    calls = len(place.machine.calls)
    workload_containers.hold(place.ctx.plane, ["demo"])
    assert not [call for call in place.machine.calls[calls:] if call.startswith("docker update")]

    place.restart()
    assert place.addresses == {MANAGEMENT: "172.18.0.2", "demo-lb": "", "demo-cp": "", "demo-md": ""}
    status = step.probe(place.ctx)
    assert not status.ready
    assert status.message == "stopped, or at another address: demo-cp, demo-lb, demo-md"

    step.apply(place.ctx)
    assert place.addresses == FIRST
    assert step.probe(place.ctx).ready

    # It keeps to them: the second time nothing is given anew.
    place.restart()
    step.apply(place.ctx)
    assert place.addresses == FIRST


@pytest.mark.parametrize("thief", ["demo-md", MANAGEMENT])
def test_what_has_taken_an_address_makes_room(place: Place, thief: str) -> None:
    """An autoscaler's worker is not held back from starting, and the management cluster never is."""
    workload_containers.hold(place.ctx.plane, ["demo"])
    with place.machine.state() as state:
        state["containers"]["demo-md"]["HostConfig"]["RestartPolicy"]["Name"] = "on-failure"
        state["containers"]["else"] = simulated_docker.container("else", "", address="172.18.0.2")
    place.restart(("else", thief))
    assert place.addresses[thief] == "172.18.0.3"
    WorkloadContainers().apply(place.ctx)
    now = place.addresses
    assert now["demo-lb"] == "172.18.0.3"
    assert now["demo-cp"] == "172.18.0.4"
    assert now[thief].startswith("172.18.255.")
    assert len(set(now.values())) == len(now)
    assert all(now.values())
    with place.machine.state() as state:
        # The node image is told that nothing has changed: what it would replace is the control plane's.
        told = state["files"].get("demo-md:/kind/old-ipv4")
    assert told == now["demo-md"]
    assert WorkloadContainers().probe(place.ctx).ready


def test_an_address_that_something_else_has_taken_is_told(place: Place) -> None:
    workload_containers.hold(place.ctx.plane, ["demo"])
    with place.machine.state() as state:
        state["containers"]["else"] = simulated_docker.container("else", "", address="172.18.0.9")
    place.restart((MANAGEMENT, "else"))
    assert place.addresses["else"] == "172.18.0.3"
    with pytest.raises(Refused, match="taken by else") as caught:
        WorkloadContainers().apply(place.ctx)
    assert "docker stop else" in caught.value.fix
    assert place.addresses["else"] == "172.18.0.3"


def test_on_a_network_without_a_subnet_of_its_own_it_is_said_what_helps(place: Place) -> None:
    with place.machine.state() as state:
        state["networks_with_subnet"] = []
    workload_containers.hold(place.ctx.plane, ["demo"])
    place.restart()
    with pytest.raises(CapiLlmError, match="can not have its address") as caught:
        WorkloadContainers().apply(place.ctx)
    assert "capi-llm delete-cluster" in caught.value.fix


def test_a_killed_run_that_left_a_container_off_the_network_is_mended(place: Place) -> None:
    workload_containers.hold(place.ctx.plane, ["demo"])
    place.restart()
    with place.machine.state() as state:
        state["containers"]["demo-cp"]["NetworkSettings"]["Networks"] = {}
    WorkloadContainers().apply(place.ctx)
    assert place.addresses == FIRST


def test_containers_of_others_and_of_clusters_on_their_way_out_are_left(place: Place) -> None:
    place.machine.run("other-lb", "other", state="exited")
    place.machine.run("other-md", "other", state="exited")
    assert WorkloadContainers().probe(place.ctx).ready
    workload_containers.hold(place.ctx.plane, ["demo"])
    with place.machine.state() as state:
        assert state["containers"]["other-md"]["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"


def test_the_network_is_made_once_with_the_subnet_that_docker_would_choose(place: Place) -> None:
    calls = [call.split()[2:] for call in place.machine.calls if call.startswith("docker network ")]
    made = [words for words in calls if words[0] == "create"]
    assert len(made) == 2
    assert "172.18.0.0/16" not in made[0]
    assert made[1][-3:] == ["--subnet", "172.18.0.0/16", "kind"]
    assert ["rm", made[0][-1]] in calls
    assert DockerNetwork().probe(place.ctx).ready


def test_servers_behind_a_load_balancer() -> None:
    assert servers(HAPROXY) == {"demo-cp": "172.18.0.4", "demo-gone": "172.18.0.9"}
    assert servers("") == {}


def test_who_moves() -> None:
    def one(name: str) -> Container:
        return Container(name, "running", "", {}, {}, (), {}, "no")

    wanted = {"lb": "10.0.0.3", "cp": "10.0.0.4"}
    members = [one("lb"), one("cp"), one("md")]
    assert way_back(members, wanted, wanted) == ({}, [], [])
    swapped = {"lb": "10.0.0.4", "cp": "10.0.0.3", "md": "10.0.0.5"}
    assert way_back(members, wanted, swapped) == (wanted, [], [])
    assert way_back(members, wanted, {"cp": "10.0.0.4", "md": "10.0.0.3"}) == ({"lb": "10.0.0.3"}, ["md"], [])
    assert way_back(members, wanted, {"cp": "10.0.0.4", "x": "10.0.0.3"}) == ({"lb": "10.0.0.3"}, [], ["x"])
