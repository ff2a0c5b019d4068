"""Delivery to a cluster that Fleet delivers to: what runs on the management plane goes there directly.

Fleet's agents only deliver to workload clusters. An app of the management plane, such as a cluster's
autoscaler, is applied by the direct engine, whichever brings the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from capi_llm.apps.direct import Direct
from capi_llm.apps.engine import AppStatus, Delivered, Difference, Engines, Release, Removed, Rendered
from capi_llm.apps.fleet.engine import FleetEngine
from capi_llm.kube.resources import Object
from capi_llm.waiting import Wakeup

_Each = TypeVar("_Each", Rendered, Delivered)


class ByPlace:
    """Fleet for apps of the workload cluster, direct delivery for those of the management plane."""

    name: Engines = "fleet"

    def __init__(
        self, fleet: FleetEngine, direct: Direct, *, before: Callable[[Sequence[Object]], None] | None = None
    ) -> None:
        """``before`` hears the objects of an app before Fleet does; without, they are not even rendered."""
        self.fleet = fleet
        self.direct = direct
        self._before = before

    def render(self, releases: Sequence[Release]) -> list[Rendered]:
        there, here = _split(releases)
        return _in_order(releases, [*self.fleet.render(there), *self.direct.render(here)])

    def diff(self, releases: Sequence[Release], *, force: bool = False) -> list[Difference]:
        there, here = _split(releases)
        return [*self.fleet.diff(there, force=force), *self.direct.diff(here, force=force)]

    def apply(self, releases: Sequence[Release], *, force: bool = False) -> list[Delivered]:
        there, here = _split(releases)
        if self._before is not None:
            for rendered in self.direct.render(there):
                self._before(rendered.objects)
        done = [*self.fleet.apply(there, force=force), *self.direct.apply(here, force=force)]
        return _in_order(releases, done)

    def delivered(self) -> list[str]:
        return sorted({*self.fleet.delivered(), *self.direct.delivered()})

    @contextlib.contextmanager
    def watching(self) -> Iterator[Wakeup]:
        with self.fleet.watching() as bell, self.direct.watching(bell):
            yield bell

    def status(self, apps: Iterable[str]) -> list[AppStatus]:
        found = list(self.fleet.status(apps))
        here = {state.app: state for state in self.direct.status([s.app for s in found if not s.delivered])}
        return [here.get(state.app, state) for state in found]

    def remove(self, apps: Iterable[str], *, timeout: float = 120.0) -> list[Removed]:
        names = list(apps)
        return [*self.direct.remove(names, timeout=timeout), *self.fleet.remove(names, timeout=timeout)]


def _split(releases: Sequence[Release]) -> tuple[list[Release], list[Release]]:
    """Those of the workload cluster, and those of the management plane."""
    there = [release for release in releases if release.bundle.place == "workload"]
    return there, [release for release in releases if release not in there]


def _in_order(releases: Sequence[Release], found: Iterable[_Each]) -> list[_Each]:
    by_app = {item.app: item for item in found}
    return [by_app[release.app] for release in releases]
