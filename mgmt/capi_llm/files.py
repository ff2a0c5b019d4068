"""Files that nobody else may read, written so that a reader sees the old or the new one, whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from pathlib import Path

from capi_llm.errors import CapiLlmError


def private_folder(path: Path) -> None:
    """Have the folder ``path``; every folder that has to be made for it gets mode 0700. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


_UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.new")


def write_private(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` atomically with mode 0600, its folder 0700 if it has to be made.

    Where the writer is killed, what it had begun stays until the next write, or :func:`sweep`.
    """
    try:
        private_folder(path.parent)
        sweep(path.parent, path.name)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                with contextlib.suppress(OSError):  # not every network's disk can
                    fcntl.flock(file, fcntl.LOCK_EX)
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CapiLlmError(
            "a file can not be written",
            on=str(path),
            why=error.strerror or str(error),
            fix="make the folder writable and check the space on its disk",
        ) from error


def replace(path: Path, content: str) -> None:
    """Write ``content`` in place of the file at ``path``, atomically; its mode stays, a link is followed."""
    try:
        real = path.resolve()
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".new", dir=real.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, real.stat().st_mode & 0o7777 if real.exists() else 0o644)
            os.replace(temporary, real)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CapiLlmError(
            "a file can not be written",
            on=str(path),
            why=error.strerror or str(error),
            fix="make the file and its folder writable",
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
