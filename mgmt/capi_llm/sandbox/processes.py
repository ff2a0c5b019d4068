"""Finds and ends a sandbox's processes without trusting a pid.

A process is ours if it runs as our user, carries the sandbox's instance word in its
environment, and executes what the sandbox is configured to execute, or is in the process
group of one that does (a script of the user's own, and what it starts). It is signalled through a handle
that stays bound to that very process (a pidfd on Linux), taken before the check, so
that a recycled pid is never hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.supervisor import INSTANCE_MARK, PART_MARK, SUPERVISOR, commands_of

_PATIENCE = 8.0
"""Seconds between SIGTERM and SIGKILL."""

_TICK = 0.02
_ROUNDS = 3


def running(instance: str) -> dict[int, str]:
    """Process id → part, of every process of the sandbox ``instance``."""
    return {process.pid: part for process, part in _find(instance)}


def running_below(instance: str) -> dict[int, str]:
    """The same of all workload clusters of that sandbox, whose own words begin with its word."""
    return {process.pid: part for process, part in _find(instance, below=True)}


def free_memory() -> int:
    """Bytes that programs may still take without swapping."""
    return int(psutil.virtual_memory().available)


def stop(layout: Layout, instance: str, *, at_once: bool = False) -> list[str]:
    """End every process of the sandbox; returns the parts that were ended.

    SIGTERM first and SIGKILL after 8 seconds; ``at_once`` SIGKILL only, for a sandbox whose
    data is removed anyway.
    """
    commands = commands_of(layout)
    ended: list[str] = []
    # Again, for parts that the supervisor started while it was being ended.
    for _ in range(_ROUNDS):
        found = _ours(list(_find(instance)), commands, layout)
        if not found:
            break
        # The supervisor first: it would start again what ends under it.
        found.sort(key=lambda item: item[1] != SUPERVISOR)
        _end([process for process, _ in found], at_once=at_once)
        ended += [part for _, part in found]
    return list(dict.fromkeys(ended))


def _end(alive: list[psutil.Process], *, at_once: bool) -> None:
    if not at_once:
        for process in alive:
            _signal(process, signal.SIGTERM)
        alive = _wait(alive)
    for process in alive:
        _signal(process, signal.SIGKILL)
    _wait(alive)


def _wait(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after :data:`_PATIENCE`."""
    deadline = time.monotonic() + _PATIENCE
    while (processes := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_TICK)
    return processes


def _runs(process: psutil.Process) -> bool:
    """Whether any thread of it is left. A zombie has ended, whether its parent asks for it or not.

    The first thread may be a zombie while others still die, and hold files and ports.
    """
    try:
        if not process.is_running():
            return False
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.Error:
        return False


def _ours(
    marked: list[tuple[psutil.Process, str]], commands: Mapping[str, Sequence[str]], layout: Layout
) -> list[tuple[psutil.Process, str]]:
    """Those that execute what their part is configured to execute, and what those have started."""
    found = [item for item in marked if _matches(*item, commands, layout)]
    # The supervisor gives each part a process group of its own, whose number is the part's pid.
    leaders = {process.pid: part for process, part in found if part != SUPERVISOR}
    for process, part in marked:
        with contextlib.suppress(OSError):
            if (process, part) not in found and leaders.get(os.getpgid(process.pid)) == part:
                found.append((process, part))
    return found


def _matches(
    process: psutil.Process, part: str, commands: Mapping[str, Sequence[str]], layout: Layout
) -> bool:
    """Whether the process executes what its part is configured to execute."""
    with contextlib.suppress(psutil.Error, OSError):
        words = process.cmdline()
        if part == SUPERVISOR:
            return str(layout.supervisor_config) in words
        command = commands.get(part)
        if not command:
            return False
        if Path(process.exe()).resolve() == Path(command[0]).resolve():
            return True
        # A script runs as its interpreter and may replace itself by another program; what it
        # is told, which are this sandbox's own paths and ports, stays.
        arguments = list(command[1:])
        return len(arguments) > 1 and words[-len(arguments) :] == arguments
    return False


def _find(instance: str, *, below: bool = False) -> list[tuple[psutil.Process, str]]:
    def ours(mark: str) -> bool:
        return mark.startswith(f"{instance}.") if below else mark == instance

    found = []
    # Not process_iter: what it remembers of pids used again is not safe with threads.
    for pid in psutil.pids() if instance else ():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if process.uids().real != os.getuid():
                continue
            environment = process.environ()
            if ours(environment.get(INSTANCE_MARK, "")):
                found.append((process, environment.get(PART_MARK, SUPERVISOR)))
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    # Not there any more is ESRCH, and EINVAL where its number still names a process group.
    with contextlib.suppress(psutil.Error, OSError):
        if not hasattr(os, "pidfd_open"):
            process.send_signal(number)  # psutil compares the start time first
            return
        handle = os.pidfd_open(process.pid)
        try:
            if process.is_running():
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
