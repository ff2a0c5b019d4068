"""KWOK clusters on the real API server: what they are, side by side, killed at, paused, deleted."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from audit import writes
from capi_llm import versions
from capi_llm.clusters import kubeconfig
from capi_llm.files import write_private
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    CONFIGMAPS,
    DEPLOYMENTS,
    MACHINES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    Ref,
)
from capi_llm.provider.kinds import CLUSTER_NAME, KWOK_CLUSTERS, KWOK_CONTROL_PLANES, KWOK_MACHINES
from capi_llm.sandbox import ports, processes, workload
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import GATEWAY
from capi_llm.sandbox.workload import Workload, Workloads
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox

AGENT = "capi-llm-kwok-provider/"


@dataclass(frozen=True)
class Kwok:
    """A KWOK cluster of a test, and ways to look at it."""

    sandbox: Sandbox
    name: str
    namespace: str

    @property
    def workload(self) -> Workload:
        (found,) = (
            item
            for item in workload.of_sandbox(self.sandbox.ctx.sandbox)
            if (item.namespace, item.name) == (self.namespace, self.name)
        )
        return found

    @property
    def layout(self) -> Layout:
        return self.workloads.layout(self.workload)

    @property
    def workloads(self) -> Workloads:
        return Workloads(self.sandbox.ctx.sandbox, self.sandbox.ctx.identity.instance)

    def processes(self) -> dict[str, int]:
        """Part → process id."""
        instance = self.workloads.instance(self.workload)
        return {part: pid for pid, part in processes.running(instance).items()}

    def kill(self, *parts: str) -> None:
        kill(self.processes(), *parts)

    @contextlib.contextmanager
    def api(self) -> Iterator[Api]:
        """Its API server, by the kubeconfig that everybody gets."""
        text = kubeconfig.fetch(self.sandbox.api, self.name, self.namespace)
        path = kubeconfig.save(text, self.name, self.namespace, self.sandbox.settings.kubeconfigs)
        with Api.from_kubeconfig(path) as api:
            yield api

    def wait(self) -> None:
        self.sandbox.cli("wait", "cluster", self.name, "-n", self.namespace, "--timeout", "120s")

    def control_plane(self) -> dict:
        (found,) = (
            obj
            for obj in self.sandbox.api.list(KWOK_CONTROL_PLANES, self.namespace)
            if obj["metadata"]["labels"][CLUSTER_NAME] == self.name
        )
        return found

    def available(self) -> tuple[str, str]:
        """Status and message of the control plane's condition."""
        (condition,) = self.control_plane()["status"]["v1beta2"]["conditions"]
        return condition["status"], condition["message"]


def kill(there: dict[str, int], *parts: str) -> None:
    victims = [psutil.Process(there[part]) for part in parts]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)


