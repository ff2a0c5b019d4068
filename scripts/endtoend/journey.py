"""What users type, in its order: bootstrap to destroy, each part timed and checked from outside."""

from __future__ import annotations

import http.client
import re
import time

from endtoend import images, names
from endtoend.run import Run, Wrong, is_ready
from endtoend.traffic import Traffic, expose

CLUSTER = "demo"
BOOTSTRAP = (
    "bootstrap", "--plane", "kind", "--without-rancher", "--webhook-certs", "self", "--delivery", "direct",
)  # fmt: skip
NEW = ("new-cluster", CLUSTER, "--workers")
APPS = ("ollama", "litellm", "openwebui")


def bootstrap(run: Run) -> None:
    with run.part("bootstrap") as seen:
        done = run.capi_llm(*BOOTSTRAP)
        seen["command"], seen["steps"] = done.seconds, steps(done.said)
        seen["again"] = run.capi_llm(*BOOTSTRAP).seconds
        seen["nodes"] = versions(run, "")
        seen["pods"] = _pods(run, "")


def new_cluster(run: Run) -> None:
    with run.part("new-cluster") as seen:
        seen["command"] = run.capi_llm(*NEW, "2").seconds
        seen["again"] = run.capi_llm(*NEW, "2").seconds
        seen["nodes"] = versions(run, CLUSTER)
        seen["pods"] = _pods(run, CLUSTER)
        seen["containers"] = len(containers(run, CLUSTER))


def apps(run: Run) -> None:
    with run.part("apps") as seen:
        seen["list"] = run.capi_llm("apps", "list", CLUSTER, "-o", "json").json()
        for app in APPS:
            pods = run.get(CLUSTER, "pods", "-n", "llm", "-l", f"app.kubernetes.io/name={app}")
            running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
            if not running:
                raise Wrong(f"no pod of {app} runs")
            seen[app] = [pod["spec"]["containers"][0]["image"] for pod in running]


def portforward(run: Run) -> None:
    with run.part("portforward") as seen:
        seen["command"] = run.capi_llm("portforward", CLUSTER, *APPS, "--detach").seconds
        try:
            for app, port in images.STANDINS.items():
                seen[app] = _get(int(port))
        finally:
            run.capi_llm("portforward", CLUSTER, "--stop")


def scale(run: Run) -> None:
    with run.part("scale") as seen:
        for workers in ("1", "3", "1"):
            key = f"to {workers}" if f"to {workers}" not in seen else f"back to {workers}"
            seen[key] = run.capi_llm("scale", CLUSTER, "--workers", workers).seconds
            have = len(workers_of(run))
            if have != int(workers):
                raise Wrong(f"{have} worker nodes after scaling to {workers}")


def health_check(run: Run) -> None:
    """A worker's container is killed: the MachineHealthCheck gives the pool another machine."""
    with run.part("machine health check") as seen:
        (before, *_) = sorted(workers_of(run))
        began = time.monotonic()
        run.engine.docker("kill", before)
        seen["killed"] = before
        seen["status not ready after"] = run.until(
            "status says that something is wrong", lambda: not run.is_ready(), 300
        )
        seen["status said"] = run.capi_llm("status").data[:600]
        run.until(
            "another worker is Ready and the old one is gone",
            lambda: before not in workers_of(run) and bool(workers_of(run)),
            1200,
        )
        seen["replaced after"] = round(time.monotonic() - began, 1)
        seen["ready again after"] = run.capi_llm("wait", "cluster", CLUSTER, "--timeout", "15m").seconds


def upgrade(run: Run) -> None:
    """A rolling upgrade with requests against an app of two replicas."""
    with run.part("upgrade") as seen:
        run.capi_llm("scale", CLUSTER, "--workers", "2")
        run.capi_llm("apps", "apply", CLUSTER, "litellm", "--set", "litellm.replicas=2")
        expose(run, CLUSTER, "litellm")
        with Traffic(run, CLUSTER) as traffic:
            time.sleep(5)  # a stretch of quiet, to compare with
            seen["command"] = run.capi_llm("upgrade", "cluster", CLUSTER, "--to", names.UPGRADE).seconds
            time.sleep(5)
        seen |= traffic.summary()
        seen["nodes"] = versions(run, CLUSTER)
        if set(seen["nodes"].values()) != {names.UPGRADE}:
            raise Wrong(f"nodes after the upgrade: {seen['nodes']}")


def restart(run: Run) -> None:
    """The engine is stopped and started: plane and workload cluster come back."""
    with run.part("engine restarted") as seen:
        seen["stopped in"] = round(run.engine.stop(), 1)
        seen["status meanwhile"] = run.capi_llm("status", codes=(0, 1, 3, 4)).data[:600]
        seen["started in"] = round(run.engine.start(), 1)
        began = time.monotonic()
        seen["bootstrap"] = run.capi_llm(*BOOTSTRAP).seconds
        seen["wait cluster"] = run.capi_llm("wait", "cluster", CLUSTER, "--timeout", "15m").seconds
        seen["all ready after"] = round(time.monotonic() - began, 1)
        seen["pods"] = _pods(run, CLUSTER)


def delete(run: Run) -> None:
    with run.part("delete-cluster") as seen:
        seen["command"] = run.capi_llm("delete-cluster", CLUSTER, "--yes").seconds
        left = containers(run, CLUSTER)
        if left:
            raise Wrong(f"containers are left: {left}")


def destroy(run: Run) -> None:
    with run.part("destroy") as seen:
        seen["command"] = run.capi_llm("destroy", "--yes").seconds
        left = run.engine.docker("ps", "-aq").stdout.split()
        if left:
            raise Wrong(f"{len(left)} containers are left")


def steps(said: str) -> dict[str, float]:
    """The seconds of each step that a bootstrap tells of; those that took no time are not among them."""
    return {
        name: float(took) for name, took in re.findall(r"^✓ ([\w-]+): .*\(([\d.]+) s\)$", said, re.MULTILINE)
    }


def containers(run: Run, cluster: str) -> list[str]:
    """The containers of a cluster."""
    label = f"label=io.x-k8s.kind.cluster={cluster}"
    return run.engine.docker("ps", "-a", "--filter", label, "--format", "{{.Names}}").stdout.split()


def versions(run: Run, cluster: str) -> dict[str, str]:
    """Each node's kubelet version; the management cluster's for ""."""
    return {
        node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"]
        for node in run.get(cluster, "nodes")
    }


def workers_of(run: Run) -> set[str]:
    """The worker nodes of the cluster that are Ready."""
    nodes = run.get(CLUSTER, "nodes", "-l", "!node-role.kubernetes.io/control-plane")
    return {node["metadata"]["name"] for node in nodes if is_ready(node)}


def _pods(run: Run, cluster: str) -> dict[str, str]:
    """Each pod with its phase. Raises Wrong where one neither runs nor is done."""
    pods = {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod["status"]["phase"]
        for pod in run.get(cluster, "pods", "-A")
    }
    wrong = [name for name, phase in pods.items() if phase not in ("Running", "Succeeded")]
    if wrong:
        raise Wrong(f"pods that do not run: {', '.join(wrong)}")
    return pods


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()[:200]
