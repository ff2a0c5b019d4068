"""The store of parts: one folder for each content, put in place by one rename.

::

    parts/NAME/KEY/            the files and manifest.json; never changed once it is there
    parts/NAME/.new-PID-…      being made; removed by the next holder of the lock
    parts/NAME/KEY.bad-N       put aside because its content is not what the manifest says
    locks/NAME.lock            held while the part is made; says by whom

A look (:meth:`Store.look`) needs no lock and compares sizes and times, and reads a file
only where its time differs; a full check reads every byte. Who makes a part holds its
lock, which ends with its holder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm.errors import CapiLlmError
from capi_llm.waiting import Cancel, Wakeup

_MANIFEST = "manifest.json"
_SCHEMA = 1
_POLL = 0.25


class Found(enum.Enum):
    """What a look into the store says about a part."""

    WHOLE = "whole"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True)
class Entry:
    """One look: ``path`` is the part's folder; ``why`` says what is broken."""

    found: Found
    path: Path
    why: str = ""


@dataclass(frozen=True)
class _File:
    size: int
    mtime_ns: int
    sha256: str


class Store:
    """The parts in the cache folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, key: str) -> Path:
        return self.root / "parts" / name / key

    def look(self, name: str, key: str, *, every_byte: bool = False) -> Entry:
        """Whether the part is here and as it was made."""
        path = self.folder(name, key)
        if not path.is_dir():
            return Entry(Found.ABSENT, path)
        try:
            manifest = json.loads((path / _MANIFEST).read_text())
            files = {file: _File(**about) for file, about in manifest["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return Entry(Found.BROKEN, path, f"its manifest can not be read: {error}")
        for file, about in files.items():
            why = _difference(path / file, about, every_byte)
            if why:
                return Entry(Found.BROKEN, path, f"{file} {why}")
        return Entry(Found.WHOLE, path)

    def origin(self, name: str, key: str) -> Mapping[str, Any]:
        """Where a part that is here came from, as its maker wrote it down."""
        try:
            manifest = json.loads((self.folder(name, key) / _MANIFEST).read_text())
            return dict(manifest["origin"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CapiLlmError("a part's manifest can not be read", on=name, why=str(error)) from error

    def install(self, name: str, key: str, files: Mapping[str, Path], origin: Mapping[str, Any]) -> Path:
        """Move ``files`` into the store and return their folder. The caller holds the lock.

        ``files`` must be on the file system of the store; executables are told by their mode.
        """
        place = self.folder(name, key)
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=place.parent))
            about: dict[str, Any] = {}
            for file, source in files.items():
                target = new / file
                source.replace(target)
                target.chmod(0o755 if os.access(target, os.X_OK) else 0o644)
                about[file] = dataclasses.asdict(_describe(target))
            manifest = {"schema": _SCHEMA, "part": name, "key": key, "origin": origin, "files": about}
            _write_durably(new / _MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
            new.chmod(0o755)
            new.rename(place)
            _sync(place.parent)
        return place

    def put_aside(self, name: str, key: str) -> Path:
        """Move a broken part out of the way, so that it can be looked at. The caller holds the lock."""
        place = self.folder(name, key)
        with writing(place):
            for old in place.parent.glob(f"{key}.bad-*"):
                shutil.rmtree(old)
            aside = place.with_name(f"{key}.bad-{os.getpid()}")
            place.rename(aside)
        return aside

    def sweep(self, name: str) -> None:
        """Remove what dead runs have left of ``name``. The caller holds the lock."""
        for left in (self.root / "parts" / name).glob(".new-*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def locked(
        self, names: Iterable[str], *, cancel: Cancel | None, waits: Callable[[str, str], None]
    ) -> Iterator[None]:
        """Hold the locks of ``names`` while the block runs, waiting for other processes.

        ``waits`` hears, once for each lock that is taken, its name and its holder. Locks are
        taken in one order, so that two processes can not wait for each other.
        """
        with contextlib.ExitStack() as stack:
            for name in sorted(set(names)):
                handle = self._open_lock(name)
                stack.callback(os.close, handle)
                if not _try_lock(handle):
                    waits(name, _holder(handle))
                    _wait_for_lock(handle, cancel)
                os.truncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield

    def _open_lock(self, name: str) -> int:
        path = self.root / "locks" / f"{name}.lock"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            return False
        raise CapiLlmError(
            "the cache folder can not be locked",
            why=error.strerror or str(error),
            fix="set CAPI_LLM_CACHE to a folder on a local disk",
        ) from error
    return True


def _wait_for_lock(handle: int, cancel: Cancel | None) -> None:
    bell = Wakeup()
    if cancel is not None:
        cancel.attach(bell)
    try:
        while not _try_lock(handle):
            if cancel is not None:
                cancel.check()
            bell.wait(bell.rings(), _POLL)
    finally:
        if cancel is not None:
            cancel.detach(bell)


def _holder(handle: int) -> str:
    pid = os.pread(handle, 32, 0).decode("ascii", "replace")
    return f"process {pid}" if pid.isdecimal() else "another process"


def _difference(path: Path, about: _File, every_byte: bool) -> str:
    """How the file differs from what was installed; empty if it does not."""
    try:
        stat = path.stat()
    except OSError as error:
        return f"can not be read: {error.strerror}"
    if stat.st_size != about.size:
        return f"has {stat.st_size} bytes, and not {about.size}"
    if stat.st_mtime_ns == about.mtime_ns and not every_byte:
        return ""
    try:
        if _sha256(path) != about.sha256:
            return "has another content than was installed"
    except OSError as error:
        return f"can not be read: {error.strerror}"
    if stat.st_mtime_ns != about.mtime_ns:
        # A cache that was copied or unpacked: say so to the next look, which need not read then.
        with contextlib.suppress(OSError):
            os.utime(path, ns=(stat.st_atime_ns, about.mtime_ns))
    return ""


def _describe(path: Path) -> _File:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stat = path.stat()
    return _File(stat.st_size, stat.st_mtime_ns, digest)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_durably(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk, in the words of this package."""
    try:
        yield
    except OSError as error:
        raise CapiLlmError(
            "the cache folder can not be written",
            on=str(path),
            why=error.strerror or str(error),
            fix="make room or make it writable, or set CAPI_LLM_CACHE to another folder",
        ) from error
