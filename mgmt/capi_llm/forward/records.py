"""What is being forwarded on this machine: one file per run in the state folder, and how a run is ended.

A run is known by its process: machine, pid and start time. A file whose process has ended is
removed by whoever looks next; a pid that another program has by now is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from capi_llm import locks, versions, waiting
from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.files import sweep, write_private
from capi_llm.settings import hostname

if TYPE_CHECKING:
    from capi_llm.forward.forwarder import Forward

STOP_SECONDS = 10.0
_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Local:
    """One forward of a run: where it listens and where it leads."""

    name: str
    url: str
    address: str
    port: int
    target: str


@dataclass(frozen=True)
class Run:
    """One process that forwards. ``cluster`` is empty for the management cluster alone."""

    id: str
    plane: str
    cluster: str
    background: bool
    host: str
    pid: int
    process: str
    forwards: tuple[Local, ...] = field(default=())

    @property
    def alive(self) -> bool:
        """Whether the process may still run: not where this machine has been started anew since, either."""
        anew = self.host == hostname() and _machine(self.process)[:1] != _machine(locks.process_token())[:1]
        return not (locks.is_dead(self.process) or anew)

    @property
    def here(self) -> bool:
        """Whether it is a process that this one can see: not of another machine or container."""
        return _machine(self.process) == _machine(locks.process_token())


class Records:
    """The runs under the state folder ``state``."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "forwards"

    def new_id(self) -> str:
        return secrets.token_hex(4)

    def log(self, name: str) -> Path:
        """Where the messages of a run in the background are."""
        return self._folder / f"{name}.log"

    @contextlib.contextmanager
    def recorded(
        self, plane: str, cluster: str, forwards: Sequence[Forward], *, name: str = ""
    ) -> Iterator[Run]:
        """Say what this process forwards, while the block runs. ``name``: it runs in the background."""
        run = Run(
            name or self.new_id(),
            plane,
            cluster,
            bool(name),
            hostname(),
            os.getpid(),
            locks.process_token(),
            tuple(Local(item.name, item.url, item.address, item.port, str(item.target)) for item in forwards),
        )
        content = {"apiVersion": versions.API_VERSION, **asdict(run)}
        write_private(self._path(run.id), json.dumps(content, indent=2) + "\n")
        try:
            yield run
        finally:
            self.forget(run.id)

    def find(self, name: str) -> Run | None:
        """The run called ``name``, or None where it has not said anything yet."""
        try:
            data = json.loads(self._path(name).read_text())
            data.pop("apiVersion")
            return Run(**{**data, "forwards": tuple(Local(**item) for item in data["forwards"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def running(self, plane: str = "", cluster: str | None = None) -> list[Run]:
        """The runs that live, oldest first: of one plane or all, of one cluster or all."""
        found = []
        for path in sorted(self._folder.glob("*.json"), key=_age):
            run = self.find(path.stem) if _ID.fullmatch(path.stem) else None
            if run is None:
                continue
            if not run.alive:
                self.forget(run.id)
            elif run.here and plane in ("", run.plane) and cluster in (None, run.cluster):
                found.append(run)
        return found

    def holder(self, port: int) -> str:
        """Which of the runs listens on ``port``, for a message; "" for none."""
        for run in self.running():
            for item in run.forwards:
                if item.port == port:
                    return (
                        f"capi-llm portforward of {item.name} of {run.cluster or run.plane} (pid {run.pid})"
                    )
        return ""

    def stop(self, run: Run) -> None:
        """End ``run`` and wait for it. Raises CapiLlmError where it does not end."""
        if not _signal(run, signal.SIGTERM):
            self.forget(run.id)
            return
        try:
            waiting.until(
                lambda: waiting.pending("it still runs") if run.alive else waiting.ready(),
                what=f"the end of the forwards of {run.cluster or run.plane}",
                timeout=STOP_SECONDS,
                waiter=waiting.Waiter(interval=0.05),
            )
        except CapiLlmError:
            _signal(run, signal.SIGKILL)
        self.forget(run.id)

    def forget(self, name: str) -> None:
        """Remove what a run has left, and the folder with the last one."""
        for path in (self._path(name), self.log(name)):
            path.unlink(missing_ok=True)
        sweep(self._folder)
        with contextlib.suppress(OSError):  # others are in it, or it is gone
            self._folder.rmdir()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _machine(process: str) -> list[str]:
    """Start of the machine, and process namespace, of a process's token."""
    return process.split("/")[:2]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _signal(run: Run, number: signal.Signals) -> bool:
    """Send a signal to the very process that wrote the record; False where it has ended."""
    if not hasattr(os, "pidfd_open"):
        if run.alive:
            os.kill(run.pid, number)
        return run.alive
    try:
        handle = os.pidfd_open(run.pid)
    except OSError:
        return False
    try:
        # The handle stays with the process that had the number when it was taken: check only now.
        if not run.alive:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise CapiLlmError(
            "a forward can not be ended", on=f"pid {run.pid}", why="it is another user's"
        ) from error
    finally:
        os.close(handle)


def none_running(plane: str, cluster: str) -> NotFound:
    where = f"cluster {cluster}" if cluster else f"plane {plane}" if plane else "this machine"
    return NotFound(f"nothing of {where} is forwarded in the background", fix="capi-llm portforward --list")
