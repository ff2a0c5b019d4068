"""Requests without a pause against an app, and how many of them were lost."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from endtoend.run import Run, is_ready

NODE_PORT = 30400
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: traffic, namespace: llm}
spec:
  type: NodePort
  selector: {SELECTOR}
  ports: [{port: 80, targetPort: http, nodePort: PORT}]
"""


def expose(run: Run, cluster: str, deployment: str) -> None:
    """A Service at a port of every node, for the pods of a Deployment in namespace llm."""
    (found,) = run.get(cluster, "deployment", "-n", "llm", f"--field-selector=metadata.name={deployment}")
    labels = found["spec"]["selector"]["matchLabels"]
    selector = ", ".join(f"{key}: {value}" for key, value in labels.items())
    text = _SERVICE.replace("SELECTOR", selector).replace("PORT", str(NODE_PORT))
    run.kubectl(cluster, "apply", "-f", "-", stdin=text)


class Traffic:
    """Sends requests to a node port of nodes that are Ready and not cordoned, as a load balancer does.

    Each request is a connection of its own and is tried once; what is not answered with 200 is lost.
    """

    def __init__(self, run: Run, cluster: str) -> None:
        kubeconfig = run.folder / "traffic.kubeconfig"
        kubeconfig.touch(0o600)
        kubeconfig.write_text(run.capi_llm("kubeconfig", cluster, "--stdout").data)
        # By kubectl itself: it is asked all the time, and the machine has other work.
        self._nodes = (run.ready.kubectl, "--kubeconfig", kubeconfig, "get", "nodes", "--output", "json")
        self._addresses: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look, self._ask)]
        self.answered = 0
        self.lost: list[str] = []
        self.pods: set[str] = set()

    def __enter__(self) -> Traffic:
        self._refresh()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def summary(self) -> dict[str, Any]:
        return {
            "requests": self.answered + len(self.lost),
            "lost": len(self.lost),
            "examples of lost": self.lost[:5],
            "answered by pods": len(self.pods),
        }

    def _refresh(self) -> None:
        done = subprocess.run(self._nodes, text=True, capture_output=True, timeout=10, check=True)
        nodes = json.loads(done.stdout)["items"]
        self._addresses = [address for node in nodes if (address := _address(node))] or self._addresses

    def _look(self) -> None:
        self._repeat(0.5, self._refresh)

    def _ask(self) -> None:
        self._repeat(0.02, self._one)

    def _repeat(self, pause: float, work: Callable[[], None]) -> None:
        while not self._ended.wait(pause):
            try:
                work()
            except (subprocess.SubprocessError, ValueError):
                continue  # the API server moves too: the addresses of before are used on

    def _one(self) -> None:
        addresses = self._addresses
        address = addresses[(self.answered + len(self.lost)) % len(addresses)]
        try:
            connection = http.client.HTTPConnection(address, NODE_PORT, timeout=5)
            connection.request("GET", "/v1/models")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            self.answered += 1
            self.pods.add(answer.headers.get("X-Pod", ""))
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{time.strftime('%H:%M:%S')} {address}: {type(error).__name__} {error}")


def _address(node: dict[str, Any]) -> str:
    if not is_ready(node) or node["spec"].get("unschedulable"):
        return ""
    return next((item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"), "")
