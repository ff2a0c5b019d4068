"""The cluster of a kind plane: a container of kind, made once, started again where it was stopped.

Whose a cluster is, its containers say: the folder of the plane is mounted into them, and its name has
the plane's random word. What kind has not finished is known by its kubeconfig, which kind
writes last; it is deleted and made again. A ``kind create`` that a killed run has left at work is
waited for: it holds a lock as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from capi_llm import documents, shell, versions
from capi_llm.containers import networks
from capi_llm.containers.docker import Container, Docker
from capi_llm.containers.facts import socket_of
from capi_llm.errors import CapiLlmError, Refused
from capi_llm.files import private_folder, write_private
from capi_llm.identity import Identity
from capi_llm.sandbox import executables
from capi_llm.settings import command_environment
from capi_llm.steps import budgets, mirrors, teardown
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.management_cluster import NAME, identified
from capi_llm.waiting import Status, pending, ready, until

SOCKET_LABEL = f"{versions.GROUP}/docker-socket"
"""Label of the node that the host's Docker socket is mounted into."""

_MARK = "owner-"


class KindCluster(Step):
    """Its containers run, and its API server answers and is the recorded one."""

    name = NAME
    interval = 1.0
    timeout = budgets.KIND_CLUSTER
    needs = ("executables", "node-image", "docker-network")

    def probe(self, ctx: Context) -> Status:
        found = _containers(ctx)
        if not found:
            return pending("to be made")
        check_ours(ctx.identity, found)
        if not _finished(ctx):
            return pending("half made, by a run that was stopped: to be made again")
        stopped = [item.name for item in found if not item.running or not item.addresses]
        if stopped:
            return pending(f"stopped: {', '.join(stopped)}", fix="capi-llm bootstrap starts it")
        status = identified(ctx)
        return ready(f"{Choices.of(ctx.identity).cluster} answers") if status.ready else status

    def apply(self, ctx: Context) -> None:
        folder = folder_of(ctx.identity)
        with _alone(ctx, folder) as lock:
            found = _containers(ctx)
            if found:
                check_ours(ctx.identity, found)
            if found and not _finished(ctx):
                ctx.report.progress(self.name, "deleting what a stopped run has left")
                docker(ctx).remove([item.name for item in found])
                found = []
            if not found:
                _create(ctx, folder, lock)
            for item in found:
                if not item.addresses:  # a run was killed while it gave it another address
                    docker(ctx).run("network", "connect", networks.KIND, item.name)
            docker(ctx).start([item.name for item in found if not item.running])
        if not ctx.identity.uid:
            until(lambda: _answers(ctx), what=self.name, timeout=self.timeout, waiter=ctx.waiter)
            ctx.plane.record_uid(ctx.api().uid())

    def remove(self, ctx: Context) -> None:
        """The workload clusters on it, then the cluster. One of that name that is not ours stays."""
        found = _containers(ctx)
        if any(is_ours(ctx.identity, item) for item in found):
            teardown.workload_clusters(ctx, docker(ctx))
            with _alone(ctx, folder_of(ctx.identity)):
                docker(ctx).remove([item.name for item in _containers(ctx)])
        shutil.rmtree(folder_of(ctx.identity), ignore_errors=True)


def docker(ctx: Context) -> Docker:
    """Docker's command line, stopped with the run."""
    return Docker.require(command_environment(), ctx.cancel)


def folder_of(identity: Identity) -> Path:
    """Where the plane's files are: kubeconfig, kind's configuration, the mark."""
    return Path(identity.kubeconfig).parent


def node_name(identity: Identity) -> str:
    """The container of the control-plane node
    (https://github.com/kubernetes-sigs/kind/blob/v0.30.0/pkg/cluster/internal/providers/common/namer.go)."""
    return f"{Choices.of(identity).cluster}-control-plane"


def is_ours(identity: Identity, container: Container) -> bool:
    """Whether the container was made for this very plane."""
    return any(Path(path).name == f"{_MARK}{identity.instance}" for path in container.mounts)


