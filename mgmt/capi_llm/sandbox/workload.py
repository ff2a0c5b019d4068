"""The control planes of KWOK workload clusters: a folder, ports and processes of its own for each.

The folder ``sandboxes/NAME/clusters/UID[:8]`` is laid out like a sandbox's. Its file
``cluster.json`` is written first and says whose it is and which ports it has, so that no
other cluster and no other plane gets them, whether its processes run or not. Those carry the
sandbox's instance word and the folder's name, and are found by it when nothing else is left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from capi_llm.errors import CapiLlmError, Refused
from capi_llm.files import write_private
from capi_llm.identity import Identities
from capi_llm.sandbox import pki, ports, processes, reservations
from capi_llm.sandbox.layout import CLUSTER_FOLDER, Layout
from capi_llm.sandbox.parts import GATEWAY, LOOPBACK, Part, control_plane, gateway
from capi_llm.sandbox.supervisor import CERTIFICATES_MARK, commands_of
from capi_llm.settings import child_environment

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")

MEMORY_BYTES = 400 * 1024**2
"""Memory that one takes, with some room (measured: docs/kwok.md)."""

_FILE = "cluster.json"
_GOGC = "40"
"""Collects garbage earlier: 330 MB a cluster without, 265 MB with it, at no cost that was seen. What the
environment of the plane's ``bootstrap`` says goes before it."""


@dataclass(frozen=True)
class Workload:
    """One workload cluster's control plane. ``uid`` is the Cluster's.

    ``kube_system`` is the UID of its own kube-system namespace, empty until its API server
    has answered once.
    """

    uid: str
    name: str
    namespace: str
    services: str
    pods: str
    ports: Mapping[str, int]
    kube_system: str = ""

    @property
    def folder(self) -> str:
        return self.uid[:CLUSTER_FOLDER]

    @property
    def server(self) -> str:
        return f"https://{LOOPBACK}:{self.ports['kube-apiserver']}"


class Workloads:
    """Those of one sandbox. ``instance`` is the word that marks the sandbox's processes."""

    def __init__(self, sandbox: Layout, instance: str) -> None:
        self._sandbox = sandbox
        self._instance = instance

    def layout(self, workload: Workload) -> Layout:
        return self._sandbox.cluster(workload.folder)

    def instance(self, workload: Workload) -> str:
        """The word that marks the processes of ``workload``."""
        return self._instance_of(workload.folder)

    def parts(self, workload: Workload) -> tuple[Part, ...]:
        """Its processes: executables as the sandbox's own supervisor has them.

        The last one, only where LiteLLM is installed, is what stands behind its simulated pods.
        """
        layout, commands = self.layout(workload), commands_of(self._sandbox)
        executables = {name: Path(commands[name][0]) for name in PARTS if name in commands}
        if len(executables) < len(PARTS):
            raise CapiLlmError(
                "the sandbox's configuration does not say what to execute",
                on=str(self._sandbox.supervisor_config),
                fix="capi-llm bootstrap",
            )
        found = control_plane(
            layout, workload.ports, executables, services=workload.services, pods=workload.pods
        )
        if GATEWAY in workload.ports and importlib.util.find_spec("litellm"):
            found += (gateway(layout, workload.ports[GATEWAY]),)
        garbage = child_environment().get("GOGC", _GOGC)
        environment = {"GOGC": garbage, CERTIFICATES_MARK: pki.fingerprint(layout)}
        return tuple(dataclasses.replace(part, env={**part.env, **environment}) for part in found)

    def reserve(self, uid: str, name: str, namespace: str, *, services: str, pods: str) -> Workload:
        """The control plane of the Cluster ``uid``; where there is none yet, its ports are assigned.

        Raises Refused where the folder is another Cluster's, PrerequisiteMissing without free ports.
        """
        found = self.find(uid)
        if found is not None:
            return found
        with self._alone(f"reserve {namespace}/{name}"):
            found = self.find(uid)
            if found is not None:
                return found  # another of its objects asked first
            folder = self._sandbox.clusters / uid[:CLUSTER_FOLDER]
            if folder.exists():
                self.remove(folder)  # without its file: a removal was killed halfway
            assigned = ports.assign(reserved_ports(_state(self._sandbox)), ports.WORKLOAD)
            workload = Workload(uid, name, namespace, services, pods, assigned)
            self._write(workload)
        return workload

    def find(self, uid: str) -> Workload | None:
        """The control plane of the Cluster ``uid``, or None. Raises Refused where the folder is not its."""
        workload = read(self._sandbox.clusters / uid[:CLUSTER_FOLDER])
        if workload is not None and workload.uid != uid:
            raise Refused(
                "another cluster's control plane is in the folder of this one",
                on=str(self.layout(workload).root),
                why=f"it is {workload.namespace}/{workload.name}, and both UIDs begin with {workload.folder}",
                fix="delete the newer cluster and make it again: it gets another UID",
            )
        return workload

    def record(self, workload: Workload, kube_system: str) -> Workload:
        """Write down which cluster answered: the UID of its kube-system namespace."""
        known = dataclasses.replace(workload, kube_system=kube_system)
        self._write(known)
        return known

    def folders(self) -> list[Path]:
        """The folders of all control planes, also what is left of one."""
        return sorted(path for path in self._sandbox.clusters.glob("*") if path.is_dir())

    def remove(self, folder: Path) -> None:
        """End the processes of the control plane in ``folder``, and remove it. Nothing happens if it is gone.

        Raises CapiLlmError where something of it stays.
        """
        instance, layout = self._instance_of(folder.name), self._sandbox.cluster(folder.name)
        processes.stop(layout, instance, at_once=True)
        if left := processes.running(instance):
            raise _still_running(left)
        layout.socket.unlink(missing_ok=True)
        try:
            while folder.exists():
                with contextlib.suppress(FileNotFoundError):  # another removes it, too
                    _remove_tree(folder)
        except OSError as error:
            raise CapiLlmError(
                "the folder of a workload cluster can not be removed",
                on=str(error.filename or folder),
                why=error.strerror or str(error),
                fix="make it removable; it is tried again",
            ) from error

    def remove_unnamed(self) -> list[str]:
        """:meth:`remove` folders without their file, which a killed removal leaves. Returns their names.

        Raises CapiLlmError for the last one that stays, after the others.
        """
        if all((folder / _FILE).exists() for folder in self.folders()):
            return []
        removed, stays = [], None
        with self._alone("remove what is left of workload clusters"):  # one that is being made gets it yet
            for folder in self.folders():
                if (folder / _FILE).exists():
                    continue
                try:
                    self.remove(folder)
                    removed.append(folder.name)
                except CapiLlmError as error:
                    stays = error
        if stays is not None:
            raise stays
        return removed

    def remove_all(self) -> None:
        """:meth:`remove` all of them."""
        for folder in self.folders():
            self.remove(folder)
        if left := processes.running_below(self._instance):
            raise _still_running(left)

    def _alone(self, command: str) -> AbstractContextManager[None]:
        """The lock under which folders and ports are given out."""
        return reservations.alone(_state(self._sandbox), command)

    def _instance_of(self, folder: str) -> str:
        return f"{self._instance}.{folder}" if self._instance else ""

    def _write(self, workload: Workload) -> None:
        path = self.layout(workload).root / _FILE
        write_private(path, json.dumps(dataclasses.asdict(workload), indent=2) + "\n")


