"""Pods that are simulated by KWOK, behind which real servers answer, for tests of port-forwarding.

A real etcd and API server; nodes of one KWOK process each, which can be killed like a machine; and a
real HTTP server on loopback behind each pod name. EndpointSlices are written by the test, as no
controller runs here.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import yaml

from capi_llm import waiting
from capi_llm.kube.client import Api
from capi_llm.kube.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, Object, Ref
from control_plane import ControlPlane, free_port

_Found = TypeVar("_Found")

PORT = 8000
"""The port that every pod seems to listen on; a real server is behind it."""


class Backend(http.server.ThreadingHTTPServer):
    """What answers behind a pod: ``/who``, ``/host``, ``/bytes?n=``, ``/stream?n=``, and POST ``/echo``."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on = threading.Event()
        """A stream sends one piece, and the others when this is set."""
        self.streams = 0
        """How many of ``/stream`` are under way."""
        self.sent = 0
        """Bytes of ``/bytes`` that were taken off the server so far."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that go away are what is tested


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Backend

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        count = int(parse_qs(path.query).get("n", ["1"])[0])
        if path.path == "/stream":
            self._stream(count)
        elif path.path == "/bytes":
            self.send_response(200)
            self.send_header("Content-Length", str(count))
            self.end_headers()
            piece = b"x" * (256 << 10)
            while count:
                written = self.wfile.write(piece[: min(count, len(piece))])
                count, self.server.sent = count - written, self.server.sent + written
        else:
            self._answer(self.headers["Host"] if path.path == "/host" else self.server.name)

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        body = b""
        while left and (piece := self.rfile.read(min(left, 1 << 20))):
            body, left = (body + piece if self.path == "/echo" else b""), left - len(piece)
        self._answer(body.decode() if self.path == "/echo" else str(left))

    def _stream(self, count: int) -> None:
        self.server.streams += 1
        try:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(count):
                text = f"{self.server.name} {number}\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.server.go_on.wait()
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.server.streams -= 1

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Node:
    """One simulated machine: a KWOK process that answers as its kubelet."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._world = world
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        file = self._world.folder.joinpath
        with file(f"kwok-{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._world.executables["kwok"]),
                    f"--config={file('kwok.yaml')}",
                    f"--kubeconfig={self._world.plane.kubeconfig}",
                    "--manage-all-nodes=false",
                    f"--manage-nodes-with-label-selector=simulated={self.name}",
                    "--node-ip=127.0.0.1",
                    f"--node-port={self.port}",
                    f"--server-address=127.0.0.1:{self.port}",
                    f"--tls-cert-file={file('server.crt')}",
                    f"--tls-private-key-file={file('server.key')}",
                ],
                env={**os.environ, "KWOK_WORKDIR": str(file("kwok"))},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        """As when the machine loses its power; nothing is told to the API server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class World:
    """A cluster whose pods are simulated. ``backends`` are by the name of the pods that they stand behind."""

    def __init__(
        self, plane: ControlPlane, executables: Mapping[str, Path], folder: Path, names: tuple[str, ...]
    ) -> None:
        self.plane, self.executables, self.folder = plane, executables, folder
        self.backends = {name: Backend(name) for name in names}
        self.api = Api.from_kubeconfig(plane.kubeconfig)
        text = resources.files("capi_llm.sandbox").joinpath("kwok.yaml").read_text()
        (folder / "kwok.yaml").write_text(
            text + "---\n" + yaml.safe_dump_all(map(_behind, self.backends.values()))
        )
        self.nodes = {name: Node(self, name) for name in ("one", "two")}

    def start(self) -> None:
        for name, node in self.nodes.items():
            node.start()
            self.api.create(NODES, {"metadata": {"name": name, "labels": {"simulated": name}}})

    def close(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for backend in self.backends.values():
            backend.close()
        self.api.close()

    def pod(self, namespace: str, name: str, node: str = "one") -> Object:
        """A pod that runs; its name says which server is behind it."""
        container = {"name": "main", "image": "none", "ports": [{"name": "web", "containerPort": PORT}]}
        self.api.create(
            PODS,
            {
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": "test"}},
                "spec": {"nodeName": node, "containers": [container]},
            },
        )
        return wait_for(lambda: self._running(namespace, name), f"pod {name}")

    def _running(self, namespace: str, name: str) -> Object | None:
        pod = self.api.find(Ref(PODS, name, namespace))
        return pod if pod and (pod.get("status") or {}).get("phase") == "Running" else None

    def service(self, namespace: str, name: str = "web", **spec: Any) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web"}]
        given = {"ports": ports, "selector": {"app": "test"}} | spec
        self.api.create(SERVICES, {"metadata": {"name": name, "namespace": namespace}, "spec": given})

    def publish(self, namespace: str, *pods: Object, service: str = "web") -> None:
        """Make ``pods`` the endpoints of the Service."""
        endpoints = [
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True},
                "targetRef": {
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "namespace": namespace,
                    "uid": pod["metadata"]["uid"],
                },
            }
            for pod in pods
        ]
        labels = {"kubernetes.io/service-name": service}
        slices = {
            "metadata": {"name": f"{service}-1", "namespace": namespace, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
            "endpoints": endpoints,
        }
        ref = Ref(ENDPOINT_SLICES, f"{service}-1", namespace)
        if self.api.find(ref) is None:
            self.api.create(ENDPOINT_SLICES, slices)
        else:
            self.api.replace(ENDPOINT_SLICES, slices)

    def delete(self, namespace: str, name: str, grace: int = 0) -> None:
        """Delete a pod; with a grace of 0 it is gone at once."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace}
        self.api.request("DELETE", PODS.path(namespace, name), body=body)


def _behind(backend: Backend) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterPortForward",
        "metadata": {"name": backend.name},
        "spec": {
            "selector": {"matchNames": [backend.name]},
            "forwards": [{"ports": [PORT], "target": {"address": "127.0.0.1", "port": backend.port}}],
        },
    }


def wait_for(look: Callable[[], _Found | None], what: str, timeout: float = 30) -> _Found:
    """What ``look`` returns as soon as it is something."""
    found: list[_Found] = []

    def probe() -> waiting.Status:
        found[:] = [value] if (value := look()) else []
        return waiting.ready() if found else waiting.pending("not yet")

    waiting.until(probe, what=what, timeout=timeout, waiter=waiting.Waiter(interval=0.05))
    return found[0]


@contextlib.contextmanager
def world(executables: Mapping[str, Path], folder: Path, *names: str) -> Iterator[World]:
    """A cluster with a server behind the pods of each of ``names``."""
    plane = ControlPlane(executables, folder)
    try:
        plane.start()
        made = World(plane, executables, folder, names)
        try:
            made.start()
            yield made
        finally:
            made.close()
    finally:
        plane.stop()
