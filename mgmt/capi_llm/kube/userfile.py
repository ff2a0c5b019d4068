"""A person's kubeconfig file: changed under the lock that kubectl takes too, in one move, after a backup.

kubectl's lock (client-go, clientcmd) is a file ``FILE.lock`` that must not exist before. Ours
is the same, and known as ours by what is in it: one that a killed capi-llm left is taken over.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from capi_llm import waiting
from capi_llm.errors import BadInput, CapiLlmError, Refused, TimedOut
from capi_llm.files import begin, in_folder, sweep, write_private
from capi_llm.kube import merging
from capi_llm.kube.kubeconfig import Kubeconfig
from capi_llm.kube.merging import Mark

LOCK_SECONDS = 10.0
"""How long another writer of the file is waited for."""

_OURS = b"capi-llm\n"


def change(path: Path, edit: Callable[[Kubeconfig], Kubeconfig]) -> tuple[bool, Path | None]:
    """Let ``edit`` make a new content of the old one; returns whether it differs, and where the backup is.

    A file that has no entry of ours yet is kept as ``FILE.bak-TIME``. A symbolic link stays one.
    Where nothing differs, nothing is written. Raises BadInput for a file that is no kubeconfig,
    Refused where it stays locked; neither has touched it.
    """
    target = path.resolve()
    with _locked(path):
        text = _text(target)
        old = merging.read(text, str(path))
        new = edit(old)
        if new == old:
            return False, None
        backup = None
        if text.strip() and not merging.marks(old):
            now = datetime.datetime.now(datetime.UTC)
            backup = target.with_name(f"{target.name}.bak-{now:%Y%m%dT%H%M%S.%fZ}")
            write_private(backup, text)
        write_private(target, merging.render(new))
        return True, backup


def forget(paths: Iterable[Path], gone: Callable[[Mark], bool]) -> list[Path]:
    """Take our entries that are ``gone`` out of those of ``paths`` that have some; returns which had."""
    changed = []
    for path in paths:
        try:
            if not any(gone(mark) for mark in merging.marks(merging.read(_text(path), str(path)))):
                continue
        except BadInput:
            continue  # no kubeconfig: nothing of ours is in it
        if change(path, lambda config: merging.remove(config, gone))[0]:
            changed.append(path)
    return changed


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput("the kubeconfig can not be read", on=str(path), why=why or "") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    try:
        sweep(path.parent, lock.name)
        handle, name = in_folder(path.parent, lambda: begin(lock))
    except OSError as error:
        raise CapiLlmError(
            "the folder of the kubeconfig can not be written", on=str(path.parent), why=error.strerror or ""
        ) from error
    try:
        os.write(handle, _OURS)
        try:
            # Whole and locked before it has its name: who finds it, can tell whether its maker lives.
            _link(Path(name), lock)
        finally:
            os.unlink(name)
        try:
            yield
        finally:
            os.unlink(lock)
    finally:
        os.close(handle)


def _link(made: Path, lock: Path) -> None:
    def probe() -> waiting.Status:
        for _ in range(2):
            try:
                os.link(made, lock)
                return waiting.ready()
            except FileExistsError:
                _remove_left(lock)
        return waiting.pending("another program is changing it")

    waiter = waiting.Waiter(interval=0.1)
    try:
        waiting.until(probe, what="the kubeconfig's lock", timeout=LOCK_SECONDS, waiter=waiter)
    except TimedOut:
        raise Refused(
            "the kubeconfig is locked; it was not touched",
            on=str(lock),
            why="kubectl, or a program like it, is changing it, or was killed while it did",
            fix=f"wait; where no such program runs, remove {lock}",
        ) from None
    except OSError as error:
        raise CapiLlmError("the kubeconfig can not be locked", on=str(lock), why=str(error)) from error


def _remove_left(lock: Path) -> None:
    """Remove ``lock`` if it is one of ours whose maker has ended."""
    with contextlib.suppress(OSError), lock.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.read() == _OURS and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            lock.unlink()
