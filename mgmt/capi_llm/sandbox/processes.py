"""Finds and ends a sandbox's processes without trusting a pid.

A process is ours if it runs as our user, carries the sandbox's instance word in its
environment, and executes one of the sandbox's files. It is signalled through a handle
that stays bound to that very process (a pidfd on Linux), taken before the check, so
that a recycled pid is never hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from capi_llm.sandbox.supervisor import INSTANCE_MARK, PART_MARK, SUPERVISOR

_PATIENCE = 8.0
"""Seconds between SIGTERM and SIGKILL."""


def running(instance: str) -> dict[int, str]:
    """Process id → part, of every process of the sandbox ``instance``."""
    return {process.pid: part for process, part in _find(instance)}


def stop(instance: str, executables: Iterable[Path]) -> list[str]:
    """End every process of ``instance`` that executes one of ``executables`` or the supervisor.

    Returns the names of those ended. SIGTERM first, SIGKILL after 8 seconds.
    """
    allowed = {str(path.resolve()) for path in executables} | {str(Path(sys.executable).resolve())}
    marked = [(process, part) for process, part in _find(instance) if _executable(process) in allowed]
    # The supervisor first: it would start again what ends under it.
    marked.sort(key=lambda item: item[1] != SUPERVISOR)
    found = [process for process, _ in marked]
    for process in found:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=_PATIENCE)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=_PATIENCE)
    return [part for _, part in marked]


def _find(instance: str) -> list[tuple[psutil.Process, str]]:
    found = []
    for process in psutil.process_iter() if instance else ():
        with contextlib.suppress(psutil.Error, OSError):
            if process.uids().real != os.getuid():
                continue
            environment = process.environ()
            if environment.get(INSTANCE_MARK) == instance:
                found.append((process, environment.get(PART_MARK, SUPERVISOR)))
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            process.send_signal(number)  # psutil compares the start time first
            return
        handle = os.pidfd_open(process.pid)
        try:
            if process.is_running():
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _executable(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        return str(Path(process.exe()).resolve())
    return ""