def eventually(true: Callable[[], object], what: str, seconds: float = 90) -> None:
    until(
        lambda: ready() if true() else pending("not yet"),
        what=what, timeout=seconds, waiter=Waiter(interval=0.1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pair(sandbox: Sandbox) -> Iterator[tuple[Kwok, Kwok]]:
    """Two clusters that were made at once, by two commands."""
    namespace = f"t-{secrets.token_hex(4)}"
    sandbox.api.create(NAMESPACES, {"metadata": {"name": namespace}})
    more = {
        "left": (
            "--pool",
            "gpu=1:gpu-worker",
            "--set",
            "workerCapacity.cpu=6",
            "--set",
            "nodeLabels={team: a}",
        ),
        "right": ("--services", "10.97.0.0/24"),
    }
    makings = [
        subprocess.Popen(
            [sys.executable, "-m", "capi_llm", "new-cluster", name, "-n", namespace, "--workers", "1", *said],
            env=sandbox.env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for name, said in more.items()
    ]  # fmt: skip
    for making in makings:
        _, said = making.communicate(timeout=240)
        assert making.returncode == 0, said
    yield Kwok(sandbox, "left", namespace), Kwok(sandbox, "right", namespace)
    for cluster in sandbox.api.list(CLUSTERS, namespace):
        sandbox.cli("delete-cluster", cluster["metadata"]["name"], "-n", namespace, "--yes")
    sandbox.api.delete(Ref(NAMESPACES, namespace))


@pytest.fixture
def cluster(pair: tuple[Kwok, Kwok]) -> Kwok:
    """A cluster that tests may shake, and have ready again at their end."""
    return pair[1]


def listening(pids: dict[str, int]) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for pid in pids.values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_two_at_once_share_nothing(sandbox: Sandbox, pair: tuple[Kwok, Kwok]) -> None:
    left, right = pair
    one, other = left.workload, right.workload
    assert not set(one.ports.values()) & set(other.ports.values())
    assert not (set(one.ports.values()) | set(other.ports.values())) & set(
        sandbox.ctx.identity.ports.values()
    )
    assert one.kube_system != other.kube_system
    for kwok in (left, right):
        there = listening(kwok.processes())
        assert {ip for ip, _ in there} == {"127.0.0.1"}
        # Without its apps LiteLLM does not listen; its part is there where it is installed.
        ports_of_parts = {port for name, port in kwok.workload.ports.items() if name != GATEWAY}
        assert {port for _, port in there} == ports_of_parts
        assert set(kwok.processes()) - {GATEWAY} == {"supervisor", *workload.PARTS}
    with left.api() as api, right.api() as beside:
        assert (api.uid(), beside.uid()) == (one.kube_system, other.kube_system)
        api.create(CONFIGMAPS, {"metadata": {"name": "own", "namespace": "default"}})
        assert beside.find(Ref(CONFIGMAPS, "own", "default")) is None
        service = beside.get(Ref(SERVICES, "kubernetes", "default"))
        assert service["spec"]["clusterIP"] == "10.97.0.1"
        nodes = {bool("gpu" in node["metadata"]["name"]): node for node in api.list(NODES)}
        plain, with_gpu = nodes[False], nodes[True]
        assert (plain["status"]["capacity"]["cpu"], plain["metadata"]["labels"]["team"]) == ("6", "a")
        assert with_gpu["status"]["allocatable"]["nvidia.com/gpu"] == "1"
        assert [taint["key"] for taint in with_gpu["spec"]["taints"]] == ["nvidia.com/gpu"]
        run_pods(api)


def test_what_is_deleted_goes_without_a_trace(sandbox: Sandbox, pair: tuple[Kwok, Kwok]) -> None:
    left, right = pair
    gone, folder, socket = left.workload, left.layout.root, left.layout.socket
    saved = sandbox.settings.kubeconfigs / f"kubeconfig-{left.namespace}.left.yaml"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert socket.stat().st_mode & 0o777 == 0o600
    sandbox.cli("delete-cluster", "left", "-n", left.namespace, "--yes")
    assert [path for path in (folder, socket, saved) if path.exists()] == []
    assert processes.running(left.workloads.instance(gone)) == {}
    assert all(ports.free(port) for port in gone.ports.values())
    for kind in (KWOK_CLUSTERS, KWOK_CONTROL_PLANES, KWOK_MACHINES):
        names = {item["metadata"]["labels"][CLUSTER_NAME] for item in sandbox.api.list(kind, left.namespace)}
        assert names == {"right"}
    right.wait()


def run_pods(api: Api) -> None:
    """A Deployment whose pods the real scheduler places, one of which asks for a GPU."""
    for name, more in (("web", {}), ("model", {
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    })):  # fmt: skip
        limits = {"nvidia.com/gpu": "1"} if more else {}
        container = {"name": "main", "image": "example.invalid/none", "resources": {"limits": limits}}
        api.create(
            DEPLOYMENTS,
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "replicas": 1 if more else 3,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {
                        "metadata": {"labels": {"app": name}},
                        "spec": {"containers": [container], **more},
                    },
                },
            },
        )
    eventually(
        lambda: [api.get(Ref(DEPLOYMENTS, name, "default")).get("status", {}).get("availableReplicas")
                 for name in ("web", "model")] == [3, 1],
        "the Deployments",
    )  # fmt: skip
    pods = api.list(PODS, "default")
    assert all(pod["status"]["podIP"].startswith("192.168.") for pod in pods)
    on = {pod["metadata"]["labels"]["app"]: pod["spec"]["nodeName"] for pod in pods}
    assert "gpu" in on["model"]
    assert "gpu" not in on["web"]


def test_what_is_killed_comes_back_with_what_it_held(cluster: Kwok) -> None:
    own = Ref(CONFIGMAPS, "kept", "default")
    with cluster.api() as api:
        api.create(CONFIGMAPS, {"metadata": {"name": own.name, "namespace": own.namespace}})
    before = cluster.processes()
    log = cluster.sandbox.ctx.sandbox.audit_log
    mark = log.stat().st_size

    # Its own parts: its supervisor starts them again.
    cluster.kill("kube-apiserver", "etcd", "kube-scheduler")
    eventually(lambda: cluster.processes().keys() == before.keys(), "the parts")
    cluster.wait()
    # Its supervisor with everything: the provider starts them again, as after a restart of the machine.
    cluster.kill(*cluster.processes())
    eventually(lambda: cluster.available()[0] == "False", "the provider's look")
    eventually(lambda: cluster.available()[0] == "True", "the control plane")
    # The provider, and the plane's API server under it.
    there = {part: pid for pid, part in processes.running(cluster.sandbox.ctx.identity.instance).items()}
    kill(there, "kwok-provider", "kube-apiserver")
    eventually(lambda: cluster.sandbox.api.ready().ready, "the plane's API server")
    cluster.sandbox.cli("wait", "plane")
    cluster.wait()

    with cluster.api() as api:
        assert api.find(own) is not None
        assert api.uid() == cluster.workload.kube_system
        assert len(api.list(NODES)) == 1
    assert cluster.workload.ports["etcd"] in {port for _, port in listening(cluster.processes())}
    # A look at what is steady writes what is missing, and nothing else.
    assert writes(log, agent=AGENT, after=mark)
    secret = Ref(SECRETS, f"{cluster.name}-ca", cluster.namespace)
    good = cluster.sandbox.api.get(secret)["data"]
    mark = log.stat().st_size
    cluster.sandbox.api.delete(secret)
    eventually(lambda: cluster.sandbox.api.find(secret), "the Secret")
    assert cluster.sandbox.api.get(secret)["data"] == good

    def written() -> list[str]:
        return [write.uri.partition("?")[0] for write in writes(log, agent=AGENT, after=mark)]

    eventually(lambda: secret.path in written(), "the line in the log, which comes with the answer")
    # A part that answers late is told and taken back.
    assert [path for path in written() if not path.endswith("/status")] == [secret.path]


def test_the_provider_killed_at_any_moment_of_a_creation(sandbox: Sandbox, namespace: str) -> None:
    made = Kwok(sandbox, "early", namespace)
    sandbox.cli("new-cluster", "early", "-n", namespace, "--workers", "2", "--no-wait")
    moments: tuple[Callable[[], object], ...] = (
        lambda: sandbox.api.list(KWOK_CLUSTERS, namespace),
        lambda: [item for item in workload.of_sandbox(sandbox.ctx.sandbox) if item.name == "early"],
        lambda: "etcd" in made.processes(),
        lambda: sandbox.api.list(KWOK_MACHINES, namespace),
    )
    for moment in moments:
        eventually(moment, "the moment")
        there = {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}
        kill(there, "kwok-provider")
        eventually(
            lambda: "kwok-provider" in processes.running(sandbox.ctx.identity.instance).values(),
            "the provider",
        )
    made.wait()
    with made.api() as api:
        assert len(api.list(NODES)) == 2
    (folder,) = [item for item in made.workloads.folders() if item.name == made.workload.folder]

    # It dies while it takes the cluster away, too.
    ending = subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "delete-cluster", "early", "-n", namespace, "--yes"],
        env=sandbox.env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    eventually(
        lambda: (
            any(
                "deletionTimestamp" in item["metadata"] for item in sandbox.api.list(KWOK_MACHINES, namespace)
            )
            or not sandbox.api.list(KWOK_MACHINES, namespace)
        ),
        "the end of the machines",
    )
    there = {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}
    with contextlib.suppress(KeyError, psutil.NoSuchProcess):
        kill(there, "kwok-provider")
    _, said = ending.communicate(timeout=120)
    assert ending.returncode == 0, said
    assert not folder.exists()


