"""What is left of a sandbox: beside it when it is destroyed, and where its plane file is gone or damaged."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from urllib.parse import urlsplit

from capi_llm.errors import CapiLlmError
from capi_llm.files import sweep
from capi_llm.identity import Identity
from capi_llm.kube import kubeconfig, userfile
from capi_llm.kube.merging import Mark
from capi_llm.sandbox import workload
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.ports import IN_MEMORY_RANGE
from capi_llm.sandbox.supervisor import instance_of, loopback_of
from capi_llm.settings import kubeconfig_files

_log = logging.getLogger(__name__)


def of(state: Path, name: str) -> list[Path]:
    """What there is of ``name`` beside its plane file: its folder, or the lock of a killed ``destroy``."""
    places = layout(state, name).root, _locks(state) / f"{name}.lock"
    return [path for path in places if path.exists()]


def found(state: Path) -> str:
    """A name that something is left of, "" if there is none."""
    names = [path.name for path in layout(state, "-").root.parent.glob("*")]
    names += [path.stem for path in _locks(state).glob("*.lock") if "." not in path.stem]
    return min(names, default="")


def identity(state: Path, name: str) -> Identity:
    """As much of the plane as its folder still says: whose processes, which address, which server."""
    folder = layout(state, name)
    server = urlsplit(kubeconfig.server_of(folder.admin_kubeconfig))
    return Identity(
        name,
        "sandbox",
        str(folder.admin_kubeconfig),
        "",
        instance=instance_of(folder),
        loopback=loopback_of(folder),
        ports={"kube-apiserver": server.port} if server.port else {},
    )


def forget_kubeconfigs(state: Path, folder: Path, plane: Identity) -> None:
    """Remove the kubeconfigs saved in ``folder`` that lead to the sandbox or to its workload clusters.

    Which servers these are, the sandbox's folder says: before it is removed.
    """
    if plane.kind != "sandbox":
        servers = {kubeconfig.server_of(Path(plane.kubeconfig))} - {""}
    else:
        servers = {f"https://127.0.0.1:{plane.ports.get('kube-apiserver', 0)}"}
        low, high = IN_MEMORY_RANGE
        servers |= {f"https://{plane.loopback}:{port}" for port in range(low, high)}
        servers |= {item.server for item in workload.of_sandbox(layout(state, plane.name))}
    sweep(folder)
    for path in (*folder.glob("kubeconfig-*.yaml"), *folder.glob("management-*.yaml")):
        if kubeconfig.server_of(path) in servers:
            path.unlink(missing_ok=True)


def forget_merged(identity: Identity, namespace: str = "", cluster: str = "") -> list[Path]:
    """Take contexts of the plane, or of one cluster on it, out of the person's own kubeconfig files.

    Only what ``kubeconfig --merge`` has put there. Returns which files had some; a file that
    can not be changed now stays as it is.
    """

    def gone(mark: Mark) -> bool:
        ours = mark.plane == identity.name and mark.uid == identity.uid
        return ours and (not cluster or (mark.namespace, mark.name) == (namespace, cluster))

    try:
        return userfile.forget(kubeconfig_files(), gone)
    except CapiLlmError as error:
        _log.warning("contexts of what is gone stay: %s", error.brief)
        return []


def remove_empty(state: Path) -> None:
    """Remove the state folder and its folders as far as nothing is in them."""
    for folder in ("planes", "sandboxes", "kind", "locks", "."):
        with contextlib.suppress(OSError):  # not empty, or gone
            (state / folder).rmdir()


def _locks(state: Path) -> Path:
    return state / "locks"
