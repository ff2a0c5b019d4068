"""The folders that a sandbox writes to: state, cache, kubeconfigs."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from capi_llm.checks import GIB, Check, missing, ok, size, warning
from capi_llm.errors import BadInput
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings
from capi_llm.steps.executables import BUILD_BYTES

_STATE_BYTES = GIB
"""A sandbox with one cluster takes 150 MB (docs/sandbox.md); etcd and logs grow."""


@dataclass(frozen=True)
class Folder:
    """Facts. ``there`` is the folder, or what is there of the path to it."""

    path: str
    there: str
    exists: bool
    writable: bool
    ours: bool
    mode: int
    free: int


@dataclass(frozen=True)
class Folders:
    """``unusable`` says why the state folder's path is nothing for a sandbox, "" if it is."""

    state: Folder
    cache: Folder
    kubeconfigs: Folder
    unusable: str
    building: bool


def gather(settings: Settings, name: str, *, building: bool) -> Folders:
    """``building``: parts are to be built, which takes space while it lasts."""
    unusable = ""
    try:
        layout(settings.state, name).check()
    except BadInput as error:
        unusable = error.brief
    return Folders(
        _look(settings.state), _look(settings.cache), _look(settings.kubeconfigs), unusable, building
    )


def judge(seen: Folders) -> list[Check]:
    found = [_folder("state folder", seen.state, "CAPI_LLM_STATE")]
    if seen.unusable:
        found.append(missing("socket path", seen.unusable, "set CAPI_LLM_STATE to another path"))
    else:
        found.append(ok("socket path", "short enough for a unix socket"))
    found.append(_private(seen.state))
    found.append(_space("state disk", seen.state, _STATE_BYTES, "CAPI_LLM_STATE"))
    # A cache that is full and can not be written is as good as any other.
    cache = _folder("cache folder", seen.cache, "CAPI_LLM_CACHE")
    found.append(cache if seen.building else ok("cache folder", seen.cache.path))
    needed = BUILD_BYTES if seen.building else 0
    found.append(_space("cache disk", seen.cache, needed, "CAPI_LLM_CACHE"))
    found.append(_folder("kubeconfigs folder", seen.kubeconfigs, "CAPI_LLM_KUBECONFIGS"))
    return found


def _folder(name: str, folder: Folder, variable: str) -> Check:
    if not folder.writable:
        what = "can not be written" if folder.exists else f"can not be made in {folder.there}"
        return missing(
            name, f"{folder.path} {what}", f"make it writable, or set {variable} to another folder"
        )
    return ok(name, folder.path if folder.exists else f"{folder.path}, to be made")


def _private(folder: Folder) -> Check:
    if not folder.exists:
        return ok("state mode", "to be made with mode 0700")
    if not folder.ours:
        return warning(
            "state mode", f"{folder.path} belongs to another user", "set CAPI_LLM_STATE to your own"
        )
    if folder.mode & 0o022:
        return warning(
            "state mode", f"others may write to {folder.path} ({folder.mode:o})", f"chmod 700 {folder.path}"
        )
    if folder.mode & 0o055:
        return warning(
            "state mode",
            f"others may look into {folder.path} ({folder.mode:o}); keys in it are 0600",
            f"chmod 700 {folder.path}",
        )
    return ok("state mode", f"mode {folder.mode:04o}")


def _space(name: str, folder: Folder, needed: int, variable: str) -> Check:
    text = f"{size(folder.free)} free"
    if folder.free < needed:
        return missing(
            name,
            f"{text} where {folder.there} is, {size(needed)} are needed",
            f"free some space, or set {variable} to a folder on another disk",
        )
    return ok(name, text)


def _look(path: Path) -> Folder:
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    about = there.stat()
    return Folder(
        path=str(path),
        there=str(there),
        exists=there == path,
        writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        ours=about.st_uid == os.getuid(),
        mode=stat.S_IMODE(about.st_mode),
        free=shutil.disk_usage(there).free,
    )
