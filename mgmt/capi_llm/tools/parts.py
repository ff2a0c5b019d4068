"""What a part is: an executable or a folder, and where it may come from. See :mod:`.catalogue`."""

from __future__ import annotations

import hashlib
import json
import platform as _platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import NamedTuple

from capi_llm.errors import PrerequisiteMissing

_RECIPE = 1
"""Raise it when the way in which parts are made changes what they contain."""


class Platform(NamedTuple):
    """An operating system and a processor, in Go's words."""

    os: str
    arch: str

    @classmethod
    def here(cls) -> Platform:
        """This machine. Raises PrerequisiteMissing where the sandbox can not run at all."""
        os = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
        arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
            _platform.machine().lower()
        )
        if os is None or arch is None:
            raise PrerequisiteMissing(
                "the sandbox does not run on this machine",
                why=f"{sys.platform} on {_platform.machine()}",
                fix="use Linux or macOS on amd64 or arm64, or a plane of kind `kind` or `existing`",
            )
        return cls(os, arch)


@dataclass(frozen=True)
class Release:
    """A published file.

    ``checksums``: address of the publisher's SHA-256 for it, in a file of its own or in a
    list; empty if there is none. ``member``: the path in the archive that it is.
    ``systems``: for which it is published.
    """

    url: str
    checksums: str = ""
    member: str = ""
    systems: tuple[str, ...] = ("linux", "darwin")


@dataclass(frozen=True)
class Change:
    """One line of a module's ``file`` that is built as ``after`` instead of ``before``, and why."""

    module: str
    file: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Graph:
    """A Go module graph: a folder with go.mod and go.sum, and what the linker stamps into variables."""

    name: str
    folder: Traversable
    stamps: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @property
    def ldflags(self) -> str:
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in sorted(self.stamps.items()))])

    def texts(self) -> dict[str, str]:
        """go.mod and go.sum."""
        return {name: (self.folder / name).read_text() for name in ("go.mod", "go.sum")}


@dataclass(frozen=True)
class Source:
    """Something in a module of ``graph``: a main package, or a folder for kustomize."""

    graph: Graph
    module: str
    path: str = ""

    @property
    def package(self) -> str:
        return f"{self.module}/{self.path}" if self.path else self.module


@dataclass(frozen=True)
class Part:
    """One part. Each of its ``files`` has a published form, a source, or both.

    ``needs`` names parts that making it from source needs. A part of one executable has
    one file of its own name; other parts are folders.
    """

    name: str
    version: str
    releases: Mapping[str, Release] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    folder: bool = False
    needs: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted({*self.releases, *self.sources}))

    def key(self, platform: Platform) -> str:
        """Names the content: it changes with everything that can change what the part is."""
        recipe = {
            "recipe": _RECIPE,
            "version": self.version,
            "platform": platform,
            "releases": {name: vars(release) for name, release in self.releases.items()},
            "sources": {
                name: [
                    source.package,
                    source.graph.ldflags,
                    source.graph.texts(),
                    [vars(change) for change in source.graph.changes],
                ]
                for name, source in self.sources.items()
            },
        }
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        return f"{self.version}-{digest[:16]}"


def address(template: str, part: Part, platform: Platform) -> str:
    """``template`` with the part's version and the platform filled in."""
    archive = "zip" if platform.os == "darwin" else "tar.gz"
    return template.format(version=part.version, os=platform.os, arch=platform.arch, archive=archive)
