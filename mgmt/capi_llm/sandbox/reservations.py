"""Which state folders this user has, so that no port is given out twice.

That a port is free can not be seen before its part listens, a minute later on a busy machine. A plane's
file says what it has, but a rehearsal has a state folder of its own, as has whoever sets
``CAPI_LLM_STATE``. So the folders are noted where all of this user's commands look, in the folder for
temporary files, and ports are given out under a lock there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from capi_llm import locks

_LOCK = ".planes"


@contextlib.contextmanager
def alone(state: Path, command: str) -> Iterator[None]:
    """While the block runs, no other command of this user gives out ports.

    Where the folder for temporary files can not be used, no other with the same state folder.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(locks.hold(state / "locks", _LOCK, command=command, wait=True))
        shared = _shared()
        if shared is not None:
            held.enter_context(locks.hold(shared, _LOCK, command=command, wait=True))
            _note(shared, state)
        yield


def folders(state: Path) -> set[Path]:
    """``state`` and every other state folder of this user that was noted and is there yet."""
    shared = _shared()
    return {state.resolve(), *(_noted(shared).values() if shared is not None else ())}


def _shared() -> Path | None:
    """The place that is this user's alone, made where it is missing; None where there can be none."""
    folder = Path(tempfile.gettempdir()) / f"capi-llm-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    private = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if stat.S_ISDIR(about.st_mode) and private else None


def _noted(shared: Path) -> dict[Path, Path]:
    """Note → state folder, of those that are there yet."""
    found = {}
    with contextlib.suppress(OSError):
        for note in shared.iterdir():
            if note.is_symlink() and note.is_dir():
                found[note] = note.resolve()
    return found


def _note(shared: Path, state: Path) -> None:
    there = _noted(shared)
    with contextlib.suppress(OSError):  # a full disk is told where it matters
        for note in shared.iterdir():
            if note.is_symlink() and note not in there:
                note.unlink()
        if state.resolve() not in there.values():
            (shared / hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]).symlink_to(
                state.resolve()
            )
