"""Images as files, without an engine: layers are tar files, an image is what `docker save` writes.

The same input gives the same bytes, so that layers which images share are shared in a node too.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Layer:
    """A tar file that is one layer of images."""

    tar: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the tar file, from the file beside it; computed where there is none."""
        beside = self.tar.with_suffix(".sha256")
        if not beside.is_file():
            with self.tar.open("rb") as file:
                beside.write_text(hashlib.file_digest(file, "sha256").hexdigest())
        return beside.read_text()


@dataclass(frozen=True)
class Image:
    """An image to write: all its names, its layers from the lowest, what it runs."""

    names: Sequence[str]
    layers: Sequence[Layer]
    entrypoint: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: str = ""

    def config(self) -> bytes:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inner: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in ({"PATH": path} | dict(self.environment)).items()],
            "WorkingDir": "/",
        }
        if self.user:
            inner["User"] = self.user
        if self.stop_signal:
            inner["StopSignal"] = self.stop_signal
        document = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": inner,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in self.layers]},
            "history": [{"created": "2025-01-01T00:00:00Z"} for _ in self.layers],
        }
        return json.dumps(document, sort_keys=True).encode()

    @property
    def digest(self) -> str:
        """The image's ID: SHA-256 of its configuration, which names its layers."""
        return hashlib.sha256(self.config()).hexdigest()


def layer(to: Path, files: Mapping[str, Path | str], links: Mapping[str, str] | None = None) -> Layer:
    """A layer at ``to`` of executables (a Path: copied) and texts, by absolute path, and symbolic links."""
    new = to.with_suffix(".new")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        folders = {
            str(parent).lstrip("/")
            for name in (*files, *(links or {}))
            for parent in Path(name).parents
            if str(parent) != "/"
        }
        for folder in sorted(folders):
            _add(tar, folder, None, 0o755, tarfile.DIRTYPE)
        for name, content in sorted(files.items()):
            if isinstance(content, Path):
                _add(tar, name, content, 0o755, tarfile.REGTYPE)
            else:
                _add(tar, name, content, 0o755 if content.startswith("#!") else 0o644, tarfile.REGTYPE)
        for name, target in sorted((links or {}).items()):
            _add(tar, name, target, 0o777, tarfile.SYMTYPE)
    new.rename(to)
    return Layer(to)


def _add(tar: tarfile.TarFile, name: str, content: Path | str | None, mode: int, kind: bytes) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.mode = kind, mode
    if kind == tarfile.SYMTYPE:
        entry.linkname = str(content)
        tar.addfile(entry)
    elif isinstance(content, Path):
        entry.size = content.stat().st_size
        with content.open("rb") as file:
            tar.addfile(entry, file)
    else:
        text = (content or "").encode()
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))


def save(images: Iterable[Image], to: Path) -> Path:
    """Write ``images`` into one file as `docker save` does; layers that they share are written once."""
    new = to.with_suffix(".new")
    manifest = []
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        written: set[str] = set()
        for image in images:
            config = image.config()
            name = f"{image.digest}.json"
            entry = tarfile.TarInfo(name)
            entry.size = len(config)
            tar.addfile(entry, io.BytesIO(config))
            for item in image.layers:
                if item.digest in written:
                    continue
                written.add(item.digest)
                _add(tar, f"{item.digest}/layer.tar", item.tar, 0o644, tarfile.REGTYPE)
            manifest.append(
                {
                    "Config": name,
                    "RepoTags": list(image.names),
                    "Layers": [f"{item.digest}/layer.tar" for item in image.layers],
                }
            )
        text = json.dumps(manifest).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    new.rename(to)
    return to


def sweep(folder: Path, used: Iterable[Path]) -> None:
    """Remove from ``folder`` what earlier runs have left of files called like ``used`` but for their key."""
    stems = {file.stem for file in used}
    for name in {stem.rpartition("-")[0] for stem in stems}:
        for old in folder.glob(f"{name}-????????????????.*"):
            if old.stem not in stems:
                old.unlink()


def clear(folder: Path) -> Path:
    """An empty folder at ``folder``."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
