"""Files that nobody else may read, written so that a reader sees the old or the new one, whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from capi_llm.errors import CapiLlmError


def private_folder(path: Path) -> None:
    """Have the folder ``path``; every folder that has to be made for it gets mode 0700. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


_R = TypeVar("_R")


def in_folder(folder: Path, make: Callable[[], _R]) -> _R:
    """What ``make`` makes in ``folder``, a :func:`private_folder`; again where another takes the empty folder
    away in between. Raises OSError."""
    for _ in range(9):
        with contextlib.suppress(FileNotFoundError):
            private_folder(folder)
            return make()
    private_folder(folder)
    return make()


_UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.new")


def write_private(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` atomically with mode 0600, its folder 0700 if it has to be made.

    Where the writer is killed, what it had begun stays until the next write, or :func:`sweep`.
    """
    with _told(path, "make the folder writable and check the space on its disk"):
        sweep(path.parent, path.name)
        in_folder(path.parent, lambda: _put(path, content.encode() if isinstance(content, str) else content))


def replace(path: Path, content: str) -> None:
    """Write ``content`` in place of the file at ``path``, atomically; its mode stays, a link is followed."""
    with _told(path, "make the file and its folder writable"):
        real = path.resolve()
        _put(real, content.encode(), mode=real.stat().st_mode & 0o7777 if real.exists() else 0o644)


def begin(path: Path) -> tuple[int, str]:
    """A new file beside ``path``: its handle and its name, to be renamed to ``path`` or linked there.

    It is locked, so that :func:`sweep` leaves it alone while its writer lives. Raises OSError.
    """
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        with contextlib.suppress(OSError):  # not every network's disk can
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # it was swept before it was locked


def _put(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    handle, temporary = begin(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode != 0o600:  # that is what it was made with
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _told(path: Path, fix: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CapiLlmError(
            "a file can not be written", on=str(path), why=error.strerror or str(error), fix=fix
        ) from error


def sweep(folder: Path, name: str = "") -> None:
    """Remove what killed writers have left of ``name``, or of all files, in ``folder``.

    A writer that lives holds a lock on what it writes.
    """
    with contextlib.suppress(OSError):
        for left in list(folder.iterdir()):
            match = _UNFINISHED.fullmatch(left.name)
            if match and name in ("", match[1]):
                _remove_unlocked(left)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
