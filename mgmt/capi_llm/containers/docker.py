"""Docker's command line: which daemon it speaks to is the user's to say (DOCKER_HOST, ``docker context``)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import shell
from capi_llm.errors import CapiLlmError, CommandFailed, PrerequisiteMissing, Unavailable
from capi_llm.waiting import Cancel

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""Label with the cluster's name on every container of kind and of Cluster API's Docker provider
(https://github.com/kubernetes-sigs/kind/blob/v0.30.0/pkg/cluster/internal/providers/docker/constants.go)."""

ASK_SECONDS = 15.0
"""Longest wait for an answer that is a look only: on a disk at work, one that takes 5 s is no rarity."""

ACT_SECONDS = 120.0
_AWAY = ("cannot connect to the docker daemon", "is the docker daemon running", "error during connect")


@dataclass(frozen=True)
class Container:
    """One container. ``ports`` maps what is published, such as ``6443/tcp``, to HOST:PORT pairs;
    ``mounts`` are the host's paths that are mounted into it; ``addresses`` maps each network to its IPv4
    address there, "" while it does not run; ``restarts`` is what Docker does when it ends (``no``)."""

    name: str
    state: str
    image: str
    labels: Mapping[str, str]
    ports: Mapping[str, tuple[tuple[str, int], ...]]
    mounts: tuple[str, ...]
    addresses: Mapping[str, str]
    restarts: str

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def cluster(self) -> str:
        """The cluster that it is a machine of, management or workload; "" for none."""
        return self.labels.get(CLUSTER_LABEL, "")


class Docker:
    """One daemon. Every call raises Unavailable where it does not answer."""

    def __init__(
        self,
        program: Path,
        env: Mapping[str, str],
        cancel: Cancel | None = None,
        *,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self.program = program
        self.env = dict(env)
        self._cancel = cancel
        self._ask_seconds = ask_seconds

    @classmethod
    def here(
        cls, env: Mapping[str, str], cancel: Cancel | None = None, *, ask_seconds: float = ASK_SECONDS
    ) -> Docker | None:
        """That of PATH, or None. ``env`` is the environment that it runs with; ``ask_seconds`` the longest
        wait for an answer that is a look only."""
        program = shell.which("docker")
        return cls(program, env, cancel, ask_seconds=ask_seconds) if program else None

    @classmethod
    def require(cls, env: Mapping[str, str], cancel: Cancel | None = None) -> Docker:
        """That of PATH. Raises PrerequisiteMissing."""
        found = cls.here(env, cancel)
        if found is None:
            raise PrerequisiteMissing(
                "docker is not on PATH",
                fix="install Docker Engine: https://docs.docker.com/engine/install",
            )
        return found

    def version(self) -> str:
        """The daemon's version; "" where none answers."""
        try:
            return self.run("version", "--format", "{{.Server.Version}}").strip()
        except CapiLlmError:
            return ""

    def run(
        self,
        *words: str | Path,
        timeout: float | None = None,
        stdin: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """What ``docker WORDS`` prints on stdout. Raises CommandFailed, Unavailable, TimedOut."""
        try:
            return shell.run(
                [self.program, *words],
                env=self.env,
                timeout=self._ask_seconds if timeout is None else timeout,
                stdin=stdin,
                cancel=self._cancel,
                on_line=on_line,
            ).stdout
        except CommandFailed as error:
            if any(word in error.why.lower() for word in _AWAY):
                raise Unavailable(
                    "Docker does not answer",
                    on=str(self.env.get("DOCKER_HOST", "")),
                    why=_last(error.why),
                    fix="start Docker: `sudo systemctl start docker`, or Docker Desktop",
                ) from error
            raise

    def containers(self, *labels: str) -> list[Container]:
        """Those with every one of ``labels`` (``KEY`` or ``KEY=VALUE``), running or not."""
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        names = self.run("ps", "-a", "--no-trunc", "--format", "{{.ID}}", *filters).split()
        return self._inspected(names)

    def of_cluster(self, cluster: str) -> list[Container]:
        """The containers of a cluster, of kind's or of Cluster API's."""
        return self.containers(f"{CLUSTER_LABEL}={cluster}")

    def find(self, name: str) -> Container | None:
        """The container called ``name``."""
        return next((item for item in self._inspected([name]) if item.name == name), None)

    def _inspected(self, names: Sequence[str]) -> list[Container]:
        if not names:
            return []
        try:
            text = self.run("container", "inspect", *names)
        except CommandFailed as error:
            if "no such container" not in error.why.lower():
                raise
            # One was removed between the two questions.
            return [item for name in names for item in self._inspected([name])] if len(names) > 1 else []
        return [_container(item) for item in json.loads(text)]

    def start(self, names: Sequence[str]) -> None:
        if names:
            self.run("start", *names, timeout=ACT_SECONDS)

    def stop(self, names: Sequence[str]) -> None:
        """End containers as they wish to be ended; after 10 s by force."""
        if names:
            self.run("stop", *names, timeout=ACT_SECONDS)

    def never_restart(self, names: Sequence[str]) -> None:
        """Have Docker not start containers by itself, neither when they end nor when Docker starts."""
        if names:
            self.run("update", "--restart=no", *names, timeout=ACT_SECONDS)

    def read(self, container: str, path: str) -> str:
        """A text file of a container, running or not; "" where it is not there."""
        with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
            copy = Path(folder) / "copy"
            try:
                self.run("cp", "--follow-link", f"{container}:{path}", copy)
            except CommandFailed as error:
                if "could not find the file" in error.why.lower():
                    return ""
                raise
            return copy.read_text()

    def write(self, container: str, path: str, text: str) -> None:
        """Write a text file into a container, running or not."""
        with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
            copy = Path(folder) / "copy"
            copy.write_text(text)
            self.run("cp", copy, f"{container}:{path}")

    def remove(self, names: Sequence[str]) -> None:
        """Remove containers with their anonymous volumes, running or not."""
        if names:
            self.run("rm", "--force", "--volumes", *names, timeout=ACT_SECONDS)

    def inside(self, container: str, *words: str, timeout: float | None = None, stdin: str = "") -> str:
        """What a command prints in a container."""
        interactive = ["-i"] if stdin else []
        return self.run("exec", *interactive, container, *words, timeout=timeout, stdin=stdin)


def _container(item: Mapping[str, Any]) -> Container:
    network = item.get("NetworkSettings") or {}
    published = network.get("Ports") or {}
    return Container(
        name=str(item["Name"]).lstrip("/"),
        state=str((item.get("State") or {}).get("Status") or ""),
        image=str((item.get("Config") or {}).get("Image") or ""),
        labels=dict((item.get("Config") or {}).get("Labels") or {}),
        ports={
            inner: tuple((str(at["HostIp"]), int(at["HostPort"])) for at in outer)
            for inner, outer in published.items()
            if outer
        },
        mounts=tuple(str(mount.get("Source") or "") for mount in item.get("Mounts") or ()),
        addresses={
            name: str((at or {}).get("IPAddress") or "")
            for name, at in (network.get("Networks") or {}).items()
        },
        restarts=str(((item.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"),
    )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
