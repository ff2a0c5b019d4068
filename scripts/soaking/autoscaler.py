"""A real cluster-autoscaler scales a cluster of simulated nodes for pending pods, up and back down.

The executable is not part of capi-llm: build it from github.com/kubernetes/autoscaler at a tag of 1.33 or
1.34 with ``go build -tags clusterapi`` in its folder cluster-autoscaler. It reads the pool's range from the
annotations that capi-llm has set, and those of an empty pool's capacity, and changes the replicas of the
MachineDeployment.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soaking.life import CLUSTER, Life

_LONGEST = 400.0
_NEW = ("new-cluster", CLUSTER, "--workers", "1..3", "--pool", "gpu=0..2:gpu-worker", "--cpu", "8")
_GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Load:
    """Pods that ask for so much, and how many nodes the cluster then has."""

    pods: int
    requests: dict[str, str]
    nodes: int

    def __str__(self) -> str:
        return f"{self.pods} pods that ask for {self.requests}"

    @property
    def deployment(self) -> dict[str, Any]:
        """A Deployment of them, called ``load``."""
        container = {"name": "load", "image": "load:simulated",
                     "resources": {"requests": self.requests, "limits": self.requests}}  # fmt: skip
        tolerations = [{"key": _GPU, "operator": "Exists"}] if _GPU in self.requests else []
        pod = {"containers": [container], "tolerations": tolerations}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "load", "namespace": "default"},
            "spec": {
                "replicas": self.pods,
                "selector": {"matchLabels": {"app": "load"}},
                "template": {"metadata": {"labels": {"app": "load"}}, "spec": pod},
            },
        }


LOADS = (Load(5, {"cpu": "1500m"}, 3), Load(2, {_GPU: "1"}, 3))
"""Two of the first fit on a worker of four processors. Each of the second needs a GPU node of its own."""


def series(autoscaler: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One sandbox, one cluster, one round up and down. One result each, with the seconds that it took."""
    life, rounds = Life.begin(0), []
    try:
        for argv in (("bootstrap", "--plane", "sandbox"), _NEW):
            ended = life.run(*argv)
            if ended.code:
                return [{"what": " ".join(argv), "wrong": [ended.last]}]
        with _running(life, autoscaler):
            for load in LOADS:
                rounds.append(
                    _round(life, str(load), load.nodes, load.pods, "apply", "-f", "-", give=load.deployment)
                )
                rounds.append(_round(life, "they are gone", 1, 0, "delete", "deployment", "load"))
            for item in rounds:
                say(f"{item['what']}: {item['nodes']} nodes after {item['seconds']} s {item['wrong'] or ''}")
            if any(item["wrong"] for item in rounds):
                rounds[-1]["log"] = (life.folder / "autoscaler.log").read_text()[-4000:]
    finally:
        life.run("destroy", "--yes")
        life.clear()
    return rounds


def _round(life: Life, what: str, nodes: int, pods: int, *argv: str, give: Any = None) -> dict[str, Any]:
    """One kubectl command on the cluster, and the wait until the autoscaler has followed."""
    since = time.monotonic()
    done = _kubectl(life, CLUSTER, *argv, text=json.dumps(give) if give else None)
    found, wrong = (0, 0), [done.stderr] if done.returncode else []
    while not wrong and found != (nodes, pods):
        found = _workers(life), _running_pods(life)
        if time.monotonic() - since > _LONGEST:
            wrong = [f"{found[0]} nodes and {found[1]} pods that run"]
        time.sleep(0.5)
    return {"what": what, "nodes": nodes, "seconds": round(time.monotonic() - since, 1), "wrong": wrong}


def _workers(life: Life) -> int:
    """Ready nodes, where Machines, replicas and nodes are of one mind; 0 where they are not yet."""
    machines = _list(life, "--management", "machines.cluster.x-k8s.io")
    nodes = _list(life, CLUSTER, "nodes")
    ready = sum(
        any(item["type"] == "Ready" and item["status"] == "True" for item in node["status"]["conditions"])
        for node in nodes
    )
    return ready if ready == len(nodes) == len(machines) else 0


def _running_pods(life: Life) -> int:
    return sum(pod["status"].get("phase") == "Running" for pod in _list(life, CLUSTER, "pods"))


def _list(life: Life, where: str, kind: str) -> list[Any]:
    done = _kubectl(life, where, "get", kind, "-n", "default", "-o", "json")
    return list(json.loads(done.stdout)["items"]) if done.returncode == 0 else []


def _kubectl(life: Life, where: str, *argv: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [life.kubectl_path, f"--kubeconfig={_kubeconfig(life, where)}", *argv]
    return subprocess.run(command, input=text, text=True, capture_output=True)


def _kubeconfig(life: Life, where: str) -> str:
    """The file with the credentials for the plane or for the cluster."""
    if where == "--management":
        return str(life.root / "config/admin.kubeconfig")
    return str(life.folder / f"kubeconfigs/kubeconfig-{where}.yaml")


@contextlib.contextmanager
def _running(life: Life, autoscaler: Path) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    argv = [
        str(autoscaler), "--cloud-provider=clusterapi",
        f"--kubeconfig={_kubeconfig(life, CLUSTER)}", f"--cloud-config={_kubeconfig(life, '--management')}",
        f"--node-group-auto-discovery=clusterapi:namespace=default,clusterName={CLUSTER}",
        "--leader-elect=false", f"--address=127.0.0.1:{port}", "--scan-interval=2s",
        "--scale-down-delay-after-add=5s", "--scale-down-unneeded-time=10s", "--v=2",
    ]  # fmt: skip
    with (life.folder / "autoscaler.log").open("w") as log:
        process = subprocess.Popen(argv, env=life.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
