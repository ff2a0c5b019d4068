"""What every step works with."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from capi_llm.identity import Identities, Identity
from capi_llm.sandbox.layout import Layout, layout
from capi_llm.settings import Settings
from capi_llm.waiting import Cancel, Status, Waiter

if TYPE_CHECKING:
    from capi_llm.kube.client import Api

_Value = TypeVar("_Value")


class Report(Protocol):
    """Who is told how steps go. Called from several threads."""

    def step(self, name: str, status: Status, *, outcome: str = "", seconds: float = 0.0) -> None:
        """``name`` is in ``status``; with ``outcome`` it has ended (unchanged, done, failed)."""

    def progress(self, name: str, message: str, fraction: float | None = None) -> None:
        """``name`` is under way; ``fraction`` from 0 to 1 where it is known."""


class Silent:
    """A Report that tells nobody."""

    def step(self, name: str, status: Status, *, outcome: str = "", seconds: float = 0.0) -> None:
        pass

    def progress(self, name: str, message: str, fraction: float | None = None) -> None:
        pass


class Plane:
    """The plane being worked on: its identity, which steps may complete, and its API server."""

    def __init__(self, identities: Identities, identity: Identity) -> None:
        self._identities = identities
        self._lock = threading.Lock()
        self._api: Api | None = None
        self.identity = identity

    def record_uid(self, uid: str) -> None:
        """Remember which cluster this is: the UID of its kube-system namespace."""
        with self._lock:
            self.identity = dataclasses.replace(self.identity, uid=uid)
            self._identities.save(self.identity)

    def api(self) -> Api:
        """One connection, shared by all steps and made on first use."""
        from capi_llm.kube.client import Api

        with self._lock:
            if self._api is None:
                self._api = Api.from_kubeconfig(Path(self.identity.kubeconfig), self.identity.context)
            return self._api

    def close(self) -> None:
        with self._lock:
            if self._api is not None:
                self._api.close()
                self._api = None


@dataclass(frozen=True)
class Context:
    """Settings, plane, the user's wish to stop, who is told, and how to wait.

    ``seen`` is there while all steps are looked at once: what several of them ask for, they share.
    """

    settings: Settings
    plane: Plane
    cancel: Cancel = field(default_factory=Cancel)
    report: Report = field(default_factory=Silent)
    waiter: Waiter = field(default_factory=Waiter)
    seen: dict[str, Any] | None = None

    def once(self, what: str, ask: Callable[[], _Value]) -> _Value:
        """The answer of ``ask``, from another step's look of this round where there is one."""
        if self.seen is None:
            return ask()
        if what not in self.seen:
            self.seen[what] = ask()
        value: _Value = self.seen[what]
        return value

    @property
    def identity(self) -> Identity:
        return self.plane.identity

    @property
    def sandbox(self) -> Layout:
        return layout(self.settings.state, self.identity.name)

    def api(self) -> Api:
        return self.plane.api()
