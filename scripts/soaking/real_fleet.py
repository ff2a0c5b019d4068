"""A real Fleet as processes on a sandbox: what its chart would install, without images and nodes.

The controller, the agent management and the HelmOps controller run against the plane, one agent runs
against each workload cluster. They are built from Fleet's public source (cmd/fleetcontroller and
cmd/fleetagent at a v0.14 tag); crds.yaml is charts/fleet-crd/templates/crds.yaml of the same tag.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api

NAMESPACE = "cattle-fleet-system"
EXECUTABLES = ("fleetcontroller", "fleetagent")
CRDS = "crds.yaml"

_MANAGER = "soak"


@dataclass
class RealFleet:
    """``binaries`` has :data:`EXECUTABLES` and :data:`CRDS`; logs go to ``folder``."""

    binaries: Path
    folder: Path
    plane_kubeconfig: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def install(self, api: Api) -> None:
        """The definitions, the configuration, and what the controllers look for at their start."""
        with (self.binaries / CRDS).open() as file:
            apply(api, [obj for obj in yaml.load_all(file, yaml.CSafeLoader) if obj], manager=_MANAGER)
        cluster = yaml.safe_load(self.plane_kubeconfig.read_text())["clusters"][0]["cluster"]
        config = {
            "agentImage": "rancher/fleet-agent:simulated",
            "apiServerURL": cluster["server"],
            "apiServerCA": cluster["certificate-authority-data"],
            "agentCheckinInterval": "15s",
            "agentTLSMode": "strict",
            "garbageCollectionInterval": "15s",
            "bootstrap": {"agentNamespace": NAMESPACE},
        }
        named: dict[str, Any] = {"name": "fleet-controller", "namespace": NAMESPACE}
        labels = {"app": "fleet-controller"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "fleet-controller", "image": "simulated"}]},
        }
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named,
             "data": {"config": json.dumps(config)}},
            {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": named,
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            },
        ]  # fmt: skip
        apply(api, objects, manager=_MANAGER)

    def start(self) -> None:
        """The three controllers of the management side."""
        plane = ["--kubeconfig", str(self.plane_kubeconfig)]
        self._start("controller", ["fleetcontroller", *plane, "--disable-metrics", "--namespace", NAMESPACE])
        self._start("helmops", ["fleetcontroller", "helmops", "--disable-metrics"])
        self._start("agentmanagement", ["fleetcontroller", "agentmanagement", *plane, "--disable-bootstrap"])

    def start_agent(self, cluster: str, kubeconfig: Path) -> None:
        """The agent of ``cluster``, which the simulated pod of Deployment fleet-agent stands for there."""
        self._start(
            f"agent-{cluster}", ["fleetagent", "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]
        )

    def stop_agent(self, cluster: str) -> None:
        self._stop(f"agent-{cluster}")

    def stop(self) -> None:
        for name in list(self._running):
            self._stop(name)

    def dead(self) -> list[str]:
        """Processes that have ended by themselves."""
        ended = {name: process.poll() for name, process in self._running.items()}
        return [f"{name} ended with {code}: see its log" for name, code in ended.items() if code is not None]

    def _start(self, name: str, argv: list[str]) -> None:
        election = {
            f"{prefix}_ELECTION_{key}": value
            for prefix in ("CATTLE", "FLEET_AGENT")
            for key, value in (("LEASE_DURATION", "30s"), ("RENEW_DEADLINE", "20s"), ("RETRY_PERIOD", "2s"))
        }
        env = {
            **os.environ, **election,
            "NAMESPACE": NAMESPACE,
            "KUBECONFIG": str(self.plane_kubeconfig),  # helmops does not look at its flag
            "FLEET_METRICS_BIND_ADDRESS": f"127.0.0.1:{_free_port()}",
            "FLEET_HEALTHPROBE_BIND_ADDRESS": f"127.0.0.1:{_free_port()}",
            "FLEET_AGENT_METRICS_BIND_ADDRESS": f"127.0.0.1:{_free_port()}",
            "FLEET_AGENT_PROBE_BIND_ADDRESS": f"127.0.0.1:{_free_port()}",
            "FLEET_AGENT_PPROF_DISABLED": "true",
            "CHECKIN_INTERVAL": "15s",
            "HELM_CACHE_HOME": str(self.folder / "helm"),
        }  # fmt: skip
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(self.binaries / argv[0]), *argv[1:]], env=env, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log(self, name: str) -> Path:
        return self.folder / f"fleet-{name}.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
