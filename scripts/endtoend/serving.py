"""Knative Serving on a real cluster: an app goes from no pod to its most under load, and back to none."""

from __future__ import annotations

import contextlib
import copy
import http.client
import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from endtoend import knative, names
from endtoend.run import SETTINGS, Run, Wrong, is_ready

CLUSTER = "serving"
MOST = 3
CLIENTS = 6
"""Requests at the same time; each takes a second, and one at a time is what a pod is meant for."""
_UNDER_LOAD = 60.0
_HOST = "ollama.llm.svc.cluster.local"
_NODE_PORT = 30081
_ROUTER = """
apiVersion: v1
kind: Service
metadata: {name: e2e-router, namespace: knative-serving}
spec:
  type: NodePort
  selector: {app: 3scale-kourier-gateway}
  ports: [{port: 80, targetPort: 8081, nodePort: PORT}]
"""
"""Kourier's listener for names inside the cluster, which is where bundle ollama is reached."""


def knative_scales(run: Run) -> None:
    with run.part("knative") as seen, _chart_repository(run.ready.charts) as url:
        file = run.folder / "knative.yaml"
        file.write_text(yaml.safe_dump(settings(url)))
        config = ("--config", str(file))
        seen["new-cluster"] = run.capi_llm(*config, "new-cluster", CLUSTER, "--workers", "1").seconds
        try:
            seen["again"] = run.capi_llm(*config, "new-cluster", CLUSTER, "--workers", "1").seconds
            seen["knative"] = {
                pod["metadata"]["name"].rsplit("-", 2)[0]: pod["spec"]["containers"][0]["image"]
                for pod in run.get(CLUSTER, "pods", "-n", "knative-serving")
            }
            run.kubectl(CLUSTER, "apply", "-f", "-", stdin=_ROUTER.replace("PORT", str(_NODE_PORT)))
            seen["to none at first"] = run.until("no pod of ollama runs", lambda: _pods(run) == 0, 300)
            seen |= _under_load(run)
            seen["back to none after"] = run.until("no pod of ollama runs", lambda: _pods(run) == 0, 300)
        finally:
            seen["delete-cluster"] = run.capi_llm("delete-cluster", CLUSTER, "--yes").seconds


def settings(charts: str) -> dict[str, Any]:
    """capi-llm.yaml of a user with copies of Knative's images and charts."""
    found = copy.deepcopy(SETTINGS)
    found["charts"] = {"mirror": charts}
    found["cluster"]["version"] = names.UPGRADE
    found["cluster"]["variables"]["preLoadImages"] += knative.names()
    found["apps"]["wanted"] = ["local-path-storage", "knative-serving", "kourier", "ollama"]
    values = found["apps"]["values"]
    values["knative-serving"] = {
        "knative_operator": {
            "knative_operator": {"image": knative.tagged("operator").rpartition(":")[0]},
            "operator_webhook": {"image": knative.tagged("operator-webhook").rpartition(":")[0]},
        }
    }
    values["kourier"] = {
        "registry": knative.REGISTRY,
        "skipTagResolving": [knative.REGISTRY.partition("/")[0], "index.docker.io"],
    }
    values["ollama"] |= {
        "serving": "knative",
        "scale": {"min": 0, "max": MOST, "target": 1, "window": "10s", "downDelay": "0s"},
    }
    return found


def _under_load(run: Run) -> dict[str, Any]:
    (address,) = {
        item["address"]
        for node in run.get(CLUSTER, "nodes", "-l", "!node-role.kubernetes.io/control-plane")
        for item in node["status"]["addresses"]
        if item["type"] == "InternalIP"
    }
    began = time.monotonic()
    ended = threading.Event()
    answered: list[tuple[float, str]] = []
    lost: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            try:
                connection = http.client.HTTPConnection(address, _NODE_PORT, timeout=120)
                connection.request("GET", "/slow", headers={"Host": _HOST})
                answer = connection.getresponse()
                pod = answer.read().decode().strip()
                if answer.status != 200:
                    raise OSError(f"status {answer.status}: {pod[:200]}")
                answered.append((time.monotonic() - began, pod))
            except (OSError, http.client.HTTPException) as error:
                lost.append(f"{type(error).__name__} {error}")

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    found: dict[str, Any] = {}
    try:
        found["to most after"] = run.until(f"{MOST} pods of ollama run", lambda: _pods(run) == MOST, 180)
        until = time.monotonic() + _UNDER_LOAD
        most = 0
        while time.monotonic() < until:
            most = max(most, _pods(run))
            ended.wait(2)
        if most > MOST:
            raise Wrong(f"{most} pods, where {MOST} are the most")
    finally:
        ended.set()
        for client in clients:
            client.join(130)
    if not answered:
        raise Wrong(f"no request was answered: {lost[:3]}")
    found["first answer after"] = round(min(answered)[0], 1)
    found["requests"] = len(answered) + len(lost)
    found["lost"] = len(lost)
    found["examples of lost"] = lost[:5]
    found["answered by pods"] = len({pod for _, pod in answered})
    return found


def _pods(run: Run) -> int:
    """How many pods of the app are ready and stay."""
    pods = run.get(CLUSTER, "pods", "-n", "llm", "-l", "serving.knative.dev/service=ollama")
    return sum(not pod["metadata"].get("deletionTimestamp") and is_ready(pod) for pod in pods)


@contextlib.contextmanager
def _chart_repository(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
