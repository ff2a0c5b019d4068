"""One sandbox in a folder of its own, driven by the command line as a person would."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

CAPI_LLM: tuple[str, ...] = (sys.executable, "-m", "capi_llm")
INSTANCE_MARK, PART_MARK = "CAPI_LLM_SANDBOX", "CAPI_LLM_SANDBOX_PART"
CLUSTER = "demo"
KINDS = (
    "clusters,machines,machinesets,machinedeployments,machinepools,machinehealthchecks,"
    "kubeadmcontrolplanes,kubeadmconfigs,devclusters,devmachines,kwokclusters,kwokcontrolplanes,kwokmachines"
)
KWOK = False
"""Whether clusters are KWOK ones: no machine for the control plane, processes instead."""

LONGEST = 300
"""Seconds after which a command hangs; that is a failure."""


@dataclass(frozen=True)
class Run:
    """How a command ended: exit code (None: it hung), seconds, what it said on stderr."""

    argv: tuple[str, ...]
    code: int | None
    seconds: float
    said: str
    data: str = ""

    @property
    def last(self) -> str:
        return self.said.strip()[-1500:]


@dataclass
class Life:
    """A sandbox's folder and what has been seen of it."""

    name: str
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    instance: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    loopback: str = ""

    @classmethod
    def begin(cls, number: int, folder: Path | None = None) -> Life:
        # Two runs on one machine have planes of different names; paths stay short for unix sockets.
        return cls(
            f"soak-{number}-{secrets.token_hex(2)}", folder or Path(tempfile.mkdtemp(prefix="capi-llm-soak-"))
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "CAPI_LLM_STATE": str(self.folder / "state"),
            "CAPI_LLM_KUBECONFIGS": str(self.folder / "kubeconfigs"),
            "CAPI_LLM_PLANE": self.name,
            "CAPI_LLM_CLUSTER_CLASS": f"{'kwok' if KWOK else 'in-memory'}-llm-clusterclass",
            "TMPDIR": str(self.folder),
            **self.extra,
        }

    @property
    def root(self) -> Path:
        return self.folder / "state/sandboxes" / self.name

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CAPI_LLM, *argv], env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
        )  # fmt: skip

    def end(self, command: subprocess.Popen[str], argv: Sequence[str], since: float) -> Run:
        """Wait for ``command``; one that hangs is killed and has no exit code."""
        try:
            data, said = command.communicate(timeout=LONGEST)
            code: int | None = command.returncode
        except subprocess.TimeoutExpired:
            command.kill()
            data, said = command.communicate()
            code = None
        return Run(tuple(argv), code, round(time.monotonic() - since, 1), said, data)

    def run(self, *argv: str) -> Run:
        since = time.monotonic()
        return self.end(self.start(argv), argv, since)

    def kill_in(self, argv: Sequence[str], moment: float) -> tuple[int, Run | None]:
        """Start a command, SIGKILL it after ``moment`` seconds: its pid, and its end if that was sooner."""
        since = time.monotonic()
        command = self.start(argv)
        try:
            data, said = command.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGKILL)
            command.communicate()
            return command.pid, None
        return command.pid, Run(
            tuple(argv), command.returncode, round(time.monotonic() - since, 1), said, data
        )

    def note(self) -> None:
        """Remember what the plane file says, for what must be gone at the end."""
        try:
            plane = json.loads((self.folder / f"state/planes/{self.name}.json").read_text())
        except (OSError, ValueError):
            return
        self.instance, self.ports, self.loopback = plane["instance"], plane["ports"], plane["loopback"]

    def kubectl(self, *argv: str) -> Any:
        """The answer of kubectl on the plane itself."""
        done = subprocess.run(
            [self.kubectl_path, f"--kubeconfig={self.root}/config/admin.kubeconfig", *argv, "-o", "json"],
            text=True, capture_output=True, timeout=LONGEST,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(argv)}: {done.stderr}")
        return json.loads(done.stdout)

    @property
    def kubectl_path(self) -> str:
        cache = Path(os.environ.get("CAPI_LLM_CACHE") or Path.home() / ".cache/capi-llm")
        return str(next((cache / "parts/kubectl").glob("*/kubectl")))

    def processes(self) -> dict[str, psutil.Process]:
        """Part → process, of the sandbox."""
        found = {}
        for process in psutil.process_iter():
            try:
                env = process.environ()
                mark = env.get(INSTANCE_MARK, "")
                if self.instance and mark == self.instance:
                    found[env[PART_MARK]] = process
                elif self.instance and mark.startswith(f"{self.instance}."):
                    found[f"{env[PART_MARK]} of cluster {mark.rpartition('.')[2]}"] = process
            except (psutil.Error, OSError):
                continue
        return found

    def plane_wrong(self) -> list[str]:
        """What is not as it must be after ``bootstrap``."""
        self.note()
        status = self.run("status", "-o", "json")
        if status.code:
            return [f"status ends with {status.code}: {status.last}"]
        plane = json.loads(status.data)["plane"]
        wrong = [f"{step['name']}: {step['message']}" for step in plane["steps"] if step["state"] != "Ready"]
        if not wrong:
            uid = self.kubectl("get", "namespace", "kube-system")["metadata"]["uid"]
            if self.uid and uid != self.uid:
                wrong.append("the API server has lost its data")
            self.uid = uid
        return wrong

    def cluster_wrong(self, workers: int) -> list[str]:
        """What is not as it must be when the cluster is there with ``workers`` machines and ready."""
        found = json.loads(self.run("status", "-o", "json").data)
        wrong = [] if found["plane"]["ready"] else ["the plane is not ready"]
        if [(item["name"], item["ready"]) for item in found["clusters"]] != [(CLUSTER, True)]:
            wrong.append(f"status shows {found['clusters']}")
        machines = self.kubectl("get", "machines", "-A")["items"]
        phases = sorted(item.get("status", {}).get("phase", "") for item in machines)
        all_machines = workers if KWOK else workers + 1
        if phases != ["Running"] * all_machines:
            wrong.append(f"machines are {phases}, wanted {all_machines}")
        deployments = self.kubectl("get", "machinedeployments", "-A")["items"]
        if [item["spec"]["replicas"] for item in deployments] != [workers]:
            wrong.append(f"{len(deployments)} MachineDeployments, or not {workers} replicas")
        nodes = self.run("kubeconfig", CLUSTER, "--", "kubectl", "get", "nodes", "-o", "name")
        if nodes.code or len(nodes.data.split()) != all_machines:
            wrong.append(f"the cluster's own nodes: {nodes.data} {nodes.last}")
        if not (self.folder / f"kubeconfigs/kubeconfig-{CLUSTER}.yaml").exists():
            wrong.append("no kubeconfig was saved")
        return wrong + self._leases()

    def _leases(self) -> list[str]:
        held = self.kubectl("get", "leases", "-n", "kube-system")["items"]
        return [
            f"lease {item['metadata']['name']} is still there"
            for item in held
            if item["metadata"]["name"].startswith("capi-llm.")
        ]

    def no_cluster_wrong(self) -> list[str]:
        """What is left of a cluster that was deleted."""
        left = self.kubectl("get", KINDS, "-A")["items"]
        wrong = [f"{item['kind']} {item['metadata']['name']} is left" for item in left]
        owned = self.kubectl("get", "secrets", "-A", "-l", "cluster.x-k8s.io/cluster-name")["items"]
        wrong += [f"Secret {item['metadata']['name']} is left" for item in owned]
        if list((self.folder / "kubeconfigs").glob("*")):
            wrong.append("its kubeconfig is left")
        wrong += [f"{path.name} is left" for path in (self.root / "clusters").glob("*")]
        return wrong + self._leases()

    def left(self) -> list[str]:
        """What is left of the whole sandbox: files, folders, processes, ports."""
        left = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]
        left = [path for path in left if path != "kubeconfigs"]
        left += [f"process {part} {process.pid}" for part, process in self.processes().items()]
        left += [f"port {name} {port}" for name, port in self.ports.items() if not _free("127.0.0.1", port)]
        return left + ([] if not self.loopback or _free(self.loopback, 20000) else [f"{self.loopback}:20000"])

    def clear(self) -> None:
        """After a failure: end what is left, so that the next life begins clean."""
        for process in self.processes().values():
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