def test_another_cluster_at_its_address_is_not_ready(cluster: Kwok) -> None:
    path = cluster.layout.root / "cluster.json"
    good = path.read_text()
    write_private(path, json.dumps({**json.loads(good), "kube_system": "another"}))
    try:
        eventually(
            lambda: "another cluster answers at https://127.0.0.1:" in cluster.available()[1], "the refusal"
        )
        assert cluster.available()[0] == "False"
    finally:
        write_private(path, good)
    cluster.wait()


def test_paused_is_left_alone(cluster: Kwok) -> None:
    api, secret = cluster.sandbox.api, Ref(SECRETS, f"{cluster.name}-ca", cluster.namespace)
    ref = Ref(CLUSTERS, cluster.name, cluster.namespace)
    (machine,) = [KWOK_MACHINES.ref(item) for item in api.list(KWOK_MACHINES, cluster.namespace)]
    api.merge_patch(ref, {"spec": {"paused": True}})
    try:
        everything_looked_at(cluster.sandbox)
        api.delete(machine)
        api.delete(secret)
        everything_looked_at(cluster.sandbox)
        assert api.find(machine) is not None
        assert api.find(secret) is None
    finally:
        api.merge_patch(ref, {"spec": {"paused": False}})
    eventually(lambda: api.find(machine) is None, "the end of the machine")
    eventually(lambda: api.find(secret), "the Secret")
    for item in api.list(MACHINES, cluster.namespace):
        api.delete(MACHINES.ref(item))
    cluster.wait()