def check_ours(identity: Identity, found: list[Container]) -> None:
    """Raise Refused where a cluster of the name is somebody else's."""
    if not any(is_ours(identity, item) for item in found):
        cluster = Choices.of(identity).cluster
        raise Refused(
            f"there is a cluster called {cluster!r} in Docker that is not of plane {identity.name!r}",
            on=", ".join(item.name for item in found),
            why="it was made by something else, or by a plane whose file is gone",
            fix=f"set CLUSTER_NAME to another name, or take it away: kind delete cluster --name {cluster}",
        )


def config(identity: Identity, socket: str, certs: Path | None) -> dict[str, Any]:
    """kind's configuration of the cluster. ``socket`` is Docker's on the daemon's side, ``certs`` a folder
    of registry mirrors. Pure."""
    choices = Choices.of(identity)
    mounts = [
        {"hostPath": socket, "containerPath": "/var/run/docker.sock"},
        {"hostPath": str(mark_of(identity)), "containerPath": "/etc/capi-llm", "readOnly": True},
    ]
    if certs is not None:
        mounts.append({"hostPath": str(certs), "containerPath": "/etc/containerd/certs.d", "readOnly": True})
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": choices.cluster,
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [
            {
                "role": "control-plane",
                "image": choices.node_image,
                "labels": {SOCKET_LABEL: "true"},
                "extraMounts": mounts,
            }
        ],
    }


def instance_in(folder: Path) -> str:
    """The random word of the plane whose files are in ``folder``; "" where there is none."""
    return next((path.name.removeprefix(_MARK) for path in folder.glob(f"{_MARK}*")), "")


def mark_of(identity: Identity) -> Path:
    return folder_of(identity) / f"{_MARK}{identity.instance}"


def _create(ctx: Context, folder: Path, lock: int) -> None:
    identity = ctx.identity
    kubeconfig = Path(identity.kubeconfig)
    kubeconfig.unlink(missing_ok=True)
    # kind's own lock on that file, which a killed one leaves there.
    kubeconfig.with_name(f"{kubeconfig.name}.lock").unlink(missing_ok=True)
    private_folder(mark_of(identity))
    here = docker(ctx)
    text = documents.written(config(identity, socket_of(here), mirrors.write(here, folder)))
    write_private(folder / "kind.yaml", text)
    kind = executables.one(ctx.settings, "kind", cancel=ctx.cancel)
    ctx.report.progress(NAME, f"kind creates {Choices.of(identity).cluster}")
    shell.run(
        [
            kind, "create", "cluster", "--config", folder / "kind.yaml",
            "--kubeconfig", kubeconfig, "--retain",
        ],
        env=command_environment(),
        timeout=budgets.KIND_CLUSTER,
        cancel=ctx.cancel,
        on_line=lambda line: ctx.report.progress(NAME, line.strip()),
        inherit=(lock,),
    )  # fmt: skip
    kubeconfig.chmod(0o600)


def _finished(ctx: Context) -> bool:
    """Whether kind has come to its end: it writes the kubeconfig last."""
    try:
        return bool(yaml.safe_load(Path(ctx.identity.kubeconfig).read_text())["users"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return False


def _answers(ctx: Context) -> Status:
    return ctx.api().ready()


def _containers(ctx: Context) -> list[Container]:
    return docker(ctx).of_cluster(Choices.of(ctx.identity).cluster)


@contextlib.contextmanager
def _alone(ctx: Context, folder: Path) -> Iterator[int]:
    """Hold the lock that a ``kind create`` holds as long as it lives."""
    private_folder(folder)
    handle = os.open(folder / "kind.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def probe() -> Status:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return pending("the kind of a killed run is still at work")
        except OSError as error:
            raise CapiLlmError("a lock can not be taken", on=str(folder), why=str(error)) from error
        return ready()

    try:
        until(probe, what="kind", timeout=budgets.KIND_CLUSTER, waiter=ctx.waiter)
        yield handle
    finally:
        os.close(handle)
