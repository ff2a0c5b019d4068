"""Foreign processes that look like the sandbox's own: they must outlive everything done to it.

Where this runs as root in a process namespace of its own, new ones are also given the very
pids of what was killed, as a busy machine does it sooner or later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_SLEEP = "import time; time.sleep(100000)"


@dataclass
class Decoys:
    """``recycle`` says whether pids may be chosen (in a namespace of our own)."""

    recycle: bool
    _there: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    recycled: int = 0
    _data: Path | None = None

    def look_alikes(self, root: Path, etcd: str, parts: list[str], ports: tuple[int, int]) -> None:
        """What has the names, arguments or executable of the sandbox at ``root``, without its mark."""
        config = root / "config/supervisord.conf"
        self._start(
            "supervisor", [sys.executable, "-c", _SLEEP, "-m", "supervisor.supervisord", "-c", str(config)]
        )
        for part in parts:
            self._start(
                part, [part, "-c", _SLEEP, f"--data-dir={root}/etcd", f"--kubeconfig={root}"], sys.executable
            )
        # A real etcd, the sandbox's very executable, of somebody else.
        self._data = root.parent.parent.parent.with_suffix(".foreign")
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        self._start(
            "etcd",
            [
                etcd, f"--data-dir={self._data}", f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            ],
        )  # fmt: skip

    def sit_on(self, pid: int, why: str) -> None:
        """Have a process with the pid ``pid``, which has just ended."""
        if not self.recycle:
            return
        for _ in range(30):
            _LAST_PID.write_text(str(pid - 1))
            decoy = subprocess.Popen([sys.executable, "-c", _SLEEP, "capi_llm", why])
            if decoy.pid == pid:
                self._there[f"pid {pid} ({why})"] = decoy
                self.recycled += 1
                break
            decoy.kill()
            decoy.wait()
            if Path(f"/proc/{pid}").exists():
                break
        # Numbers go up from here again, or everything that follows would crowd around this one.
        _LAST_PID.write_text(str(max(map(int, filter(str.isdecimal, os.listdir("/proc"))))))

    def _start(self, name: str, argv: list[str], executable: str | None = None) -> None:
        self._there[name] = subprocess.Popen(
            argv, executable=executable, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def dead(self) -> list[str]:
        """The decoys that somebody has ended."""
        return [
            f"foreign process {name} was ended" for name, it in self._there.items() if it.poll() is not None
        ]

    def __len__(self) -> int:
        return len(self._there)

    def end(self) -> None:
        for decoy in self._there.values():
            decoy.kill()
            decoy.wait()
        self._there.clear()
        if self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)