def read(folder: Path) -> Workload | None:
    """Whose control plane is in ``folder``; None without its file. Raises Refused for a broken one."""
    try:
        return Workload(**json.loads((folder / _FILE).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Refused(
            "the file of a workload cluster can not be used",
            on=str(folder / _FILE),
            why=str(error),
            fix="delete the cluster: capi-llm delete-cluster",
        ) from error


def of_sandbox(sandbox: Layout) -> list[Workload]:
    """Every control plane of a sandbox whose file can be read."""
    found = []
    for path in sorted(sandbox.clusters.glob(f"*/{_FILE}")):
        try:
            workload = read(path.parent)
        except Refused:
            continue
        found += [workload] if workload else []
    return found


def has_gateway(sandbox: Layout, namespace: str, name: str) -> bool:
    """Whether a real LiteLLM stands behind the simulated pods of that cluster."""
    return (namespace, name) in gateways(sandbox)


def gateways(sandbox: Layout) -> set[tuple[str, str]]:
    """The clusters, by namespace and name, behind whose simulated pods a real LiteLLM stands."""
    return {
        (item.namespace, item.name)
        for item in of_sandbox(sandbox)
        if GATEWAY in commands_of(sandbox.cluster(item.folder))
    }


def reserved_ports(state: Path) -> set[int]:
    """The ports of every plane and of every workload cluster of this user, running or not.

    ``state`` is the state folder that is asked for; others are known by :mod:`capi_llm.sandbox.reservations`.
    """
    states = reservations.folders(state)
    of_planes = {
        port for folder in states for plane in Identities(folder).all() for port in plane.ports.values()
    }
    sandboxes = [Layout(path) for folder in states for path in (folder / "sandboxes").glob("*")]
    workloads = [workload for sandbox in sandboxes for workload in of_sandbox(sandbox)]
    return of_planes | {port for workload in workloads for port in workload.ports.values()}


def _remove_tree(folder: Path) -> None:
    """The file that says whose it is goes last: who is killed meanwhile comes back to it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _FILE:
            path.unlink()
    shutil.rmtree(folder)


def _state(sandbox: Layout) -> Path:
    return sandbox.root.parent.parent


def _still_running(left: Mapping[int, str]) -> CapiLlmError:
    names = ", ".join(f"{name} (pid {pid})" for pid, name in left.items())
    return CapiLlmError(
        "processes with the mark of a workload cluster are still there, and are none of its parts",
        on=names,
        fix=f"end them (kill {' '.join(map(str, left))}), then run the command again",
    )
