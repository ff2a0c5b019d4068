"""The machine itself: Python, system, memory, processes, open files, clock."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from capi_llm.checks import Check, missing, not_needed, ok, size, warning
from capi_llm.sandbox import processes
from capi_llm.steps.processes import MEMORY_BYTES

_PYTHON = (3, 11)
_FEWEST_FILES = 1024
"""The supervisor's ``minfds``: with a lower hard limit it does not start."""

_ENOUGH_FILES = 4096
_DAY = 86400.0
_TESTED = ("linux", "x86_64")


@dataclass(frozen=True)
class Machine:
    """Facts. ``open_files`` is the hard limit, -1 for none; ``installed`` when capi-llm was put here."""

    python: tuple[int, int, int]
    system: str
    processor: str
    free_memory: int
    open_files: int
    own_environment: bool
    handles: bool
    now: float
    installed: float


def gather() -> Machine:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Machine(
        python=sys.version_info[:3],
        system=sys.platform,
        processor=platform.machine(),
        free_memory=processes.free_memory(),
        open_files=-1 if hard == resource.RLIM_INFINITY else hard,
        own_environment=_reads_processes(),
        handles=_has_handles(),
        now=time.time(),
        installed=Path(__file__).stat().st_mtime,
    )


def judge(seen: Machine, *, running: bool) -> list[Check]:
    """``running``: a sandbox runs already, so its memory is taken already."""
    return [
        _python(seen),
        _platform(seen),
        _memory(seen, running),
        _processes(seen),
        _open_files(seen),
        clock(seen),
    ]


def _python(seen: Machine) -> Check:
    text = ".".join(map(str, seen.python))
    if seen.python[:2] < _PYTHON:
        return missing("python", f"{text}, 3.11 is needed", "install Python 3.11 or newer")
    return ok("python", text)


def _platform(seen: Machine) -> Check:
    text = f"{seen.system} on {seen.processor}"
    if seen.system not in ("linux", "darwin") or seen.processor not in (
        "x86_64",
        "amd64",
        "arm64",
        "aarch64",
    ):
        return missing("platform", text, "use Linux or macOS on amd64 or arm64")
    if (seen.system, seen.processor) != _TESTED:
        return warning("platform", f"{text} is meant to work and is not tested", "prefer Linux on amd64")
    return ok("platform", text)


def _memory(seen: Machine, running: bool) -> Check:
    free = f"{size(seen.free_memory)} free"
    if seen.free_memory >= MEMORY_BYTES:
        return ok("memory", free)
    fix = "end some programs, or destroy a sandbox: `capi-llm planes list`"
    needed = f"{free}, {size(MEMORY_BYTES)} are needed for a new sandbox"
    return warning("memory", needed, fix) if running else missing("memory", needed, fix)


def _processes(seen: Machine) -> Check:
    if seen.system != "linux":
        return not_needed("processes", "/proc and pidfds are Linux's; start times are compared here")
    if not seen.own_environment:
        return missing(
            "processes",
            "/proc does not show this user's own processes",
            "mount /proc; a sandbox knows its processes by a word in their environment",
        )
    if not seen.handles:
        return warning(
            "processes",
            "this kernel or Python has no pidfd_open; start times are compared instead",
            "use Linux 5.3 or newer",
        )
    return ok("processes", "/proc and pidfds")


def _open_files(seen: Machine) -> Check:
    text = "no limit" if seen.open_files < 0 else f"at most {seen.open_files}"
    fix = "raise the hard limit (`ulimit -Hn`, /etc/security/limits.conf)"
    if 0 <= seen.open_files < _FEWEST_FILES:
        return missing("open files", f"{text}, the supervisor needs {_FEWEST_FILES}", fix)
    if 0 <= seen.open_files < _ENOUGH_FILES:
        return warning("open files", f"{text}; many clusters may need more", fix)
    return ok("open files", text)


def clock(seen: Machine) -> Check:
    """A clock that is behind makes certificates invalid: those of downloads, and later our own."""
    behind = seen.installed - seen.now
    if behind > _DAY:
        return missing(
            "clock",
            f"it is {behind / _DAY:.0f} days behind the files of capi-llm itself",
            "set the clock; certificates are not valid before they were made",
        )
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seen.now)))


def _reads_processes() -> bool:
    with contextlib.suppress(OSError):
        return bool(Path("/proc/self/environ").read_bytes())
    return False


def _has_handles() -> bool:
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
