"""Where the files of one sandbox are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from capi_llm.errors import BadInput

_SOCKET_LIMIT = 100
"""Longest path of a unix socket, bytes: sun_path holds 108 on Linux and 104 on macOS."""

CLUSTER_FOLDER = 8
"""Characters in the name of a workload cluster's folder: the first ones of the Cluster's UID."""


@dataclass(frozen=True)
class Layout:
    """Paths under ``root``, the folder of one sandbox or of one workload cluster."""

    root: Path
    socket_in: Path | None = None
    """Folder of the supervisor's socket where it is not ``root``."""

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def etcd_data(self) -> Path:
        return self.root / "etcd"

    @property
    def clusters(self) -> Path:
        """The control planes of its KWOK workload clusters: a folder each, see :meth:`cluster`."""
        return self.root / "clusters"

    def cluster(self, folder: str) -> Layout:
        """The layout of one of them. Its socket is here, as the path of a socket must be short."""
        return Layout(self.clusters / folder, self.root)

    @property
    def audit_log(self) -> Path:
        """The API server's own record of every write: who, when, what."""
        return self.logs / "audit.log"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.config / "admin.kubeconfig"

    @property
    def supervisor_config(self) -> Path:
        return self.config / "supervisord.conf"

    @property
    def socket(self) -> Path:
        if self.socket_in is not None:
            return self.socket_in / f"{self.root.name}.sock"
        return self.root / "supervisor.sock"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def kubeconfig(self, part: str) -> Path:
        return self.config / f"{part}.kubeconfig"

    def certificate(self, name: str) -> Path:
        return self.pki / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.pki / f"{name}.key"

    def webhook_certs(self, part: str) -> Path:
        """Folder with the ``tls.crt`` and ``tls.key`` of one manager's webhook server."""
        return self.pki / "webhook" / part

    def check(self) -> None:
        """Raise BadInput where the path is nothing for the supervisor's unix socket or configuration."""
        if '"' in str(self.root) or not can_hold(str(self.root)):
            raise BadInput(
                "the state folder's path can not be used for a sandbox",
                on=str(self.root),
                why=WHY_NOT,
                fix="set CAPI_LLM_STATE to another path",
            )
        if len(str(self.socket).encode()) > _SOCKET_LIMIT:
            raise BadInput(
                "the state folder's path is too long for a unix socket",
                on=str(self.socket),
                why=f"{len(str(self.socket).encode())} bytes, {_SOCKET_LIMIT} at most",
                fix="set CAPI_LLM_STATE to a shorter path",
            )


WHY_NOT = 'the supervisor\'s configuration can not hold \'"\', nor a new line, nor "#" or ";" after a space'


def can_hold(text: str) -> bool:
    """Whether ``text`` can be a value in the supervisor's configuration (see :data:`WHY_NOT`)."""
    return not re.search(r"[\x00-\x1f\x7f]|\s[#;]", text)


def layout(state: Path, name: str) -> Layout:
    """The layout of the sandbox called ``name`` under the state folder."""
    return Layout(state / "sandboxes" / name)
