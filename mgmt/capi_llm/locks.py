"""Locks between commands on one machine: advisory file locks that end with their holder.

``bootstrap`` and ``destroy`` hold a plane's lock alone; commands on one cluster share
it and hold that cluster's lock alone, so that two clusters can be made side by side.
The kernel releases the lock when the holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capi_llm.errors import CapiLlmError, Refused
from capi_llm.files import in_folder
from capi_llm.settings import hostname


@contextlib.contextmanager
def hold(
    folder: Path, name: str, *, command: str, shared: bool = False, wait: bool = False
) -> Iterator[None]:
    """Hold the lock ``name`` while the block runs.

    Raises Refused, naming the holder, if it is taken; with ``wait``, which is for locks
    held only for a moment, waits for it instead.
    """
    path = folder / f"{name}.lock"
    handle = _open(path)
    try:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            try:
                fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(
                    f"another capi-llm is working on {name.replace('.', ' / ')}",
                    on=_holders(handle),
                    fix="wait until it has ended, or stop it; its lock ends with it",
                ) from None
            except OSError as error:
                raise CapiLlmError(
                    "a lock can not be taken", on=str(path), why=error.strerror or str(error)
                ) from error
            if _is(handle, path):
                break
            # Its last holder removed the file: the lock that counts is that of the new one.
            handle, old = _open(path), handle
            os.close(old)
        mine = _me(command)
        _write(handle, [*_living(handle), mine] if shared else [mine])
        try:
            yield
        finally:
            _write(handle, [item for item in _living(handle) if item != mine])
    finally:
        os.close(handle)


def remove(folder: Path, name: str) -> None:
    """Remove the lock files of plane ``name`` and of its clusters. The caller holds the plane's alone."""
    for path in (folder / f"{name}.lock", *folder.glob(f"{name}.*.lock")):
        path.unlink(missing_ok=True)


def process_token() -> str:
    """Names this very process: machine start, process namespace, pid and start time. "" where unknown."""
    return _token(os.getpid())


def is_dead(token: str) -> bool:
    """Whether the process that ``token`` names ran on this machine and has ended.

    False for a process of another machine, of before its last start, or in another container:
    nothing is known about those.
    """
    try:
        boot, namespace, pid, _ = token.split("/")
        number = int(pid)
    except ValueError:
        return False
    if process_token().split("/")[:2] != [boot, namespace]:
        return False
    now = _token(number)
    return now != token and (now != "" or not _hidden(number))


def _token(pid: int) -> str:
    proc = Path("/proc")
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat(proc / "self/ns/pid").st_ino
        # From field 3 of stat, its state, on; the name in field 2 may hold anything but ends with ")".
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        state, started = fields[0], fields[19]
    except (OSError, IndexError):
        return ""
    # What has ended stays as a zombie until its parent asks: in containers often for ever.
    return "" if state in "ZX" else f"{boot}/{namespace}/{pid}/{started}"


def _hidden(pid: int) -> bool:
    """Whether it is there as a process of another user; /proc may be mounted so that it does not show."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _open(path: Path) -> int:
    try:
        return in_folder(path.parent, lambda: os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise CapiLlmError(
            "a lock file can not be made",
            on=str(path),
            why=error.strerror or str(error),
            fix="make the state folder writable, or set CAPI_LLM_STATE to one that is",
        ) from error


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _me(command: str) -> dict[str, Any]:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "host": hostname(),
        "pid": os.getpid(),
        "command": command,
        "since": since,
        "process": process_token(),
    }


def _write(handle: int, records: list[dict[str, Any]]) -> None:
    """Say who holds the lock, one line each. The lock itself does not depend on it."""
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    with contextlib.suppress(OSError):  # the disk may be full
        os.pwrite(handle, text, 0)
        os.truncate(handle, len(text))


def _living(handle: int) -> list[dict[str, Any]]:
    """Who wrote itself down and has not ended since."""
    found = []
    for line in os.pread(handle, 1 << 16, 0).splitlines():
        with contextlib.suppress(ValueError):  # just being written
            record = json.loads(line)
            if isinstance(record, dict) and not is_dead(str(record.get("process"))):
                found.append(record)
    return found


def _holders(handle: int) -> str:
    names = [
        f"`{item.get('command')}`, pid {item.get('pid')} on {item.get('host')} since {item.get('since')}"
        for item in _living(handle)
    ]
    return "; ".join(names) or "its holder has not written its name yet"
