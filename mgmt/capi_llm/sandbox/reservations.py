"""Which state folders this user has, so that no port is given out twice.

That a port is free can not be seen before its part listens, a minute later on a busy machine. A plane's
file says what it has, but a rehearsal has a state folder of its own, as has whoever sets
``CAPI_LLM_STATE``. So the folders are noted where a user's commands look, in the folder for temporary files
(``TMPDIR``), and ports are given out under a lock there. It is an aid and no promise: what is noted goes
with that folder, at a restart for one, until the next command that gives out ports.
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
from capi_llm.errors import CapiLlmError

_LOCK = ".planes"


@contextlib.contextmanager
def alone(state: Path, command: str) -> Iterator[None]:
    """While the block runs, no other command of this user gives out ports.

    Where the folder for temporary files can not be used, or is another, no other with the same state folder.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(locks.hold(state / "locks", _LOCK, command=command, wait=True))
        shared = _shared(make=True)
        if shared is not None:
            with contextlib.suppress(CapiLlmError):  # a full disk is told where it matters
                held.enter_context(locks.hold(shared, _LOCK, command=command, wait=True))
                _note(shared, state)
        yield


def folders(state: Path) -> set[Path]:
    """``state`` and every other state folder of this user that was noted and is there yet."""
    shared = _shared()
    return {state.resolve(), *(_noted(shared).values() if shared is not None else ())}


def _shared(*, make: bool = False) -> Path | None:
    """The place that is this user's alone; None where there is none, or can be none."""
    try:
        folder = Path(tempfile.gettempdir()) / f"capi-llm-{os.getuid()}"
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    private = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if stat.S_ISDIR(about.st_mode) and private else None


def _noted(shared: Path) -> dict[Path, Path]:
    """Note → state folder, of those that are there yet."""
    found = {}
    for note in _notes(shared):
        with contextlib.suppress(OSError):  # somebody's network disk, away just now
            if note.is_dir():
                found[note] = note.resolve()
    return found


def _notes(shared: Path) -> list[Path]:
    try:
        return [path for path in shared.iterdir() if path.is_symlink()]
    except OSError:
        return []


def _note(shared: Path, state: Path) -> None:
    """Note ``state``, and forget what is gone."""
    for note in _notes(shared):
        with contextlib.suppress(OSError):
            try:
                note.stat()
            except FileNotFoundError:
                note.unlink()
    name = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]
    with contextlib.suppress(OSError):
        (shared / name).symlink_to(state.resolve())
