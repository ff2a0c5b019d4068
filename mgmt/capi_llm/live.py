"""A plane and its clusters, as they are and as they change.

Clusters are followed by informers: one watch per kind, which survives a restart of the API
server. The plane's own processes have nothing to watch; they are looked at every few
seconds, and at once when the API server goes or comes back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from capi_llm import plane
from capi_llm.apps import imported
from capi_llm.clusters import tree
from capi_llm.clusters.tree import ClusterView
from capi_llm.errors import NotFound, Unavailable
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES
from capi_llm.sandbox import simulated
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings
from capi_llm.steps.overview import Overview
from capi_llm.waiting import Wakeup

STEPS_SECONDS = 5.0
"""Between two looks at the plane's processes."""

_FRAME_SECONDS = 0.25
"""Changes that come closer together are one."""

_FIRST_LIST_SECONDS = 1.0


@dataclass(frozen=True)
class Scene:
    """One look. ``behind`` says why ``clusters`` may be older than that: the API server is away."""

    plane: Overview
    clusters: tuple[ClusterView, ...] = ()
    behind: str = ""

    @property
    def broken(self) -> Sequence[ClusterView]:
        """The clusters that are not ready."""
        return [view for view in self.clusters if not view.status.ready]


def look(settings: Settings, name: str = "", namespace: str | None = None, cluster: str = "") -> Scene:
    """The plane and its clusters now: all, those of ``namespace``, those called ``cluster``.

    Changes nothing and takes no lock.
    """
    overview = plane.overview(settings, name)
    if not overview.serves_clusters:
        return Scene(overview)
    with plane.connected(settings, name) as here:
        views = _views(settings, overview, here.api(), tree.collect(here.api(), namespace))
    return Scene(overview, _only(views, cluster))


def follow(
    settings: Settings, name: str = "", namespace: str | None = None, cluster: str = ""
) -> Iterator[Scene]:
    """A scene at once, and one for every change from then on, without end.

    Raises NotFound where there is no such plane, Unauthorized and Forbidden.
    """
    last: Scene | None = None
    looked = 0.0
    away = False
    pause = Wakeup()
    with plane.connected(settings, name) as here, contextlib.closing(Informers(here.api())) as informers:
        while True:
            rings = informers.wakeup.rings()
            behind = informers.trouble
            if last is None or bool(behind) != away or time.monotonic() - looked >= STEPS_SECONDS:
                overview = plane.overview(settings, name)
                looked, away = time.monotonic(), bool(behind)
            clusters = last.clusters if last else ()
            if overview.serves_clusters or clusters:
                try:
                    objects = tree.collect(informers, namespace, timeout=_FIRST_LIST_SECONDS)
                    views = _views(settings, overview, informers, objects)
                    clusters = _only(views, cluster)
                except Unavailable:
                    pass  # the plane's steps say why
                except NotFound:
                    clusters = ()  # Cluster API was taken away
            scene = Scene(overview, clusters, behind)
            if scene != last:
                last = scene
                yield scene
            # So that a hundred machines that change are not a hundred pictures.
            pause.wait(pause.rings(), _FRAME_SECONDS)
            informers.wakeup.wait(rings, max(0.0, looked + STEPS_SECONDS - time.monotonic()))


def _views(
    settings: Settings, overview: Overview, source: Api | Informers, objects: tree.Objects
) -> Sequence[ClusterView]:
    """The clusters: in a sandbox with what of them is simulated; elsewhere with what stands for them in
    Rancher or Fleet, where these may be."""
    views = tree.overview(objects)
    if not views:
        return views
    if overview.identity.kind != "sandbox":
        return imported.add(imported.collect(source), objects.clusters, views)
    processes = {
        (view.namespace, view.name): view.control_plane.kind == KWOK_CONTROL_PLANES.kind
        for view in views
        if view.control_plane.kind
    }
    words = simulated.of_clusters(layout(settings.state, overview.identity.name), processes)
    return [replace(view, simulated=words.get((view.namespace, view.name), "")) for view in views]


def _only(views: Sequence[ClusterView], cluster: str) -> tuple[ClusterView, ...]:
    return tuple(view for view in views if not cluster or view.name == cluster)
