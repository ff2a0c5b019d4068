"""A Docker engine of the run's own: its own folders, socket and processes, ended by their id.

It runs in network, mount and process namespaces of its own (:func:`isolated`), so nothing that
it does to routes, packet filters and mounts is seen outside, an engine that is there already is
not touched, and all of it ends with the run, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

INSIDE = "E2E_NAMESPACES"
# Folder /run is new there: Docker's usual socket leads to the run's own engine. The shell takes over
# what loses its parent; without it such processes would stay as zombies.
_ISOLATE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
_SHELL = ["bash", "-c", 'ip link set lo up && mount -t tmpfs e2e /run && { "$@" & wait $!; }', "e2e"]
SOCKET = Path("/run/docker.sock")
CGROUP = "/capi-llm-e2e"
# What Cluster API's book asks for where several clusters run on one machine
# (https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/docs/book/src/user/troubleshooting.md).
_INOTIFY = {"max_user_watches": 1048576, "max_user_instances": 8192}


def isolated(command: Sequence[str]) -> list[str]:
    """``command`` in namespaces of its own, without a network but loopback."""
    return [*_ISOLATE, *_SHELL, *command]


class Engine:
    """dockerd in ``folder``, with ``runtime`` in the place of runc."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.log = folder / "dockerd.log"
        self._runtime = runtime
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it answers; returns the seconds. Raises RuntimeError with its log."""
        began = time.monotonic()
        settings = {
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "docker.pid"),
            "hosts": [f"unix://{SOCKET}"],
            "runtimes": {"fewer": {"path": str(self._runtime)}},
            "default-runtime": "fewer",
            "storage-driver": "overlay2",
            "cgroup-parent": CGROUP,
            "log-level": "warn",
        }
        file = self.folder / "daemon.json"
        file.write_text(json.dumps(settings, indent=1))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", "--config-file", file], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        while self.docker("version", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() - began > 60:
                raise RuntimeError(f"dockerd does not answer:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self) -> float:
        """End it, and with it its containers; returns the seconds."""
        began = time.monotonic()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(120)
            self._process = None
        return time.monotonic() - began

    def docker(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker on it; the answer has its output."""
        done = subprocess.run(
            ["docker", *arguments],
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def clear(self) -> None:
        """Remove every container and end it."""
        with contextlib.suppress(RuntimeError):
            containers = self.docker("ps", "-aq").stdout.split()
            if containers:
                self.docker("rm", "-f", "-v", *containers)
        self.stop()


@contextlib.contextmanager
def running(runtime: Path, archives: Sequence[Path], timings: dict[str, float]) -> Iterator[Engine]:
    """A new engine with the images of ``archives``, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="e2e-"))
    engine = Engine(folder, runtime)
    _remove_cgroups()  # of a run that was killed
    try:
        with _inotify():
            timings["engine started"] = engine.start()
            began = time.monotonic()
            for item in archives:
                engine.docker("load", "--quiet", "--input", item)
            timings["images loaded"] = time.monotonic() - began
            yield engine
    finally:
        engine.clear()
        shutil.rmtree(folder, ignore_errors=True)
        _remove_cgroups()


@contextlib.contextmanager
def _inotify() -> Iterator[None]:
    """Enough inotify watches for several nodes; as it was afterwards."""
    folder = Path("/proc/sys/fs/inotify")
    before = {name: int((folder / name).read_text()) for name in _INOTIFY}
    for name, least in _INOTIFY.items():
        (folder / name).write_text(str(max(before[name], least)))
    try:
        yield
    finally:
        for name, value in before.items():
            (folder / name).write_text(str(value))


def _remove_cgroups() -> None:
    """Remove the empty groups that containers leave behind."""
    for root in Path("/sys/fs/cgroup").glob(f"*{CGROUP}"):
        for folder, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
