"""Files that nobody else may read, written so that a reader sees the old or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from capi_llm.errors import CapiLlmError


def private_folder(path: Path) -> None:
    """Have the folder ``path``; every folder that has to be made for it gets mode 0700. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically with mode 0600, its folder 0700 if it has to be made."""
    try:
        private_folder(path.parent)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
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
