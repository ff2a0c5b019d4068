"""What a delivery engine does, and the types of what it tells.

An engine is made for one cluster (or, Fleet's, for a set of them) and works on releases, which are
given in the order of their dependencies. It never writes what is as it should be, and whatever it was
doing when it was killed, the same call goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from capi_llm.apps.bundle import Bundle
from capi_llm.documents import Document, Trail
from capi_llm.kube.apply import Applied
from capi_llm.kube.difference import Change
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import Status, Wakeup

Engines = Literal["direct", "fleet"]
ENGINES: tuple[Engines, ...] = ("direct", "fleet")


@dataclass(frozen=True)
class Target:
    """A workload cluster: name and namespace of its Cluster object, its labels, its pods' networks.

    ``kubernetes`` is the minor that it runs, such as ``1.33``; empty where that is not known.
    """

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    pods: tuple[str, ...] = ()
    kubernetes: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Origin:
    """Who said which values: of a file the ``document``, in which they are ``below``; else ``where``."""

    values: Mapping[str, Any]
    where: str
    document: Document | None = None
    below: Trail = ()


@dataclass(frozen=True)
class Release:
    """A bundle as it is to be on one cluster.

    ``values`` are all that is said over the chart's own values.yaml: those of the bundle, the plane,
    the settings and the command line, merged. ``name`` and ``namespace`` are Helm's.
    """

    bundle: Bundle
    name: str
    namespace: str
    values: Mapping[str, Any]
    origins: tuple[Origin, ...] = field(default=(), compare=False, repr=False)
    """Where each value comes from, the last word last; for messages."""

    @property
    def app(self) -> str:
        """What people call it: the bundle's name."""
        return self.bundle.name


@dataclass(frozen=True)
class Rendered:
    """The objects that an engine would apply for one app, where it applies them."""

    app: str
    objects: tuple[Object, ...]


@dataclass(frozen=True)
class Difference:
    """What an apply would do to one object, told by the server's dry run.

    ``conflict`` says who owns which fields where the apply would be refused for that.
    """

    app: str
    ref: Ref
    action: Literal["create", "change", "delete", "none"]
    changes: tuple[Change, ...] = ()
    conflict: str = ""


@dataclass(frozen=True)
class Delivered:
    """What an apply did for one app: every object, and those that were deleted as they left the bundle."""

    app: str
    objects: tuple[Applied, ...]
    pruned: tuple[Ref, ...] = ()
    kept: tuple[Ref, ...] = ()
    """What left the bundle and was left alone: definitions of kinds, and what says that it is to be kept."""

    @property
    def writes(self) -> int:
        """Objects that were written or deleted."""
        return sum(item.action != "unchanged" for item in self.objects) + len(self.pruned)


@dataclass(frozen=True)
class Part:
    """One object of an app, and how it is."""

    ref: Ref
    status: Status


@dataclass(frozen=True)
class AppStatus:
    """How one app is. ``delivered`` is whether the engine has brought it at all.

    ``status`` is READY only where every part is; its message names the first that is not.
    """

    app: str
    status: Status
    delivered: bool = True
    version: str = ""
    parts: tuple[Part, ...] = ()
    objects: tuple[Ref, ...] = ()
    """What is on the cluster itself, where the parts are something else: those of Fleet are its own."""

    @property
    def on_cluster(self) -> tuple[Ref, ...]:
        """Its objects on the cluster that it is delivered to."""
        return self.objects or tuple(part.ref for part in self.parts)


@dataclass(frozen=True)
class Removed:
    """What a removal deleted of one app."""

    app: str
    deleted: tuple[Ref, ...]
    kept: tuple[Ref, ...] = ()


class Engine(Protocol):
    """One way to bring apps to a cluster. Every method raises from :mod:`capi_llm.errors`."""

    @property
    def name(self) -> Engines:
        """What the Cluster's annotation calls it."""

    def render(self, releases: Sequence[Release]) -> Sequence[Rendered]:
        """What :meth:`apply` would apply. Writes nothing."""

    def diff(self, releases: Sequence[Release], *, force: bool = False) -> Sequence[Difference]:
        """What :meth:`apply` would change, unchanged objects included. Writes nothing."""

    def apply(self, releases: Sequence[Release], *, force: bool = False) -> Sequence[Delivered]:
        """Bring ``releases``; other apps stay. With ``force``, fields that others own are taken over.

        Raises Conflict, naming the owner and the fields, without.
        """

    def delivered(self) -> Sequence[str]:
        """The apps that this engine has brought to the cluster, by name."""

    def watching(self) -> AbstractContextManager[Wakeup]:
        """Within it :meth:`status` reads from watches, and the bell rings when it may tell something else."""

    def status(self, apps: Iterable[str]) -> Sequence[AppStatus]:
        """How ``apps`` are, in the order given."""

    def remove(self, apps: Iterable[str], *, timeout: float = 120.0) -> Sequence[Removed]:
        """Take ``apps`` away and wait (``timeout`` seconds) until their objects are gone.

        Returns what was there; nothing happens where nothing is.
        """
