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
from capi_llm.settings import hostname


@contextlib.contextmanager
def hold(folder: Path, name: str, *, command: str, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock ``name`` while the block runs.

    Raises Refused, naming the holder, if it is taken; with ``wait``, which is for locks
    held only for a moment, waits for it instead.
    """
    path = folder / f"{name}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CapiLlmError(
            "a lock file can not be made", on=str(path), why=error.strerror or str(error),
            fix="make the state folder writable, or set CAPI_LLM_STATE to one that is",
        ) from error
    try:
        try:
            how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"another capi-llm is working on {name.replace('.', ' / ')}",
                on=_holder(path),
                fix="wait until it has ended, or stop it; its lock ends with it",
            ) from None
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(_me(command)).encode(), 0)
        yield
    finally:
        os.close(handle)


def _me(command: str) -> dict[str, Any]:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": hostname(), "pid": os.getpid(), "command": command, "since": since}


def _holder(path: Path) -> str:
    try:
        data = json.loads(path.read_text())
        return f"`{data['command']}`, pid {data['pid']} on {data['host']} since {data['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its holder has not written its name yet"