def everything_looked_at(sandbox: Sandbox) -> None:
    """Restart the provider, and wait until it has removed a leftover: by then it knows every object."""
    left = sandbox.ctx.sandbox.clusters / "feedbeef"
    (left / "etcd").mkdir(parents=True)
    there = {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}
    psutil.Process(there["kwok-provider"]).send_signal(signal.SIGTERM)
    eventually(lambda: not left.exists(), "the end of the leftover")


def test_what_belongs_to_no_cluster_is_removed(sandbox: Sandbox) -> None:
    """The folder of a cluster whose objects are gone, and half of a folder."""
    workloads = Workloads(sandbox.ctx.sandbox, sandbox.ctx.identity.instance)
    lost = workloads.reserve("deadbeef-0000", "lost", "default", services="10.96.0.0/24", pods="10.0.0.0/24")
    everything_looked_at(sandbox)
    eventually(lambda: not workloads.layout(lost).root.exists(), "the end of what belongs to no cluster")


def test_one_control_plane_and_no_more(sandbox: Sandbox, namespace: str) -> None:
    refused = sandbox.cli("new-cluster", "big", "-n", namespace, "--control-plane", "3", check=False)
    assert refused.returncode == 2
    assert "this class has one" in refused.stderr
    assert "in-memory-llm-clusterclass" in refused.stderr
    assert sandbox.api.list(CLUSTERS, namespace) == []


def test_it_is_said_that_the_class_can_not_be_rehearsed(cluster: Kwok, tmp_path: Path) -> None:
    file = tmp_path / "change.yaml"
    manifest = cluster.sandbox.cli(
        "new-cluster", cluster.name, "-n", cluster.namespace, "--workers", "1",
        "--set", "nodeLabels={a: b}", "--dry-run",
    ).stdout  # fmt: skip
    file.write_text(manifest)
    said = cluster.sandbox.cli("rehearse", "-f", str(file), check=False)
    assert "can not be rehearsed" in said.stdout + said.stderr
    assert "machineInfrastructure" in said.stdout + said.stderr


def test_upgrade_takes_nodes_to_the_version_and_says_what_stays(cluster: Kwok) -> None:
    where = ("-n", cluster.namespace)
    planned = cluster.sandbox.cli("upgrade", "cluster", cluster.name, "--to", "v1.33.1", *where, "--dry-run")
    assert "its API server stays the sandbox's" in planned.stdout
    cluster.sandbox.cli("upgrade", "cluster", cluster.name, "--to", "v1.33.1", *where)
    status = cluster.control_plane()["status"]
    assert (status["version"], status["serverVersion"]) == ("v1.33.1", versions.KUBERNETES)
    with cluster.api() as api:
        (node,) = api.list(NODES)
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.33.1"
        assert api.server_version() == versions.KUBERNETES
